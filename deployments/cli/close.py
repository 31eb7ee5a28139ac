"""`dqg close`: checks that days are accepted and all stores agree, and writes the proof files."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from deployments.cli.context import ATTENTION, AsJson, print_error, print_json, run
from deployments.cli.language import N_, _, _n, current_language
from deployments.cli.output import code, console, number, table, text
from deployments.cli.prefect_api import prefect_errors
from deployments.cli.selection import OnlyShop, check_shop
from lib.daily_close.collect import DEFAULT_SAMPLE, OnProgress, read_close
from lib.daily_close.files import (
    WRITERS,
    Format,
    audit_detail,
    file_name,
    verify_file,
    write_file,
)
from lib.daily_close.proof import Seal, Signer
from lib.daily_close.result import (
    BadScope,
    DailyClose,
    Difference,
    Scope,
    State,
    make_scope,
)
from lib.errors import ConfigurationError, SyncError
from lib.sanitize import printable
from lib.tracking.audit import Action, AuditEntry, AuditLog
from lib.tracking.failures import FailureLog
from lib.words.language import Language
from tasks.artifacts import show_daily_close
from tasks.configuration import read_settings
from tasks.runtime import open_services

_DIFFERENCES_SHOWN = 50

_STEPS = {"source": N_("source database"), "logs": N_("logs"), "API": N_("national API")}

app = typer.Typer(invoke_without_command=True)


def parse_day(text: str) -> date:
    """Parses a date such as `2026-11-02`."""
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").date()  # noqa: DTZ007 - only a date
    except ValueError:
        raise typer.BadParameter(
            _("{value!r} is not a date; use the format 2026-11-02", value=text)
        ) from None


Day = Annotated[
    date | None,
    typer.Option(
        "--date",
        parser=parse_day,
        metavar="DATE",
        help="date of the documents, e.g. 2026-11-02; by default yesterday in Vietnam",
    ),
]
First = Annotated[
    date | None,
    typer.Option("--from", parser=parse_day, metavar="DATE", help="first day of a range"),
]
Last = Annotated[
    date | None,
    typer.Option("--to", parser=parse_day, metavar="DATE", help="last day of a range"),
]
Sample = Annotated[
    int,
    typer.Option(
        "--sample",
        min=0,
        help="number of documents of each shop and kind to look up at the API; 0 for none",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="the CSV file, the workbook is written beside it; by default daily-close-DATE.csv in "
        "the current folder",
    ),
]


@app.callback()
def close(
    context: typer.Context,
    day: Day = None,
    first: First = None,
    last: Last = None,
    shop: OnlyShop = None,
    sample: Sample = DEFAULT_SAMPLE,
    out: Out = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="overwrite existing files")
    ] = False,
    json: AsJson = False,
) -> None:
    """Close one or more days: compare every document across all stores, and write the proof.

    The exit status is 0 only if everything is accepted and all stores agree.
    """
    if context.invoked_subcommand is not None:
        return
    scope = _scope(day, first, last, shop)
    path = (out or Path(file_name(scope, Format.CSV))).absolute()
    base = path.with_suffix("") if path.suffix[1:].lower() in list(Format) else path
    paths = {kind: base.with_name(f"{base.name}.{kind.value}") for kind in Format}
    for taken in paths.values():
        if taken.exists() and not overwrite:
            raise typer.BadParameter(
                _("{path} already exists; --overwrite replaces it", path=taken)
            )
    run(_close(scope, sample, paths, json), as_json=json)


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="a file written by `dqg close`: CSV or workbook")],
    public_key: Annotated[
        str | None,
        typer.Option(
            "--public-key",
            help="public key of the installation that signed the file; `dqg close public-key` "
            "prints it",
        ),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", help="the checksum that was recorded elsewhere, e.g. in Prefect"),
    ] = None,
    json: AsJson = False,
) -> None:
    """Check that a file is unchanged since `dqg close` wrote it, and who signed it.

    The exit status is 1 if the check fails. Needs only the file and the public key: no settings
    and no stores.
    """
    run(_verify(file.absolute(), public_key, sha256, json), as_json=json)


@app.command("public-key")
def public_key_(json: AsJson = False) -> None:
    """The public key of this installation, for those who verify its files."""
    run(_public_key(json), as_json=json)


def _scope(day: date | None, first: date | None, last: date | None, shop: str | None) -> Scope:
    if day is not None and (first is not None or last is not None):
        raise typer.BadParameter(_("--date is for one day, --from and --to for several"))
    try:
        return make_scope(day or first, last, shop)
    except BadScope as error:
        raise typer.BadParameter(str(error)) from None


async def _close(scope: Scope, sample: int, paths: Mapping[Format, Path], json: bool) -> int:
    artifact_error: SyncError | None = None
    async with open_services() as services:
        signer = Signer(services.settings.close.signing_key)
        with _progress(shown=not json) as progress:
            result = await read_close(services, scope, sample, progress)
        if scope.shop is not None and not result.documents:
            failures = FailureLog(services.tracking.database)
            await check_shop(scope.shop, services.source, services.accounts, failures)
        seals: dict[Path, Seal] = {}
        for kind, path in paths.items():
            file = WRITERS[kind](result, signer)
            write_file(path, file.content)
            seals[path] = file.seal
        sums = {kind: seals[path].sha256 for kind, path in paths.items()}
        entry = AuditEntry(Action.CLOSED_DAY, getpass.getuser(), detail=audit_detail(result, sums))
        await AuditLog(services.tracking.database).try_note(entry)
    try:
        async with prefect_errors():
            await show_daily_close(result)
    except SyncError as error:
        artifact_error = error
    if json:
        print_json(_as_json(result, seals, artifact_error))
    else:
        _print(result, seals)
        if artifact_error is not None:
            print_error(_("the artifact was not created: {error}", error=artifact_error))
    return 0 if result.is_closed and artifact_error is None else ATTENTION


async def _verify(path: Path, key: str | None, noted: str | None, json: bool) -> int:
    found = verify_file(path)
    as_noted = noted is None or noted.strip().lower() == found.found
    unchanged = found.holds and as_noted
    signed = None if key is None else found.is_signed_by(key)
    good = unchanged and signed is not False
    if json:
        print_json(
            {
                "file": str(path),
                "days": found.scope,
                "documents": found.documents,
                "sha256": found.found,
                "stated": found.stated.sha256,
                "unchanged": unchanged,
                "signed": found.is_signed,
                "signed_by_key": signed,
            }
        )
        return 0 if good else ATTENTION
    if not unchanged:
        print_error(_("the file was changed"))
        typer.echo(_("checksum of its rows: {sha256}", sha256=found.found))
        typer.echo(_("expected checksum: {sha256}", sha256=noted or found.stated.sha256))
        return ATTENTION
    typer.echo(_n("unchanged: {count} document", "unchanged: {count} documents", found.documents))
    typer.echo(_("daily close of {day}", day=printable(found.scope)))
    typer.echo(f"SHA-256 {found.found}")
    if signed is False:
        print_error(_("the file is not signed with this key"))
    elif signed:
        typer.echo(_("signed with this key"))
    elif found.is_signed:
        typer.echo(_("the file is signed; use --public-key to check who signed it"))
    elif noted is None:
        typer.echo(
            _(
                "the file is not signed; use --sha256 to compare it with a checksum recorded "
                "elsewhere"
            )
        )
    return 0 if good else ATTENTION


async def _public_key(json: bool) -> int:
    key = Signer((await read_settings()).close.signing_key).public_key
    if key is None:
        raise ConfigurationError(_("DQG_CLOSE__SIGNING_KEY is not set: files are not signed"))
    if json:
        print_json({"public_key": key})
    else:
        typer.echo(key)
    return 0


@contextmanager
def _progress(*, shown: bool) -> Iterator[OnProgress]:
    """Progress bars on standard error, so that the output can be redirected."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bars = Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown)
    known: dict[str, Any] = {}
    with bars:

        def advance(step: str, done: int, total: int) -> None:
            if step not in known:
                known[step] = bars.add_task(_(_STEPS[step]), total=total)
            bars.update(known[step], completed=done)

        yield advance


