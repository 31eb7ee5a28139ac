"""`dqg requeue` and `dqg resolve`: a person's decisions about failed documents, with reasons."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from deployments.cli.context import ATTENTION, AsJson, PipelineName, open_operator, print_json, run
from deployments.cli.language import N_, _, _n
from deployments.cli.output import code, console, number, table, text
from deployments.cli.progress import progress
from deployments.cli.selection import (
    OlderThan,
    OnlyClass,
    OnlyPipeline,
    OnlyReason,
    OnlyShop,
    Pharmacy,
    Within,
    check_names,
    make_filter,
    one_document,
    read_failures,
    read_groups,
)
from lib.errors import DocumentNotFound, StoreUnavailable
from lib.models import DocumentRef, StoredDocument, SyncStatus
from lib.operations.decision import Decision, Effect, preview
from lib.operations.operator import Operator
from lib.operations.requeue import NotRecorded, read_documents
from lib.operations.requeue import requeue as carry_out
from lib.operations.resolve import preview as preview_resolve
from lib.operations.resolve import resolve as mark_resolved
from lib.tracking.failures import FailureFilter, ref_of

Yes = Annotated[
    bool, typer.Option("--yes", help="carry it out; without --yes only a preview is shown")
]
Why = Annotated[
    str | None, typer.Option("--why", help="the reason, stored with the failure record")
]
By = Annotated[
    str | None,
    typer.Option("--by", help="name of the person who decides; by default the login name"),
]


#: The effect of a decision, as text.
_EFFECTS = {
    Effect.HELD: N_("skipped: its status is {status}, and a run is processing it"),
    Effect.NOT_FAILED: N_("skipped: its status is {status}"),
    Effect.CHANGED: N_("skipped: it was changed in the meantime"),
    Effect.ALREADY: N_("already marked"),
    Effect.POSSIBLE: N_("failed"),
}


@dataclass(frozen=True, slots=True)
class Result:
    """The result for one document; `done` is None in a preview if it would be done."""

    ref: DocumentRef
    done: bool | None
    text: str

    def as_json(self) -> dict[str, Any]:
        return {
            "pipeline": self.ref.pipeline,
            "shop": self.ref.shop_pharmacy_code,
            "local_id": self.ref.local_id,
            "record_id": self.ref.record_id,
            "done": self.done,
            "result": self.text,
        }


def _result(decision: Decision, done: str) -> Result:
    """The result of a decision; its text is `done` if the decision was carried out."""
    if decision.effect is Effect.DONE:
        text = done
    elif decision.effect in (Effect.HELD, Effect.NOT_FAILED):
        text = _(_EFFECTS[decision.effect], status=str(decision.document.status))
    else:
        text = _(_EFFECTS[decision.effect])
    return Result(decision.ref, decision.done, text)


def requeue(
    local_id: Annotated[str | None, typer.Argument(help="local id of one document")] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="id of a group, as shown by `dqg failures group`")
    ] = None,
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
    """Make failed documents pending again: one, a group, or all that match a filter."""
    filters = (shop, error_class, reason, within, older_than)
    if local_id is not None and (group is not None or any(f is not None for f in filters)):
        raise typer.BadParameter(
            _("the only filters of a local id are --pipeline and --pharmacy-code")
        )
    if local_id is None and pharmacy_code is not None:
        raise typer.BadParameter(_("--pharmacy-code requires a local id"))
    if local_id is None and group is None and pipeline is None and not any(filters):
        raise typer.BadParameter(
            _("select documents by a local id, --group, or a filter such as --pipeline")
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
            if not documents:
                await check_names(operator, wanted)
        decisions = [preview(document) for document in documents]
        if yes and decisions:
            possible = sum(decision.done is None for decision in decisions)
            text = _("making documents pending")
            with progress(text, possible, shown=not json) as advance, _record_errors():
                await carry_out(
                    operator, decisions, by=by or getpass.getuser(), why=why, seen=advance
                )
    results = [_result(decision, _("pending again")) for decision in decisions]
    _print_results(
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
                _("there is no group {group} with open failures", group=repr(group))
            )
    with progress(_("reading documents"), len(refs), shown=not quiet) as advance:
        return await read_documents(operator, refs, seen=advance)


async def _one(
    operator: Operator, local_id: str, pipeline: PipelineName | None, pharmacy_code: str | None
) -> StoredDocument:
    """The document of a local id; if one pharmacy has several rows, the failed one.

    Raises:
        DocumentNotFound, AmbiguousDocument.
    """
    found = await one_document(operator, local_id, pipeline, pharmacy_code)
    failed = [document for document in found if document.status == SyncStatus.FAILED]
    return (failed or found)[0]


@contextmanager
def _record_errors() -> Iterator[None]:
    """Reports in the set language that a decision was carried out but could not be recorded."""
    try:
        yield
    except NotRecorded as error:
        raise StoreUnavailable(
            error.store,
            _n(
                "became unavailable; {count} document is {state}, but who did it and why was not "
                "recorded",
                "became unavailable; {count} documents are {state}, but who did it and why was not "
                "recorded",
                error.documents,
                state=error.state,
            ),
        ) from error


def resolve(
    local_id: Annotated[str, typer.Argument(help="local id of the document")],
    national_id: Annotated[
        str, typer.Option("--national-id", help="its national id, as the portal shows it")
    ],
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
        decision = preview_resolve(document, national_id)
        if yes:
            with _record_errors():
                await mark_resolved(
                    operator, decision, national_id, by=by or getpass.getuser(), why=why
                )
    result = _result(decision, _("marked as {national_id}", national_id=national_id))
    _print_results(
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
        raise typer.BadParameter(_("--yes requires --why: the reason is recorded"))
    return reason


def _print_results(results: list[Result], yes: bool, json: bool, preview: str) -> None:
    counts = Counter((r.ref.pipeline, r.ref.shop_pharmacy_code, r.text) for r in results)
    if json:
        print_json({"dry_run": not yes, "documents": [result.as_json() for result in results]})
        return
    out = console()
    heads = [code(_("pipeline"), 1), code(_("shop")), text(""), number(_("documents"))]
    rows = [(*key, number) for key, number in sorted(counts.items())]
    out.print(table(_n("{count} document", "{count} documents", len(results)), heads, rows))
    if yes:
        heads = [code(_("pipeline"), 1), code(_("document")), text(_("result"))]
        each = [(r.ref.pipeline, r.ref.local_id, r.text) for r in results]
        out.print(table(_("Result for each document"), heads, each))
    elif wanted := sum(result.done is None for result in results):
        out.print(Text(_(preview, count=wanted)))
