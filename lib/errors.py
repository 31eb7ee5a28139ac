"""The error types: each states whether a document may be sent again, and who has to act.

SyncError
|-- ConfigurationError      a person must correct the installation; no document is at fault
|   |-- WriteRefused        a trigger of the source database refuses a write
|   |-- WrongEndpoint       the API has no such path (404, 405 on POST): base URL or path is wrong
|   |-- PasswordUnreadable  no configured key decrypts an encrypted password
|   `-- UnconfirmedDatabase the source database is not the one recorded for this installation
|-- DocumentNotFound        a manual run named a document that does not exist
|-- AmbiguousDocument       a manual run named a local id that several pharmacies use
|-- DocumentBusy            a manual run named a document that another run holds
|-- AlreadySent             a manual run named a document that is already accepted
|-- BeforeCutOff            a manual run named a document dated before the cut-off date
|-- Rejected                terminal: the same bytes would get the same answer
|   |-- InvalidDocument     found by our own validation, before any call
|   |-- Conflict            the API has other content under this code: a person decides
|   `-- ChangedAfterAcceptance  accepted earlier with other content: a person decides
|-- AttemptsExhausted       terminal for now: transient failures used up every attempt
|-- CrashesWorker           terminal for now: each process holding only it gave no outcome
|-- Unavailable             transient: nothing was stored, the same call may succeed later
|   `-- Paused              a breaker is open: the call was not made
|       |-- Throttled       the rate limit or a Retry-After: the call was not made
|       `-- Unsettled       an earlier call may still be under way: the call was not made
|-- OutcomeUnknown          the API may or may not have stored the document
|   `-- PossibleDuplicateUnknown  the API may have had it before the call
|-- AccountRefused          the shop's account cannot be used; its documents are not at fault
|   `-- Forbidden           a call was refused, although the account could log in
|-- StoreUnavailable        one of our own stores cannot be reached
|-- UnexpectedError         any other error, without its text
|-- Interrupted             the run was cancelled or crashed before the document was done
`-- ClaimLost               another holder has the document now, or the lease ran out

Errors of a single module are defined there, such as those of a daily close file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.words.documents import finding
from lib.words.language import Language, Phrase, translate, translated


class SyncError(Exception):
    """Base of every error this project raises on purpose.

    The text of an error is shown in the Prefect UI and in logs, so it never holds a secret or a
    person's name; `http_status` and `answer` are for the failure record only.
    """

    #: Stable identifier, stored with failures and used to group them.
    error_class = "error"

    #: Whether the platform may have stored the document though the call failed.
    maybe_stored = False

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        answer: str | None = None,
        maybe_stored: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.http_status = http_status
        self.answer = answer
        if maybe_stored is not None:
            self.maybe_stored = maybe_stored

    def translated(self, language: Language) -> str:
        """The reason as text for people; texts of other software are not translated."""
        return translated(self.message, language)

    def __reduce__(self) -> tuple[Callable[..., SyncError], tuple[Any, ...]]:
        # By default an exception is copied by calling its class with `args`. The constructors here
        # take other arguments: the call would fail, or build the text a second time.
        return _restored, (type(self), self.args, dict(self.__dict__))


def _restored(
    kind: type[SyncError], args: tuple[Any, ...], attributes: Mapping[str, Any]
) -> SyncError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class ConfigurationError(SyncError):
    """The installation is wrong: a person has to change a setting before anything can be sent."""

    error_class = "configuration"


class WriteRefused(ConfigurationError):
    """A trigger of the source database refuses a write to one of its rows."""


class WrongEndpoint(ConfigurationError):
    """The API answered 404 or 405 to a POST: base URL or resource path is wrong."""


class PasswordUnreadable(ConfigurationError):
    """A password in AccountShop is encrypted, and no configured key decrypts it."""


class UnconfirmedDatabase(ConfigurationError):
    """The source database is not a recorded one; it may be a restored copy of production."""


class DocumentNotFound(SyncError):
    """No document has this local id."""

    error_class = "not_found"


class AmbiguousDocument(SyncError):
    """Several documents have this local id: the pharmacy code is needed to distinguish them."""

    error_class = "ambiguous"


class DocumentBusy(SyncError):
    """Another run holds this document (or another row of the same code) right now."""

    error_class = "busy"


class AlreadySent(SyncError):
    """The document is already accepted; it is sent again only on explicit request."""

    error_class = "already_sent"


class BeforeCutOff(SyncError):
    """The document is dated before the cut-off; it is sent only on explicit request."""

    error_class = "before_cut_off"


#: Number of wrong fields of a document that are stored and shown.
FIELD_ERRORS_KEPT = 20


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that cannot be sent.

    Attributes:
        field: the API's name of the field, for example `so_lo`.
        line: number of the document line counted from 1, None for the header.
        reason: what is wrong with it, without the value itself; a text of `lib.words`.
    """

    field: str
    line: int | None
    reason: str

    def translated(self, language: Language) -> str:
        """The place of the field and its error, as text for people."""
        return finding(self.field, self.line, self.reason, language)


