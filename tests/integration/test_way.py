"""The way of one document, as short as docs/architecture.md says it is."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from uuid import uuid4

import pytest

from flows import pipelines
from lib.pipelines import SALE
from lib.services import Services
from tasks.runtime import open_services
from tests.support.system import System

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
LAYERS = ("flows", "tasks", "lib")
#: Most files a reader opens, and most modules a call enters: it may fall, not rise.
READ, ENTERED = 25, 40

pytestmark = pytest.mark.anyio


class Tracer:
    """Notes the modules of the product whose functions are called while in `with`.

    Attributes:
        paused: nothing is noted.
    """

    def __init__(self) -> None:
        self.entered: set[str] = set()
        self.paused = False
        self._prefixes = tuple(f"{ROOT / layer}/" for layer in LAYERS)

    def __enter__(self) -> Tracer:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]

    def modules(self) -> set[str]:
        return {str(Path(name).relative_to(ROOT)) for name in self.entered}

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and not self.paused and name.startswith(self._prefixes):
            self.entered.add(name)


def section() -> str:
    """The way of a document in docs/architecture.md."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    return text.split("## The way of a document, file by file")[1].split("\n## ")[0]


def listed_files() -> list[str]:
    """The files of the way, in order."""
    return re.findall(r"^\| \d+ \| `([^`]+)`", section(), re.MULTILINE)


def named_files() -> set[str]:
    """The files of the way, and those that they use."""
    return set(re.findall(r"`([\w/]+\.py)`", section()))


async def test_a_reader_follows_a_document_through_few_files(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = Tracer()

    @asynccontextmanager
    async def open_unseen() -> AsyncIterator[Services]:
        """A process opens its services once, not for each document."""
        tracer.paused = True
        async with open_services() as services:
            tracer.paused = False
            yield services
            tracer.paused = True
        tracer.paused = False

    monkeypatch.setattr(pipelines, "open_services", open_unseen)
    system.add("sale", "HD-1")
    with tracer:
        lease = timedelta(seconds=60)
        claim = system.source.claims.claim(SALE, token=str(uuid4()), limit=10, lease=lease)
        await pipelines.sale(claim_token=claim.token, granularity="flow", return_state=True)
    assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"

    modules, listed = tracer.modules(), listed_files()
    assert set(listed) <= modules, "a listed file has no part in it"
    assert len(listed) == len(set(listed)) <= READ
    assert len(modules) <= ENTERED, sorted(modules)
    assert modules <= named_files()
