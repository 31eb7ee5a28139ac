"""What `orchestrate` has done and shows an operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from lib.alerts.conditions import PlaceState
from lib.models import Claim, PipelineSummary
from lib.sync.planning import ClaimPlan
from tasks.markdown import plain


@dataclass(slots=True)
class Round:
    """What was claimed and dispatched, by pipeline, and what went wrong."""

    claimed: Counter[str] = field(default_factory=Counter)
    dispatched: Counter[str] = field(default_factory=Counter)
    notes: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    accounts: dict[str, tuple[PlaceState, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        pipelines: Sequence[str],
        results: Sequence[tuple[ClaimPlan, list[Claim]] | BaseException],
    ) -> Self:
        done = cls()
        for pipeline, result in zip(pipelines, results, strict=True):
            if isinstance(result, Exception):
                done.errors[pipeline] = str(result)
            elif isinstance(result, BaseException):
                raise result
            else:
                plan, claims = result
                done.notes[pipeline], done.accounts[pipeline] = plan.note, plan.accounts
                done.claimed[pipeline] = sum(len(claim.documents) for claim in claims)
                done.dispatched[pipeline] = len(claims)
        return done

    @classmethod
    def sum(cls, rounds: Iterable[Round]) -> Self:
        """Several rounds as one; of notes, errors and accounts a pipeline's latest count."""
        total = cls()
        for one in rounds:
            total.claimed += one.claimed
            total.dispatched += one.dispatched
            total.notes |= one.notes
            total.errors |= one.errors
            total.accounts |= one.accounts
        return total

    @property
    def paused_accounts(self) -> list[PlaceState]:
        """Of all pipelines, the paused shops' accounts."""
        return [state for states in self.accounts.values() for state in states]

    @property
    def documents(self) -> int:
        return self.claimed.total()

    @property
    def batches(self) -> int:
        return self.dispatched.total()


def summary_rows(backlog: Sequence[PipelineSummary], done: Round) -> list[dict[str, Any]]:
    """One row a pipeline. Pure."""
    return [
        {
            "pipeline": summary.pipeline,
            "note": _note(summary.pipeline, done),
            "oldest pending": _age(summary.oldest_pending_seconds),
            "pending": summary.pending,
            "claimed now": done.claimed[summary.pipeline],
            "dispatched batches": done.dispatched[summary.pipeline],
            "in flight": summary.in_flight,
            "unconfirmed": summary.unconfirmed,
            "succeeded (24 h)": summary.succeeded,
            "failed (24 h)": summary.failed,
            "before the cut-off": summary.before_cut_off,
        }
        for summary in backlog
    ]


def _note(pipeline: str, done: Round) -> str:
    error = done.errors.get(pipeline)
    return plain(f"error: {error}" if error else done.notes.get(pipeline, ""))


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "none"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
