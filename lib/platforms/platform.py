"""The interface of a national platform: build a payload, submit it, look it up.

One adapter per platform implements it, so that the successor platform (asynchronous answers, other
field names) needs no change elsewhere: its `submit` waits for the transaction's final status and
raises `OutcomeUnknown` if that does not arrive in time.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from lib.models import Acceptance, Account, Attempt, Document, Payload


class Action(StrEnum):
    """The kinds of calls to a platform."""

    SUBMIT = "submit"
    LOOK_UP = "look_up"
    UPDATE = "update"


class CallContext(Protocol):
    """What the calls about one document need from their caller."""

    async def permit(self, action: Action) -> None:
        """Awaited before each HTTP request starts.

        A call may have waited long for its turn, so earlier checks may no longer be valid.

        Raises:
            SyncError: the request must not be sent.
        """
        ...

    def ensure_held(self) -> None:
        """Called when a connection is ready, just before the first byte of a request is sent.

        Waiting for the connection may have taken long, or the process may have been suspended.

        Raises:
            SyncError: the permit is no longer valid; nothing was sent.
        """
        ...

    def note(self, attempt: Attempt) -> None:
        """Called once for each HTTP request, also when it failed or was cancelled."""
        ...


class Lookup(StrEnum):
    """Results of a look-up that are not an `Acceptance`."""

    ABSENT = "absent"  # the platform states that it does not have the document
    UNSUPPORTED = "unsupported"  # the platform has no look-ups


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
        """Ensure that the account can log in, or has recently done so. Idempotent.

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

        An error's `maybe_stored` states whether the platform may have stored it nevertheless.

        Args:
            unconfirmed: an earlier call may have stored it, and a look-up gave no clear answer.

        Raises:
            Rejected, Unavailable, OutcomeUnknown, AccountRefused, WrongEndpoint, and the errors of
            `context.permit` if nothing was sent yet.
        """
        ...

    async def update(self, payload: Payload, account: Account, context: CallContext) -> Acceptance:
        """Replace a document that the platform has. Idempotent.

        Raises:
            As `submit`; WrongEndpoint if the platform does not accept updates.
        """
        ...

    async def look_up(
        self, payload: Payload, account: Account, context: CallContext
    ) -> Acceptance | Lookup:
        """Ask whether the platform has a document. Idempotent.

        Raises:
            Unavailable: also if the answer is unclear; retry later.
            AccountRefused, and the errors of `context.permit`.
        """
        ...