class Rejected(SyncError):
    """The API refused the document's content."""

    error_class = "rejected"

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        answer: str | None = None,
        maybe_stored: bool | None = None,
        field_errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(message, http_status=http_status, answer=answer, maybe_stored=maybe_stored)
        self.field_errors = tuple(field_errors)


class InvalidDocument(Rejected):
    """Our own validation rejected the document; no call was made.

    A document may have thousands of wrong fields: the first ones are kept, the rest are counted.
    """

    error_class = "invalid"

    def __init__(self, field_errors: Sequence[FieldError], language: Language) -> None:
        shown = field_errors[:FIELD_ERRORS_KEPT]
        texts = [error.translated(language) for error in shown]
        if more := len(field_errors) - len(shown):
            number = f"{more:,}"
            texts.append(translate(language, "and {number} more", number=number))
        super().__init__("; ".join(texts), field_errors=shown)
        #: How many fields are wrong; `field_errors` holds the first ones.
        self.field_error_count = len(field_errors)


class Conflict(Rejected):
    """The API has a document under this code, and nothing shows that its content is the same."""

    error_class = "conflict"


class ChangedAfterAcceptance(Rejected):
    """The API accepted this document with other content; corrections are not sent to it."""

    error_class = "changed_after_acceptance"


class AttemptsExhausted(SyncError):
    """All attempts that the settings allow failed with transient errors; a person decides."""

    error_class = "attempts_exhausted"


class CrashesWorker(SyncError):
    """Each process that held only this document ended without an outcome; a person examines it."""

    error_class = "crashes_worker"


class Unavailable(SyncError):
    """The API cannot take the document now; `maybe_stored` states whether it may have stored it.

    Attributes:
        retry_after: seconds the API asked to wait, if it did.
    """

    error_class = "unavailable"

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        answer: str | None = None,
        maybe_stored: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, http_status=http_status, answer=answer, maybe_stored=maybe_stored)
        self.retry_after = retry_after


class Paused(Unavailable):
    """A breaker is open, so the call was not made; costs the document no attempt."""

    error_class = "paused"


class Throttled(Paused):
    """The rate limit or a Retry-After delays the call for longer than the longest allowed wait."""

    error_class = "throttled"


class Unsettled(Paused):
    """An earlier call about the document may still be under way, so it was not sent again."""

    error_class = "unsettled"


class OutcomeUnknown(SyncError):
    """The request was sent, but no usable answer arrived: look the document up before a retry."""

    error_class = "outcome_unknown"
    maybe_stored = True


class PossibleDuplicateUnknown(OutcomeUnknown):
    """The API may have had the document before this call, and a look-up gave no clear answer."""


class AccountRefused(SyncError):
    """Login refused, or no account for the shop."""

    error_class = "account"


_UNAUTHORIZED = 401


class Forbidden(AccountRefused):
    """A call was refused (403, or 401 right after a login) though the account could log in.

    Other documents of the account show whether the account or this document is the cause. A 401 is
    about the token, so it never rejects a document.

    Attributes:
        by_firewall: the refusal is a page of a firewall, proxy or gateway, not the API's answer.
    """

    error_class = "forbidden"

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        answer: str | None = None,
        maybe_stored: bool | None = None,
        by_firewall: bool = False,
    ) -> None:
        super().__init__(message, http_status=http_status, answer=answer, maybe_stored=maybe_stored)
        self.by_firewall = by_firewall

    @property
    def of_token(self) -> bool:
        """The API refused a token that it had just issued: not a statement about the document."""
        return self.http_status == _UNAUTHORIZED

    def as_rejection(self) -> Rejected:
        """The refusal as a rejection of the document, used after others of the account passed."""
        return Rejected(
            Phrase(
                "refused, although other documents of the account are accepted: {why}",
                why=self.message,
            ),
            http_status=self.http_status,
            answer=self.answer,
        )


class StoreUnavailable(SyncError):
    """One of our stores (source database, MongoDB, Redis) failed with a transient error.

    Attributes:
        store: which one.
        locked: the only cause is another session's lock on the data to be read or written.
    """

    error_class = "store"

    def __init__(self, store: str, message: str, *, locked: bool = False) -> None:
        super().__init__(f"{store}: {message}")
        self.store = store
        self.locked = locked


class UnexpectedError(SyncError):
    """Any other error, without its text; see `lib.sanitize`."""

    error_class = "unexpected"


class Interrupted(SyncError):
    """The run was cancelled or crashed before the document was done: not the document's fault."""

    error_class = "interrupted"


class ClaimLost(SyncError):
    """The claim of this run has ended: the run must stop and write nothing."""

    error_class = "claim_lost"
