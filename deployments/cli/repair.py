"""`dqg requeue` and `dqg resolve`: what a person decides about failed documents, and why."""

from __future__ import annotations

import asyncio
import getpass
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from deployments.cli.context import (
    ATTENTION,
    AsJson,
    Operator,
    PipelineName,
    console,
    open_operator,
    print_json,
    run,
    table,
)
from deployments.cli.selection import (
    OlderThan,
    OnlyClass,
    OnlyPipeline,
    OnlyReason,
    OnlyShop,
    Within,
    make_filter,
    read_groups,
)
from lib.errors import AmbiguousDocument, DocumentNotFound, StoreUnavailable
from lib.failures import FailureFilter, ref_of
from lib.models import DocumentRef, StoredDocument, SyncStatus
from lib.pipelines import PIPELINES, get_pipeline

Yes = Annotated[bool, typer.Option("--yes", help="do it; without it only what would be done")]
Why = Annotated[str | None, typer.Option("--why", help="the reason, kept with the failure record")]
By = Annotated[str | None, typer.Option("--by", help="who decides; by default the login name")]
Pharmacy = Annotated[
    str | None, typer.Option("--pharmacy-code", help="where several use the same local id")
]
#: Documents whose fate is written at once, and told in the progress.
_CHUNK = 500


@dataclass(slots=True)
class Result:
    """What became of one document; `done` None in a preview: it would be done."""

    document: StoredDocument
    done: bool | None
    text: str

    def as_json(self) -> dict[str, Any]:
        ref = self.document.ref
        return {
            "pipeline": ref.pipeline,
            "shop": ref.shop_pharmacy_code,
            "local_id": ref.local_id,
            "record_id": ref.record_id,
            "done": self.done,
            "result": self.text,
        }


