"""`dqg requeue` and `dqg resolve`: what a person decides about failed documents, and why."""

from __future__ import annotations

import asyncio
import getpass
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
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
from deployments.cli.language import N_, _, _n
from deployments.cli.progress import progress
from deployments.cli.selection import (
    OlderThan,
    OnlyClass,
    OnlyPipeline,
    OnlyReason,
    OnlyShop,
    Pharmacy,
    Within,
    chunks,
    make_filter,
    one_document,
    read_failures,
    read_groups,
)
from lib.errors import DocumentNotFound, StoreUnavailable
from lib.models import DocumentRef, StoredDocument, SyncStatus
from lib.pipelines import get_pipeline
from lib.tracking.failures import FailureFilter, ref_of

Yes = Annotated[bool, typer.Option("--yes", help="do it; without it only what would be done")]
Why = Annotated[str | None, typer.Option("--why", help="the reason, kept with the failure record")]
By = Annotated[str | None, typer.Option("--by", help="who decides; by default the login name")]


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
        raise typer.BadParameter(_("a local id goes with --pipeline and --pharmacy-code only"))
    if local_id is None and pharmacy_code is not None:
        raise typer.BadParameter(_("--pharmacy-code goes with a local id"))
    if local_id is None and group is None and pipeline is None and not any(filters):
        raise typer.BadParameter(
            _("say which: a local id, --group, or a filter such as --pipeline")
        )
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
            documents = await _chosen(operator, wanted, group, quiet=json)
        results = [_preview(document) for document in documents]
        if yes and results:
            # Without the record of who and why nothing is changed.
            await operator.tracking.ping()
            await _carry_out(operator, results, why, by or getpass.getuser(), quiet=json)
    _tell(
        results,
        yes,
        json,
        N_("Nothing was changed. With --yes and --why, {count} would be made pending again."),
    )
    return 0 if results and all(result.done is not False for result in results) else ATTENTION


async def _chosen(
    operator: Operator, wanted: FailureFilter, group: str | None, *, quiet: bool
) -> list[StoredDocument]:
    if group is None:
        refs = {ref_of(row) for row in await read_failures(operator, wanted, quiet=quiet)}
    else:
        groups = await read_groups(operator, wanted, quiet=quiet)
        refs = {ref for g in groups if g.reason.key == group for ref in g.refs}
        if not refs:
            raise DocumentNotFound(
                _("there is no open failure in a group {group}", group=repr(group))
            )
    return await _read(operator, refs, quiet=quiet)


async def _read(
    operator: Operator, refs: Collection[DocumentRef], *, quiet: bool
) -> list[StoredDocument]:
    by_pipeline: dict[str, list[int]] = defaultdict(list)
    for ref in refs:
        by_pipeline[ref.pipeline].append(ref.record_id)
    found: list[StoredDocument] = []
    with progress(_("reading documents"), len(refs), shown=not quiet) as advance:
        for name in sorted(by_pipeline):
            for ids in chunks(sorted(by_pipeline[name])):
                found += await asyncio.to_thread(
                    operator.source.documents.get, get_pipeline(name), ids
                )
                advance(len(ids))
    return found


async def _one(
    operator: Operator, local_id: str, pipeline: PipelineName | None, pharmacy_code: str | None
) -> StoredDocument:
    """The one document of a local id; of several rows in one pharmacy, the failed one.

    Raises:
        DocumentNotFound, AmbiguousDocument.
    """
    found = await one_document(operator, local_id, pipeline, pharmacy_code)
    failed = [document for document in found if document.status is SyncStatus.FAILED]
    return (failed or found)[0]


def _preview(document: StoredDocument) -> Result:
    status = document.status.value
    if document.claim_token is not None:
        return Result(
            document, False, _("left alone: it is {status} and held by a run", status=status)
        )
    if document.status is not SyncStatus.FAILED:
        return Result(document, False, _("left alone: it is {status}", status=status))
    return Result(document, None, _("failed"))


async def _carry_out(
    operator: Operator, results: list[Result], why: str, by: str, *, quiet: bool
) -> None:
    pending = [result for result in results if result.done is None]
    by_pipeline: dict[str, list[Result]] = defaultdict(list)
    for result in pending:
        by_pipeline[result.document.ref.pipeline].append(result)
    with progress(_("making documents pending"), len(pending), shown=not quiet) as advance:
        for name, of_pipeline in by_pipeline.items():
            for chunk in chunks(of_pipeline):
                await _requeue_chunk(operator, name, chunk, why, by)
                advance(len(chunk))


async def _requeue_chunk(
    operator: Operator, name: str, chunk: Sequence[Result], why: str, by: str
) -> None:
    pipeline = get_pipeline(name)
    ids = [result.document.ref.record_id for result in chunk]
    await asyncio.to_thread(operator.source.outcomes.requeue, pipeline, ids)
    now = {
        document.ref.record_id: document
        for document in await asyncio.to_thread(operator.source.documents.get, pipeline, ids)
    }
    for result in chunk:
        document = now.get(result.document.ref.record_id)
        result.done = document is not None and document.status is not SyncStatus.FAILED
        result.text = _("pending again") if result.done else _("left alone: it changed meanwhile")
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
            _n(
                "went away: {count} document is {state}, but it is not kept who did it and why",
                "went away: {count} documents are {state}, but it is not kept who did it and why",
                len(refs),
                state=state,
            ),
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
        raise typer.BadParameter(_("--national-id is empty"))
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
            result = Result(document, None, _("already marked"))
        if yes and result.done is None:
            await operator.tracking.ping()
            result.done = await asyncio.to_thread(
                operator.source.outcomes.resolve_by_hand,
                document.ref,
                national_id,
                f"by hand: {why}",
            )
            result.text = (
                _("marked as {national_id}", national_id=national_id)
                if result.done
                else _("left alone: it changed meanwhile")
            )
            if result.done:
                await _record(operator, [document.ref], "resolved", by or getpass.getuser(), why)
    _tell(
        [result],
        yes,
        json,
        N_(
            "Nothing was changed. With --yes and --why, {count} would be marked as entered by hand."
        ),
    )
    return ATTENTION if result.done is False else 0


def _decided(why: str | None, yes: bool) -> str:
    reason = (why or "").strip()
    if yes and not reason:
        raise typer.BadParameter(_("--yes needs --why: the reason is kept"))
    return reason


def _tell(results: list[Result], yes: bool, json: bool, preview: str) -> None:
    counts = Counter(
        (r.document.ref.pipeline, r.document.ref.shop_pharmacy_code, r.text) for r in results
    )
    if json:
        print_json({"dry_run": not yes, "documents": [result.as_json() for result in results]})
        return
    out = console()
    heads = [_("pipeline"), _("shop"), "", _("documents")]
    rows = [(*key, number) for key, number in sorted(counts.items())]
    out.print(table(_n("{count} document", "{count} documents", len(results)), heads, rows))
    if yes:
        heads = [_("pipeline"), _("document"), _("result")]
        rows = [(r.document.ref.pipeline, r.document.ref.local_id, r.text) for r in results]
        out.print(table(_("Each of them"), heads, rows))
    elif wanted := sum(result.done is None for result in results):
        out.print(Text(_(preview, count=wanted)))
