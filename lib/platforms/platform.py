"""What a national platform is to the rest of the system: build a payload, submit it, look it up.

One adapter implements this per platform, so that the successor platform (asynchronous answers,
other field names) can stand behind it without a change elsewhere: its `submit` waits for the
transaction's final status and raises `OutcomeUnknown` when that does not come in time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol

from lib.models import Acceptance, Account, Attempt, Document, Payload

#: Called once for each HTTP call about a document, also when it fails.
AttemptObserver = Callable[[Attempt], None]

#: Awaited right before each HTTP call about a document leaves; raises SyncError to keep it back.
#: A call may have waited for its turn for long, so what held at its beginning need not hold then.
Gate = Callable[[], Awaitable[None]]


async def open_gate() -> None:
    """The gate of a caller who sets no conditions."""


class Lookup(StrEnum):
    """Answers of a look-up that are not an `Acceptance`."""

    ABSENT = "absent"  # the platform says that it does not have the document
    UNSUPPORTED = "unsupported"  # the platform cannot be asked


class Platform(Protocol):
    """A national platform."""

    #: Version of the wire format, stored with each attempt.
    spec_version: str

    def build(self, document: Document) -> Payload:
        """The request body of a document. Pure.

        Raises:
            InvalidDocument: with every field that cannot be sent.
        """
        ...

    async def submit(
        self,
        payload: Payload,
        account: Account,
        observe: AttemptObserver,
        gate: Gate = open_gate,
    ) -> Acceptance:
        """Send a document. Not to be repeated blindly after `OutcomeUnknown`.

        Raises:
            Rejected, Unavailable, OutcomeUnknown, AccountRefused, WrongEndpoint, and what `gate`
            raises where nothing was sent yet.
        """
        ...

    async def look_up(
        self,
        payload: Payload,
        account: Account,
        observe: AttemptObserver,
        gate: Gate = open_gate,
    ) -> Acceptance | Lookup:
        """Ask whether the platform has a document. May be repeated.

        Raises:
            Unavailable, AccountRefused, and what `gate` raises.
        """
        ...
