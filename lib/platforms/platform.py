"""What a national platform is to the rest of the system: build a payload, submit it, look it up.

One adapter implements this per platform, so that the successor platform (asynchronous answers,
other field names) needs no change elsewhere: its `submit` waits for the
transaction's final status and raises `OutcomeUnknown` when that does not come in time.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from lib.models import Acceptance, Account, Attempt, Document, Payload


class Action(StrEnum):
    """What a call asks of the platform."""

    SUBMIT = "submit"
    LOOK_UP = "look_up"
    UPDATE = "update"


class CallContext(Protocol):
    """What the calls about one document need of their surroundings."""

    async def permit(self, action: Action) -> None:
        """Awaited before each HTTP request is begun.

        A call may have waited long for its turn, so what held before need not hold any more.

        Raises:
            SyncError: the request must not leave.
        """
        ...

    def ensure_held(self) -> None:
        """Called when a connection is there and the first byte of a request is about to leave.

        Waiting for the connection may have taken long, or the process may have stood still.

        Raises:
            SyncError: the permit does not hold any more; nothing has left.
        """
        ...

    def note(self, attempt: Attempt) -> None:
        """Called once for each HTTP request, also when it failed or was cancelled."""
        ...


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

    async def log_in(self, account: Account) -> None:
        """See that the account can log in, or has done so lately. Idempotent.

        Raises:
            AccountRefused, Unavailable, WrongEndpoint.
        """
        ...

    async def submit(
        self,
        payload: Payload,
        account: Account,
        context: CallContext,
        *,
        unconfirmed: bool = False,
    ) -> Acceptance:
        """Send a document. Not idempotent: after `OutcomeUnknown` look it up first.

        An error's `maybe_stored` says whether the platform may have it nevertheless.

        Args:
            unconfirmed: an earlier call may have stored it, and a look-up could not say.

        Raises:
            Rejected, Unavailable, OutcomeUnknown, AccountRefused, WrongEndpoint, and what
            `context.permit` raises where nothing was sent yet.
        """
        ...

    async def update(self, payload: Payload, account: Account, context: CallContext) -> Acceptance:
        """Replace a document that the platform has. Idempotent.

        Raises:
            As `submit`; WrongEndpoint where the platform takes no updates.
        """
        ...

    async def look_up(
        self, payload: Payload, account: Account, context: CallContext
    ) -> Acceptance | Lookup:
        """Ask whether the platform has a document. Idempotent.

        Raises:
            Unavailable: also where the answer is unclear: ask later.
            AccountRefused, and what `context.permit` raises.
        """
        ...
