"""Settings of the work itself: claims, batches, retries."""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum

from pydantic import Field, model_validator

from lib.settings.section import Seconds, Section
from lib.words.language import Language


class Granularity(StrEnum):
    """How documents become runs of Prefect."""

    FLOW = "flow"  # one subflow per document: everything about it is visible in the UI
    TASK = "task"  # one task run per chunk of documents: costs the Prefect server far less
    AUTO = "auto"  # `flow` for few documents, `task` for many


class SyncSettings(Section):
    """How documents are claimed, sent and tried again."""

    language: Language = Field(
        Language.VIETNAMESE,
        description="language of what is written about documents: `sync_response_message`, "
        "messages of runs, failures, alerts",
    )
    not_before: date | None = Field(
        None, description="cut-off: documents dated earlier are sent by hand with `force` only"
    )
    batch_size: int = Field(
        100, ge=1, le=4000, description="documents one batch run claims at granularity `flow`"
    )
    task_batch_size: int = Field(
        1000,
        ge=1,
        le=4000,
        description="documents one batch run claims at granularity `task`",
    )
    documents_per_task: int = Field(
        50, ge=1, le=1000, description="documents per task run at granularity `task`"
    )
    batches_in_flight: int = Field(
        2, ge=1, le=100, description="batch runs of one pipeline under way at once"
    )
    concurrency: int = Field(
        64,
        ge=1,
        le=256,
        description="documents of a batch sent at once at granularity `task`",
    )
    flow_concurrency: int = Field(
        16, ge=1, le=256, description="the same at granularity `flow`: the Prefect server's pace"
    )
    orchestrate_seconds: float = Field(
        60,
        ge=0,
        le=3600,
        description="seconds between scheduled runs of `orchestrate`; each run looks for due "
        "documents until the next one is near. 0: once per run",
    )
    orchestrate_poll: Seconds = Field(2, description="seconds between two looks in that time")
    orchestrate_gather: float = Field(
        3,
        ge=0,
        le=300,
        description="seconds at least between two batches of a pipeline that are not full; "
        "documents that trickle in gather for this time",
    )
    granularity: Granularity = Field(
        Granularity.AUTO,
        description="`flow`: one subflow per document; `task`: one task run per chunk of "
        "documents; `auto`: by the backlog",
    )
    auto_flow_limit: int = Field(
        200, ge=0, description="`auto` means `flow` while no more documents than this are ready"
    )
    lease_seconds: float = Field(
        300, ge=3, description="seconds until an abandoned claim may be taken over"
    )
    dispatch_grace: float = Field(
        120,
        ge=1,
        description="seconds after which a claim without a run counts as never dispatched",
    )
    accepted_grace: float = Field(
        120,
        ge=1,
        description="seconds after which reconcile brings source and logs to agreement",
    )
    task_retries: int = Field(3, ge=0, le=10, description="retries of a call within one run")
    task_retry_delay: Seconds = Field(
        2, description="seconds before the first retry, then doubling"
    )
    task_retry_jitter: float = Field(
        0.5, ge=0, le=5, description="random share added to each delay"
    )
    max_attempts: int = Field(
        8, ge=1, le=1000, description="claims after which a document counts as failed"
    )
    attempt_delay: Seconds = Field(
        120, description="seconds before a document is claimed again, tripling with each claim"
    )
    attempt_delay_max: Seconds = Field(6 * 3600, description="upper bound of that delay, seconds")
    write_batch_delay: float = Field(
        0.03,
        ge=0,
        le=5,
        description="seconds outcomes are collected before they are written together",
    )
    write_batch_size: int = Field(
        200, ge=1, le=1000, description="outcomes written together at most"
    )

    @model_validator(mode="after")
    def _renewed_in_time(self) -> SyncSettings:
        if self.dispatch_grace < self.lease_seconds / 4:
            raise ValueError(
                "dispatch_grace must be at least a quarter of lease_seconds: a claim that is "
                "renewed no sooner would count as never dispatched"
            )
        return self

    def granularity_for(self, documents: int, wanted: Granularity | None = None) -> Granularity:
        """The granularity for a number of documents, `auto` resolved.

        Args:
            wanted: instead of the setting.
        """
        granularity = wanted or self.granularity
        if granularity is not Granularity.AUTO:
            return granularity
        return Granularity.FLOW if documents <= self.auto_flow_limit else Granularity.TASK

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)