def requeue(
    local_id: Annotated[str | None, typer.Argument(help="one document")] = None,
    group: Annotated[str | None, typer.Option("--group", help="of `dqg failures group`")] = None,
    pipeline: OnlyPipeline = None,
    pharmacy_code: Pharmacy = None,
    shop: OnlyShop = None,
    error_class: OnlyClass = None,
    reason: OnlyReason = None,
    within: Within = None,
    older_than: OlderThan = None,
    why: Why = None,
    by: By = None,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Make failed documents pending again: one, those of a filter, or a whole group."""
    filters = (shop, error_class, reason, within, older_than)
    if local_id is not None and (group is not None or any(f is not None for f in filters)):
        raise typer.BadParameter("a local id goes with --pipeline and --pharmacy-code only")
    if local_id is None and pharmacy_code is not None:
        raise typer.BadParameter("--pharmacy-code goes with a local id")
    if local_id is None and group is None and pipeline is None and not any(filters):
        raise typer.BadParameter("say which: a local id, --group, or a filter such as --pipeline")
    reason_given = _decided(why, yes)
    wanted = make_filter(pipeline, shop, error_class, reason, within, older_than)
    run(
        _requeue(local_id, pipeline, pharmacy_code, wanted, group, reason_given, by, yes, json),
        as_json=json,
    )


async def _requeue(
    local_id: str | None,
    pipeline: PipelineName | None,
    pharmacy_code: str | None,
    wanted: FailureFilter,
    group: str | None,
    why: str,
    by: str | None,
    yes: bool,
    json: bool,
) -> int:
    async with open_operator() as operator:
        if local_id is not None:
            documents = [await _one(operator, local_id, pipeline, pharmacy_code)]
        else:
            documents = await _chosen(operator, wanted, group)
        results = [_preview(document) for document in documents]
        if yes and results:
            # Without the record of who and why nothing is changed.
            await operator.tracking.ping()
            await _carry_out(operator, results, why, by or getpass.getuser())
    _tell(results, yes, json, "made pending again")
    return 0 if results and all(result.done is not False for result in results) else ATTENTION


async def _chosen(
    operator: Operator, wanted: FailureFilter, group: str | None
) -> list[StoredDocument]:
    if group is None:
        refs = {ref_of(row) for row in await operator.failures.find(wanted)}
    else:
        groups = await read_groups(operator, wanted)
        refs = {ref for g in groups if g.reason.key == group for ref in g.refs}
        if not refs:
            raise DocumentNotFound(f"there is no open failure in a group {group!r}")
    return await _read(operator, refs)


async def _read(operator: Operator, refs: Iterable[DocumentRef]) -> list[StoredDocument]:
    by_pipeline: dict[str, list[int]] = defaultdict(list)
    for ref in refs:
        by_pipeline[ref.pipeline].append(ref.record_id)
    found: list[StoredDocument] = []
    for name in sorted(by_pipeline):
        found += await asyncio.to_thread(operator.source.get, get_pipeline(name), by_pipeline[name])
    return found


async def _one(
    operator: Operator, local_id: str, pipeline: PipelineName | None, pharmacy_code: str | None
) -> StoredDocument:
    """The one document of a local id; of several rows in one pharmacy, the failed one.

    Raises:
        DocumentNotFound, AmbiguousDocument.
    """
    names = PIPELINES if pipeline is None else (pipeline.value,)
    found: list[StoredDocument] = []
    for name in names:
        found += await asyncio.to_thread(
            operator.source.find, get_pipeline(name), local_id, pharmacy_code
        )
    if not found:
        raise DocumentNotFound(f"there is no document {local_id!r}")
    places = {(document.ref.pipeline, document.ref.pharmacy_code) for document in found}
    if len(places) > 1:
        raise AmbiguousDocument(
            f"there is more than one document {local_id!r}: name --pipeline and --pharmacy-code, "
            f"one of {', '.join(' '.join(place) for place in sorted(places))}"
        )
    failed = [document for document in found if document.status is SyncStatus.FAILED]
    return (failed or found)[0]


def _preview(document: StoredDocument) -> Result:
    if document.status is SyncStatus.FAILED and document.claim_token is None:
        return Result(document, None, "failed")
    held = " and held by a run" if document.claim_token else ""
    return Result(document, False, f"left alone: it is {document.status.value}{held}")


async def _carry_out(operator: Operator, results: list[Result], why: str, by: str) -> None:
    pending = [result for result in results if result.done is None]
    by_pipeline: dict[str, list[Result]] = defaultdict(list)
    for result in pending:
        by_pipeline[result.document.ref.pipeline].append(result)
    for name, of_pipeline in by_pipeline.items():
        for start in range(0, len(of_pipeline), _CHUNK):
            chunk = of_pipeline[start : start + _CHUNK]
            await _requeue_chunk(operator, name, chunk, why, by)


async def _requeue_chunk(
    operator: Operator, name: str, chunk: list[Result], why: str, by: str
) -> None:
    pipeline = get_pipeline(name)
    ids = [result.document.ref.record_id for result in chunk]
    await asyncio.to_thread(operator.source.requeue, pipeline, ids)
    now = {
        document.ref.record_id: document
        for document in await asyncio.to_thread(operator.source.get, pipeline, ids)
    }
    for result in chunk:
        document = now.get(result.document.ref.record_id)
        result.done = document is not None and document.status is not SyncStatus.FAILED
        result.text = "pending again" if result.done else "left alone: it changed meanwhile"
    refs = [result.document.ref for result in chunk if result.done]
    await _record(operator, refs, "requeued", by, why)


async def _record(
    operator: Operator, refs: list[DocumentRef], state: str, by: str, why: str
) -> None:
    try:
        await operator.tracking.settle_failures(refs, state=state, by=by, why=why)
    except StoreUnavailable as error:
        raise StoreUnavailable(
            error.store,
            f"went away: {len(refs)} documents are {state}, but not who did it and why",
        ) from error


def resolve(
    local_id: Annotated[str, typer.Argument(help="the document")],
    national_id: Annotated[str, typer.Option("--national-id", help="its code at the portal")],
    pipeline: OnlyPipeline = None,
    pharmacy_code: Pharmacy = None,
    why: Why = None,
    by: By = None,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Mark a failed document as entered by hand at the portal: it is never sent again."""
    national_id = national_id.strip()
    if not national_id:
        raise typer.BadParameter("--national-id is empty")
    reason = _decided(why, yes)
    run(
        _resolve(local_id, national_id, pipeline, pharmacy_code, reason, by, yes, json),
        as_json=json,
    )


async def _resolve(
    local_id: str,
    national_id: str,
    pipeline: PipelineName | None,
    pharmacy_code: str | None,
    why: str,
    by: str | None,
    yes: bool,
    json: bool,
) -> int:
    async with open_operator() as operator:
        document = await _one(operator, local_id, pipeline, pharmacy_code)
        result = _preview(document)
        if document.status is SyncStatus.SUCCESS and document.national_id == national_id:
            # A repetition: the failure record may still be open.
            result = Result(document, None, "already marked")
        if yes and result.done is None:
            await operator.tracking.ping()
            result.done = await asyncio.to_thread(
                operator.source.resolve_by_hand, document.ref, national_id, f"by hand: {why}"
            )
            result.text = f"marked as {national_id}" if result.done else "it changed meanwhile"
            if result.done:
                await _record(operator, [document.ref], "resolved", by or getpass.getuser(), why)
    _tell([result], yes, json, "marked as entered by hand")
    return ATTENTION if result.done is False else 0


def _decided(why: str | None, yes: bool) -> str:
    reason = (why or "").strip()
    if yes and not reason:
        raise typer.BadParameter("--yes needs --why: the reason is kept")
    return reason


def _tell(results: list[Result], yes: bool, json: bool, verb: str) -> None:
    counts = Counter(
        (r.document.ref.pipeline, r.document.ref.shop_pharmacy_code, r.text) for r in results
    )
    if json:
        print_json({"dry_run": not yes, "documents": [result.as_json() for result in results]})
        return
    out = console()
    rows = [(*key, number) for key, number in sorted(counts.items())]
    out.print(table(f"{len(results)} documents", ["pipeline", "shop", "", "documents"], rows))
    if yes:
        rows = [(r.document.ref.pipeline, r.document.ref.local_id, r.text) for r in results]
        out.print(table("Each of them", ["pipeline", "document", "result"], rows))
    elif wanted := sum(result.done is None for result in results):
        out.print(Text(f"Nothing was changed. With --yes and --why, {wanted} would be {verb}."))
