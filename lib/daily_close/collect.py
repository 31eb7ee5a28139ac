"""Reads the documents of some days from every store. Changes nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from lib.daily_close.compare import choose_sample, compare
from lib.daily_close.result import DailyClose, Note, NoteKind, Scope
from lib.errors import Paused, StoreUnavailable, SyncError
from lib.models import Acceptance, DocumentRef, Payload, SyncStatus
from lib.pipelines import PIPELINES, get_pipeline, pharmacy_date
from lib.platforms.platform import Lookup
from lib.resilience.breaker import pipeline_breaker
from lib.resilience.breaker_rules import BreakerState
from lib.services import RateLimited, Services
from lib.source.daily import DailyDocument
from lib.sync.reconcile import changed_since_accepted
from lib.tracking.task_logs import LoggedDocument, TaskLogReader
from lib.words.language import N_

#: Documents to look up per pipeline and shop: at most this many accepted ones, as many others.
DEFAULT_SAMPLE = 3
_LOOKUPS_AT_ONCE = 4
_UNSUPPORTED = N_("the API does not support look-ups")

#: Receives what is being read, the number done, and the total.
OnProgress = Callable[[str, int, int], None]


async def read_close(
    services: Services, scope: Scope, sample: int, progress: OnProgress = lambda *_: None
) -> DailyClose:
    """Every document of the days, compared across the stores. Idempotent.

    If MongoDB or the API is unavailable, the close has a note about it; that is not an error.

    Args:
        sample: look up at most this many accepted documents, and as many others, per pipeline
            and shop.

    Raises:
        StoreUnavailable, ConfigurationError: the source database cannot be read.
    """
    documents: list[DailyDocument] = []
    for done, pipeline in enumerate(PIPELINES.values(), start=1):
        documents += await asyncio.to_thread(
            services.source.daily.documents_of_days, pipeline, scope.first, scope.last, scope.shop
        )
        progress("source", done, len(PIPELINES))
    logged, notes = await _read_logs(services, scope, documents, progress)
    answers: dict[DocumentRef, Acceptance | Lookup | None] = {}
    if sample > 0 and services.settings.api.lookup:
        asked = choose_sample(documents, sample)
        answers, refusals = await _ask_the_api(services, [d.ref for d in asked], progress)
        notes += [Note(NoteKind.NOT_LOOKED_UP, count, why) for why, count in refusals]
    changed = await _find_changed(services, documents, logged or {})
    return DailyClose(scope, compare(documents, logged, answers, changed), tuple(notes))


async def _find_changed(
    services: Services,
    documents: Iterable[DailyDocument],
    logged: Mapping[str, Mapping[int, LoggedDocument]],
) -> set[DocumentRef]:
    """Accepted documents whose content has changed, among those whose row was written since."""
    ids: dict[str, set[int]] = {name: set() for name in PIPELINES}
    for document in documents:
        ref = document.ref
        log = logged.get(ref.pipeline, {}).get(ref.record_id)
        seen = log is not None and log.row_changed and document.status == SyncStatus.SUCCESS
        if document.touched or seen:
            ids[ref.pipeline].add(ref.record_id)
    found: set[DocumentRef] = set()
    for name, some in ids.items():
        found.update(await changed_since_accepted(services, get_pipeline(name), some))
    return found


async def _read_logs(
    services: Services, scope: Scope, documents: Iterable[DailyDocument], progress: OnProgress
) -> tuple[dict[str, Mapping[int, LoggedDocument]] | None, list[Note]]:
    days_kept = services.settings.mongo.task_log_days
    if pharmacy_date(datetime.now(UTC)) - scope.first >= timedelta(days=days_kept):
        return None, [Note(NoteKind.LOGS_EXPIRED, days_kept)]
    logs = TaskLogReader(services.tracking.database)
    found: dict[str, Mapping[int, LoggedDocument]] = {}
    try:
        for done, name in enumerate(PIPELINES, start=1):
            ids = [d.ref.local_id for d in documents if d.ref.pipeline == name]
            found[name] = await logs.of_documents(name, ids)
            progress("logs", done, len(PIPELINES))
    except StoreUnavailable as error:
        return None, [Note(NoteKind.LOGS_AWAY, why=error.store)]
    return found, []


async def _ask_the_api(
    services: Services, refs: Sequence[DocumentRef], progress: OnProgress
) -> tuple[dict[DocumentRef, Acceptance | Lookup | None], list[tuple[str, int]]]:
    answers: dict[DocumentRef, Acceptance | Lookup | None] = {}
    refusals: Counter[str] = Counter()
    places = asyncio.Semaphore(_LOOKUPS_AT_ONCE)

    async def ask(ref: DocumentRef) -> None:
        async with places:
            try:
                answer: Acceptance | Lookup | None = await _look_up(services, ref)
            except SyncError as error:
                # Only the error class: the text may quote an answer of the API.
                refusals[error.error_class] += 1
                answer = None
            else:
                refusals[_UNSUPPORTED] += answer is Lookup.UNSUPPORTED
        answers[ref] = answer
        progress("API", len(answers), len(refs))

    await asyncio.gather(*map(ask, refs))
    return answers, sorted((+refusals).items())


async def _look_up(services: Services, ref: DocumentRef) -> Acceptance | Lookup:
    """Raises SyncError, also if a breaker is not closed."""
    account = services.accounts.account_for(ref.shop_pharmacy_code, ref.pharmacy_code)
    names = (
        services.accounts.breaker_name(ref.shop_pharmacy_code, ref.pharmacy_code),
        pipeline_breaker(ref.pipeline),
    )
    # Breakers are only read: a look-up for the close must not count as a probe.
    for snapshot in (await services.breakers.snapshot(names)).values():
        if snapshot.state is not BreakerState.CLOSED:
            raise Paused(f"{snapshot.name} is {snapshot.state.value}")
    # A look-up needs the document's codes, not its content.
    payload = Payload(get_pipeline(ref.pipeline).resource, ref.pharmacy_code, ref.local_id, {})
    return await services.platform.look_up(payload, account, RateLimited(services, names))
