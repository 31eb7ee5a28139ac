"""Errors travel: Prefect keeps them with a state, and a process may hand them to another one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator

import pytest

from lib.errors import (
    FieldError,
    InvalidDocument,
    Rejected,
    StoreUnavailable,
    SyncError,
    Unavailable,
)
from lib.operations.requeue import NotRecorded
from lib.settings import Language

FIELDS = (FieldError("so_lo", 2, "is blank"), FieldError("chi_tiet", None, "has no lines"))


def every_kind(kind: type[SyncError] = SyncError) -> Iterator[type[SyncError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from every_kind(narrower)


def make(kind: type[SyncError]) -> SyncError:
    """An error of this kind with all that it can hold."""
    if issubclass(kind, InvalidDocument):
        return kind(FIELDS, Language.VIETNAMESE)
    if issubclass(kind, NotRecorded):
        return kind("MongoDB", "PENDING_SYNC", 2)
    if issubclass(kind, StoreUnavailable):
        return kind("Redis", "no answer")
    if issubclass(kind, Rejected):
        return kind("no such lot", http_status=400, answer="{}", field_errors=FIELDS)
    if issubclass(kind, Unavailable):
        return kind("busy", http_status=503, answer="<html>", retry_after=2.5)
    return kind("went wrong", http_status=404, answer="?")


def through_pickle(error: SyncError) -> SyncError:
    copied: SyncError = pickle.loads(pickle.dumps(error))  # noqa: S301 - what was just written
    return copied


@pytest.mark.parametrize("travel", [through_pickle, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", list(every_kind()), ids=lambda kind: kind.__name__)
def test_an_error_arrives_as_it_left(
    kind: type[SyncError], travel: Callable[[SyncError], SyncError]
) -> None:
    error = make(kind)
    arrived = travel(error)
    assert type(arrived) is kind
    assert (str(arrived), arrived.args) == (str(error), error.args)
    assert vars(arrived) == vars(error)
