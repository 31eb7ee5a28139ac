"""Hands a claim to a run of its pipeline's deployment."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.deployments import arun_deployment

from lib.models import Claim, LogStatus
from lib.pipelines import get_pipeline
from lib.settings import Granularity
from tasks.claims import release_claim
from tasks.services import current_services


@task(cache_policy=NO_CACHE, task_run_name="dispatch-{claim.pipeline}")
async def dispatch(claim: Claim, granularity: Granularity) -> str:
    """Log a claim and start a run for it; returns the run's id.

    The claim token is the idempotency key: asked twice, Prefect answers with the same run. Only
    the token travels, so Prefect's database learns nothing of the documents.
    If the run cannot be created the claim is given back at once; if this process dies instead,
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
        await release_claim(claim)
        await services.tracking.close_all(
            claim.documents, claim.token, LogStatus.RELEASED, "could not be dispatched"
        )
        raise
    await services.tracking.run_created(claim, str(flow_run.id))
    return str(flow_run.id)
