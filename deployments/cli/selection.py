"""Options that select failures, shared by several commands."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any

import typer

from deployments.cli.context import PipelineName
from deployments.cli.language import _
from deployments.cli.progress import progress
from lib.accounts import AccountDirectory
from lib.errors import AmbiguousDocument, DocumentNotFound, StoreUnavailable, SyncError
from lib.models import StoredDocument, comparable
from lib.operations.operator import Operator
from lib.pipelines import PIPELINES, get_pipeline
from lib.source.store import Source
from lib.tracking.failures import (
    FailureFilter,
    FailureGroup,
    FailureLog,
    FailureState,
    drug_codes_of,
    group_failures,
    without_drug_codes,
)

_AGE = re.compile(r"(\d+)\s*(min|m|h|d|w)")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class State(StrEnum):
    """States of a failure record; `all` selects every state."""

    OPEN = FailureState.OPEN.value
    REQUEUED = FailureState.REQUEUED.value
    RESOLVED = FailureState.RESOLVED.value
    SUPERSEDED = FailureState.SUPERSEDED.value
    ALL = "all"


def parse_age(text: str) -> timedelta:
    """Parses an age: `30m`, `24h`, `7d`, `2w`."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(
            _("{text} is not an age; use the format 30m, 24h, 7d or 2w", text=repr(text))
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


Pharmacy = Annotated[
    str | None,
    typer.Option("--pharmacy-code", help="needed if several pharmacies use the same local id"),
]
OnlyPipeline = Annotated[PipelineName | None, typer.Option("--pipeline", help="only this pipeline")]
OnlyShop = Annotated[str | None, typer.Option("--shop", help="only the shop with this code")]
OnlyClass = Annotated[
    str | None,
    typer.Option(
        "--class",
        help="only this error class, e.g. rejected",
        autocompletion=lambda incomplete: [c for c in error_classes() if c.startswith(incomplete)],
    ),
]
OnlyReason = Annotated[
    str | None, typer.Option("--reason", help="only errors that contain this text")
]
Within = Annotated[
    timedelta | None,
    typer.Option(
        "--within", parser=parse_age, metavar="AGE", help="only failures newer than this, e.g. 24h"
    ),
]
OlderThan = Annotated[
    timedelta | None,
    typer.Option(
        "--older-than",
        parser=parse_age,
        metavar="AGE",
        help="only failures older than this, e.g. 7d",
    ),
]


def make_filter(
    pipeline: PipelineName | None,
    shop: str | None,
    error_class: str | None,
    reason: str | None,
    within: timedelta | None,
    older_than: timedelta | None,
    state: State = State.OPEN,
) -> FailureFilter:
    """The filter that the options describe."""
    now = datetime.now(UTC)
    return FailureFilter(
        states=None if state is State.ALL else (FailureState(state.value),),
        pipeline=None if pipeline is None else pipeline.value,
        shop=shop,
        error_class=error_class,
        reason=reason,
        since=None if within is None else now - within,
        until=None if older_than is None else now - older_than,
    )


class UnknownName(SyncError):
    """A shop or an error class that does not exist."""

    error_class = "not_found"


def error_classes() -> list[str]:
    """Every class that a failure may have, sorted."""
    found, left = set(), [SyncError]
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        # Errors of other modules concern commands and files, not documents.
        if kind.__module__ == SyncError.__module__:
            found.add(kind.error_class)
    return sorted(found)


async def check_names(operator: Operator, wanted: FailureFilter) -> None:
    """Explains an empty result: checks whether the shop and the class of a filter exist.

    Raises:
        UnknownName: it does not exist; the message suggests the most similar name.
        StoreUnavailable.
    """
    if wanted.error_class is not None and wanted.error_class not in error_classes():
        raise unknown_class(wanted.error_class)
    if wanted.shop is not None:
        await check_shop(wanted.shop, operator.source, operator.accounts, operator.failures)


async def check_shop(
    shop: str, source: Source, accounts: AccountDirectory, failures: FailureLog
) -> None:
    """Checks that a shop exists, which means it has an account, documents or open failures.

    Raises:
        UnknownName: it does not exist; the message suggests the most similar name.
        StoreUnavailable: the source database is unavailable.
    """
    summaries = await asyncio.to_thread(source.counts.shop_summaries, list(PIPELINES.values()))
    try:
        failed = await failures.open_by_shop()
    except StoreUnavailable:
        failed = {}
    known = [
        *accounts.shops(),
        *(summary.shop for summary in summaries),
        *(name for _pipeline, name in failed),
    ]
    if comparable(shop) in map(comparable, known):
        return
    if nearest := _nearest(shop, known):
        raise UnknownName(
            _("there is no shop {shop}; did you mean {nearest}?", shop=shop, nearest=nearest)
        )
    raise UnknownName(_("there is no shop {shop}", shop=shop))


def unknown_class(name: str) -> UnknownName:
    known = error_classes()
    if nearest := _nearest(name, known):
        return UnknownName(
            _("there is no error class {name}; did you mean {nearest}?", name=name, nearest=nearest)
        )
    return UnknownName(
        _(
            "there is no error class {name}; known classes: {names}",
            name=name,
            names=", ".join(known),
        )
    )


def _nearest(name: str, known: Iterable[str]) -> str | None:
    spelled = {comparable(other): other for other in known}
    return next((spelled[n] for n in get_close_matches(comparable(name), spelled, n=1)), None)


async def read_failures(
    operator: Operator, wanted: FailureFilter, *, quiet: bool = True
) -> list[dict[str, Any]]:
    """All failures of a filter, newest first.

    Args:
        quiet: show no progress.

    Raises:
        StoreUnavailable.
    """
    total = await operator.failures.count(wanted)
    with progress(_("reading failures"), total, shown=not quiet) as advance:
        return await operator.failures.find(wanted, seen=advance)


async def read_groups(
    operator: Operator, wanted: FailureFilter, *, quiet: bool = True
) -> list[FailureGroup]:
    """Failures grouped by reason; without a stored payload, drug codes come from the lines.

    Raises:
        StoreUnavailable.
    """
    rows = await read_failures(operator, wanted, quiet=quiet)
    unknown = without_drug_codes(rows)
    total = sum(map(len, unknown.values()))
    with progress(_("reading drug codes"), total, shown=not quiet) as advance:
        codes = await drug_codes_of(operator.source, unknown, seen=advance)
    return group_failures(rows, codes)


async def one_document(
    operator: Operator, local_id: str, pipeline: PipelineName | None, pharmacy_code: str | None
) -> list[StoredDocument]:
    """The rows of a local id, by record id: at least one, all of one pipeline and pharmacy.

    Raises:
        DocumentNotFound, AmbiguousDocument.
    """
    names = PIPELINES if pipeline is None else (pipeline.value,)
    found: list[StoredDocument] = []
    for name in names:
        found += await asyncio.to_thread(
            operator.source.documents.find, get_pipeline(name), local_id, pharmacy_code
        )
    if not found:
        raise DocumentNotFound(_("there is no document {local_id}", local_id=repr(local_id)))
    places = {(document.ref.pipeline, document.ref.pharmacy_code) for document in found}
    if len(places) > 1:
        raise AmbiguousDocument(
            _(
                "several documents have the local id {local_id}: add --pipeline and "
                "--pharmacy-code, one of {places}",
                local_id=repr(local_id),
                places=", ".join(" ".join(place) for place in sorted(places)),
            )
        )
    return found