def _print(result: DailyClose, seals: Mapping[Path, Seal]) -> None:
    out = console()
    out.print(
        table(
            _("Daily close of {day}", day=str(result.scope)),
            [
                *(code(_("pipeline")), code(_("shop")), number(_("documents"), 1)),
                *(number(_("sent"), 6), number(_("accepted")), number(_("failed"))),
                *(number(_("open"), 2), number(_("in the logs"), 5), number(_("at the API"), 4)),
                *(number(_("differences")), number(_("amount accepted"), 3)),
            ],
            [
                (
                    *(s.pipeline, s.shop, s.documents, _known(s.sent), s.accepted),
                    *(s.failed, s.open, _known(s.logged), f"{s.present}/{s.checked}"),
                    *(s.differences, f"{s.accepted_amount:,.2f}"),
                )
                for s in result.shops
            ],
        )
    )
    if differences := result.differences:
        shown = differences[:_DIFFERENCES_SHOWN]
        count = len(differences)
        title = (
            _n("{count} difference", "{count} differences", count)
            if count == len(shown)
            else _(
                "{shown} of {count} differences; the file has all", shown=len(shown), count=count
            )
        )
        out.print(
            table(
                title,
                [code(_("pipeline")), code(_("shop")), code(_("document")), text(_("difference"))],
                [_difference_row(difference) for difference in shown],
            )
        )
    for note in result.notes:
        out.print(Text(note.translated(current_language())))
    for line in _what_to_do(result):
        out.print(Text(line))
    verdict = (
        _("closed: everything is accepted, and all stores agree")
        if result.is_closed
        else _("not closed")
    )
    out.print(Text(verdict))
    for path, seal in seals.items():
        out.print(Text(str(path)), Text(f"SHA-256 {seal.sha256}"), sep="\n")
    if not any(seal.signature for seal in seals.values()):
        out.print(Text(_("not signed: DQG_CLOSE__SIGNING_KEY is not set")))


