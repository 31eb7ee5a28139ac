"""Values that are passed between modules. All are frozen; none depends on a driver or Prefect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import SecretStr

from lib.errors import FieldError, SyncError


def comparable(text: str | None) -> str:
    """The form in which codes, statuses and national ids are compared, as in the database.

    SQL Server pads CHAR columns and ignores trailing blanks; its usual collations also ignore case.
    Two texts that only a strict collation distinguishes are equal here: the platform's codes differ
    in more than case.
    """
    return (text or "").strip().casefold()


class SyncStatus(StrEnum):
    """The `status` column, as other software reads it."""

    PENDING = "PENDING_SYNC"  # not sent yet, or to be sent again
    SUCCESS = "SYNC_SUCCESS"  # accepted by the national API
    FAILED = "SYNC_FAILED"  # refused, or given up: a person has to look

    @classmethod
    def read(cls, text: str | None) -> SyncStatus | str:
        """The status in a column, compared as in a database; other texts are returned unchanged."""
        found = {comparable(status): status for status in cls}
        return found.get(comparable(text), (text or "").strip())


class LogStatus(StrEnum):
    """Status of a `task_logs` entry: one dispatch of one document."""

    PENDING = "PENDING"  # claimed, not started
    RUNNING = "RUNNING"  # a record run works on it
    ACCEPTED = "ACCEPTED"  # the API has it; the source database may not have the outcome yet
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    RELEASED = "RELEASED"  # given back without a final outcome

    @property
    def is_open(self) -> bool:
        return self in (LogStatus.PENDING, LogStatus.RUNNING, LogStatus.ACCEPTED)


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """Identifies one document; contains no personal data, so it may be passed through Prefect.

    Attributes:
        pipeline: name of the pipeline, a key of `lib.pipelines.PIPELINES`.
        record_id: primary key of the header row.
        local_id: the pharmacy's own code of the document.
        pharmacy_code: national facility code (`ma_co_so`).
        shop_pharmacy_code: selects the account the document is sent with.
    """

    pipeline: str
    record_id: int
    local_id: str
    pharmacy_code: str
    shop_pharmacy_code: str


@dataclass(frozen=True, slots=True)
class EarlierAcceptance:
    """An earlier acceptance of a document, recorded in our own table or in the log.

    Attributes:
        payload_digest: SHA-256 of the accepted content; None if only the acceptance is known.
    """

    national_id: str | None
    payload_digest: str | None


#: A vanished holder counts against a document only for this time.
CRASHES_COUNT_FOR = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What our own table holds about a document besides its claim.

    Attributes:
        crashes: holders that vanished since the document was last made pending.
        crashed_at: when the last of them was detected.
        state: the last final outcome, `accepted` or `failed`; None if there was none.
        national_id, payload_digest: of the last acceptance, even if the row has changed since.
        settled_at: when the last final outcome was written.
        sent_digest: of the content that may have been stored since; None unless unconfirmed.
        unsettled: seconds for which the API may still be processing the last call about it.
    """

    crashes: int = 0
    crashed_at: datetime | None = None
    state: str | None = None
    national_id: str | None = None
    payload_digest: str | None = None
    settled_at: datetime | None = None
    sent_digest: str | None = None
    unsettled: float = 0.0

    @property
    def acceptance(self) -> EarlierAcceptance | None:
        """The last acceptance, even if other outcomes followed; None if there was none."""
        if self.state == OutcomeKind.ACCEPTED or self.national_id or self.payload_digest:
            return EarlierAcceptance(self.national_id, self.payload_digest)
        return None


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document's sync state in the source database now.

    Attributes:
        status: a `SyncStatus`, or the text that other software wrote.
        message: of the last attempt while the document is pending, otherwise the header's.
        created_at: None if the column has no value.
    """

    ref: DocumentRef
    status: SyncStatus | str
    national_id: str | None
    message: str | None
    claim_token: str | None
    lease_expires_at: datetime | None
    lease_live: bool
    attempts: int
    next_attempt_at: datetime | None
    unconfirmed: bool
    created_at: datetime | None
    delivery: Delivery = field(default_factory=Delivery)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Placeholder for a value that the driver cannot read; no payload accepts it.

    Attributes:
        reason: why, without the value.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Documents of one pipeline held under one fencing token until the lease runs out."""

    token: str
    pipeline: str
    documents: tuple[DocumentRef, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One claimed document with everything that is needed to send it.

    Attributes:
        unconfirmed: the API may have it: an earlier holder vanished without an outcome, or the row
            carries a national id already.
        attempts: claims so far, this one included.
        national_id: already stored in the row or in our own table, to be confirmed by the API.
        header, lines: column values by the column names of the standard schema, even if the
            installation uses other names.
    """

    ref: DocumentRef
    claim_token: str
    unconfirmed: bool
    attempts: int
    header: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    national_id: str | None = None
    delivery: Delivery = field(default_factory=Delivery)


@dataclass(frozen=True, slots=True)
class Account:
    """A login at the national API.

    Attributes:
        key: identifies login and password together without revealing either. A corrected password
            gives a new key, so cached refusals no longer apply.
    """

    username: str
    password: SecretStr
    key: str


class OutcomeKind(StrEnum):
    """What an attempt means for the document's row."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt, ready to be written under its fencing token.

    Attributes:
        message: for `sync_response_message`; None leaves the column as it is.
        retry_in: RELEASED only: the document is not claimed again before this time has passed.
        unconfirmed: the API may have the document; the next holder looks it up first.
        unsettled: how long the API may still be processing its last call; only if unconfirmed.
        costs_attempt: False: the claim's attempt is not counted (the document was not the cause).
        payload_digest: SHA-256 of the accepted content, in hexadecimal; if unconfirmed, of the
            content that may have been stored.
        row_updated_at: the row's `updated_at` when the document was loaded.
        error_class, http_status, answer, field_errors: for the failure record.
    """

    ref: DocumentRef
    claim_token: str
    kind: OutcomeKind
    national_id: str | None = None
    message: str | None = None
    retry_in: timedelta = timedelta(0)
    unconfirmed: bool = False
    unsettled: timedelta = timedelta(0)
    costs_attempt: bool = True
    payload_digest: str | None = None
    row_updated_at: datetime | None = None
    error_class: str | None = None
    http_status: int | None = None
    answer: str | None = None
    field_errors: tuple[FieldError, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """Pipeline and record id."""
        return self.ref.pipeline, self.ref.record_id


@dataclass(frozen=True, slots=True)
class Saved:
    """The results of saving outcomes, by pipeline and record id.

    A document that is in none of these had lost its claim: nothing was changed.

    Attributes:
        written: the claim is ended with this outcome, now or by an earlier attempt.
        overtaken: of those, documents whose status other software changed meanwhile, with that
            status; it was left as it is.
        changed: of those, documents whose row other software wrote between load and outcome.
        failed: could not be written now, with the reason: a locked row or a refused value.
    """

    written: frozenset[tuple[str, int]] = frozenset()
    overtaken: Mapping[tuple[str, int], str] = field(default_factory=dict)
    changed: frozenset[tuple[str, int]] = frozenset()
    failed: Mapping[tuple[str, int], SyncError] = field(default_factory=dict)

    def __or__(self, other: Saved) -> Saved:
        return Saved(
            self.written | other.written,
            {**self.overtaken, **other.overtaken},
            self.changed | other.changed,
            {**self.failed, **other.failed},
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to the national API, as kept in `task_logs.attempts`."""

    at: datetime
    action: str  # "submit" or "look_up"
    duration_ms: float
    http_status: int | None = None
    error_class: str | None = None
    spec_version: str | None = None


@dataclass(frozen=True, slots=True)
class PipelineSummary:
    """Counts of one pipeline in the source database at one moment.

    Attributes:
        pending: PENDING_SYNC rows without a claim; `waiting` of them have a next attempt in future.
        in_flight: rows under a live lease, in `batches` different claims.
        before_cut_off: PENDING_SYNC rows without a claim that are dated before the cut-off; they
            are not included in pending, waiting or the oldest.
        suspects: numbers of documents that may be claimed now and had one, two, more vanished
            holders.
        oldest_pending_seconds: age of the oldest PENDING_SYNC row, None when there is none.
    """

    pipeline: str
    pending: int = 0
    waiting: int = 0
    in_flight: int = 0
    batches: int = 0
    unconfirmed: int = 0
    succeeded: int = 0
    failed: int = 0
    oldest_pending_seconds: float | None = None
    before_cut_off: int = 0
    suspects: tuple[int, int, int] = (0, 0, 0)

    @property
    def ready(self) -> int:
        """Documents that may be claimed now."""
        return self.pending - self.waiting


@dataclass(frozen=True, slots=True)
class FinishedCount:
    """Documents of one pipeline that got a final outcome within a period."""

    succeeded: int = 0
    failed: int = 0

    @property
    def failed_share(self) -> float:
        return self.failed / max(1, self.failed + self.succeeded)


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """A claim token found on rows of the source database.

    Attributes:
        lease_seconds_left: seconds until the last of its leases expires; negative after that.
    """

    token: str
    pipeline: str
    documents: int
    lease_seconds_left: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing the document that a platform shows with the one that was sent.

    Attributes:
        same, different: names of the fields that could be compared.
    """

    same: tuple[str, ...] = ()
    different: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The API has the document.

    Attributes:
        national_id: its national code; None if the API only reported that it already has it.
        duplicate: the API had it before this call.
        compared: the document that the API shows compared with the one sent; empty if none shown.
    """

    national_id: str | None
    message: str
    http_status: int | None = None
    answer: str | None = None
    duplicate: bool = False
    compared: Comparison = Comparison()


@dataclass(frozen=True, slots=True)
class Payload:
    """A validated request body with what the caller needs to know about it.

    Attributes:
        warnings: doubtful values that were sent nevertheless.
    """

    resource: str
    pharmacy_code: str
    local_id: str
    body: Mapping[str, Any] = field(repr=False)
    warnings: tuple[str, ...] = ()
