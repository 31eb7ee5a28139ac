"""Starts a run of the pipeline's deployment for each claim, and counts what was dispatched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.deployments import arun_deployment

from lib.alerts.conditions import ShopPharmacyState
from lib.models import Claim, LogStatus
from lib.pipelines import get_pipeline
from lib.settings import Granularity
from lib.sync.planning import ClaimPlan
from tasks.documents import release_claim
from tasks.runtime import current_services


@task(cache_policy=NO_CACHE, task_run_name="dispatch-{claim.pipeline}")
async def dispatch(claim: Claim, granularity: Granularity) -> str:
    """Log a claim and start a run for it; returns the run's id.

    The claim token is the idempotency key: for a second request Prefect returns the same run. Only
    the token is passed, so Prefect's database has no data of the documents.
    If the run cannot be created, the claim is released at once; if this process dies instead,
    `reconcile` finds a claim without a run.
    """
    services = current_services()
    await services.tracking.dispatched(claim)
    try:
        flow_run = await arun_deployment(
            get_pipeline(claim.pipeline).deployment,
            parameters={"claim_token": claim.token, "granularity": granularity.value},
            idempotency_key=claim.token,
            tags=[claim.pipeline],
            timeout=0,
            as_subflow=False,
        )
    except Exception:
        await release_claim(services, claim)
        await services.tracking.close_all(
            claim.documents, claim.token, LogStatus.RELEASED, "could not be dispatched"
        )
        raise
    await services.tracking.run_created(claim, str(flow_run.id))
    return str(flow_run.id)


@dataclass(slots=True)
class Round:
    """What was claimed and dispatched, by pipeline, and what went wrong."""

    claimed: Counter[str] = field(default_factory=Counter)
    dispatched: Counter[str] = field(default_factory=Counter)
    notes: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    accounts: dict[str, tuple[ShopPharmacyState, ...]] = field(default_factory=dict)

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
        """The sum of several rounds; it has each pipeline's latest note, error and accounts."""
        total = cls()
        for one in rounds:
            total.claimed += one.claimed
            total.dispatched += one.dispatched
            total.notes |= one.notes
            total.errors |= one.errors
            total.accounts |= one.accounts
        return total

    @property
    def paused_accounts(self) -> list[ShopPharmacyState]:
        """The accounts of the paused shops of all pipelines."""
        return [state for states in self.accounts.values() for state in states]

    @property
    def documents(self) -> int:
        return self.claimed.total()

    @property
    def batches(self) -> int:
        return self.dispatched.total()
