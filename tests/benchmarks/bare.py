"""The same I/O in one asyncio loop, without any orchestrator: the limit of this machine.

Claims, loads, sends with 64 calls in flight, and writes outcomes and logs in batches, with
this project's own library; without retries, breakers, leases and rate limits.
"""

from __future__ import annotations

import asyncio
from uuid import uuid4

from lib.errors import ConfigurationError
from lib.models import Attempt
from lib.pipelines import PIPELINES, Pipeline
from lib.platforms.platform import Action
from lib.record import Record
from lib.services import Services, open_services
from lib.settings import load_settings
from lib.sync import outcomes

IN_FLIGHT = 64
BATCH = 500


async def main() -> None:
    settings = load_settings()
    if settings.source.url is None:
        raise ConfigurationError("the benchmark needs DQG_SOURCE__URL")
    places = asyncio.Semaphore(IN_FLIGHT)
    async with open_services(settings, settings.source.url.get_secret_value()) as services:
        await services.tracking.prepare()
        await asyncio.gather(*(drain(services, p, places) for p in PIPELINES.values()))


async def drain(services: Services, pipeline: Pipeline, places: asyncio.Semaphore) -> None:
    """Send a pipeline's pending documents, batch after batch."""
    while True:
        claim = await asyncio.to_thread(
            services.source.claims.claim,
            pipeline,
            token=str(uuid4()),
            limit=BATCH,
            lease=services.settings.sync.lease,
        )
        if not claim.documents:
            return
        await services.tracking.dispatched(claim)
        documents = await asyncio.to_thread(services.source.documents.load, pipeline, claim.token)
        await asyncio.gather(*(send(services, Record(d), places) for d in documents))


async def send(services: Services, record: Record, places: asyncio.Semaphore) -> None:
    """Send one document and write its outcome."""
    ref = record.ref
    async with places:
        payload = services.platform.build(record.document)
        account = services.accounts.account_for(ref.shop_pharmacy_code, ref.pharmacy_code)
        acceptance = await services.platform.submit(payload, account, Unconditional(record))
    await services.outcomes.write(
        record, outcomes.accepted(record.document, acceptance, services.settings.sync.language)
    )


class Unconditional:
    """A `CallContext` that delays no call."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def permit(self, action: Action) -> None:
        """Every call is permitted."""

    def ensure_held(self) -> None:
        """There is no claim."""

    def note(self, attempt: Attempt) -> None:
        self._record.attempts.append(attempt)


if __name__ == "__main__":
    asyncio.run(main())