def _what_to_do(result: DailyClose) -> Iterator[str]:
    """Which command and page show why documents are not accepted."""
    shop = "" if result.scope.shop is None else f" --shop {result.scope.shop}"
    if failed := result.count(State.FAILED):
        yield _n(
            "{count} failed: dqg failures group{shop} or the console at /causes shows why",
            "{count} failed: dqg failures group{shop} or the console at /causes shows why",
            failed,
            shop=shop,
        )
    if result.open:
        yield _n(
            "{count} open: dqg status or the console at / shows what it waits for",
            "{count} open: dqg status or the console at / shows what they wait for",
            result.open,
        )


def _difference_row(difference: Difference) -> tuple[object, ...]:
    ref = difference.ref
    text = difference.translated(current_language())
    return ref.pipeline, ref.shop_pharmacy_code, ref.local_id, text


def _known(number: int | None) -> object:
    return "?" if number is None else number


def _as_json(
    result: DailyClose, seals: Mapping[Path, Seal], artifact_error: SyncError | None
) -> dict[str, Any]:
    first, *_others = seals.items()
    return {
        "date": result.scope.first.isoformat(),
        "to": result.scope.last.isoformat(),
        "shop": result.scope.shop,
        "closed": result.is_closed,
        "documents": len(result.documents),
        "states": {state.value: result.count(state) for state in State},
        "shops": [asdict(shop) for shop in result.shops],
        "differences": [
            {
                "pipeline": difference.ref.pipeline,
                "shop": difference.ref.shop_pharmacy_code,
                "local_id": difference.ref.local_id,
                "kind": difference.kind.value,
                "detail": difference.detail,
            }
            for difference in result.differences
        ],
        "notes": [note.translated(Language.ENGLISH) for note in result.notes],
        "file": str(first[0]),
        "sha256": first[1].sha256,
        "files": [
            {"file": str(path), "sha256": seal.sha256, "signed": bool(seal.signature)}
            for path, seal in seals.items()
        ],
        "artifact_error": None if artifact_error is None else str(artifact_error),
    }
