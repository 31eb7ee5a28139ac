"""`dqg close`: is everything of a day accepted, do all stores say so, and a file that proves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from deployments.cli.context import ATTENTION, AsJson, complain, console, print_json, run, table
from deployments.cli.language import N_, _, _n
from deployments.cli.prefect_state import prefect_errors
from lib.daily_close.collect import DEFAULT_SAMPLE, OnProgress, read_day, yesterday
from lib.daily_close.compare import DayClose, Difference, Kind, State
from lib.daily_close.csv_file import checksum, rows_of, verify_file, write_file
from lib.errors import SyncError
from tasks.artifacts import show_daily_close
from tasks.runtime import open_services

_DIFFERENCES_SHOWN = 50

_MEANINGS = {
    Kind.NO_NATIONAL_ID: N_("accepted, but without a national id"),
    Kind.SAME_NATIONAL_ID: N_("another document of the day has the same national id"),
    Kind.SAME_CODE: N_("the pharmacy has another document of the day with the same code"),
    Kind.NOT_LOGGED: N_("accepted in the source database, and nothing about it in the logs"),
    Kind.LOGGED_OTHERWISE: N_("accepted in the source database, but not in the logs"),
    Kind.LOGGED_ACCEPTED: N_("accepted in the logs, but not in the source database"),
    Kind.LOGGED_ID_DIFFERS: N_("the logs have another national id"),
    Kind.API_ABSENT: N_("accepted here, but the API does not have it"),
    Kind.API_ID_DIFFERS: N_("the API has another national id"),
    Kind.API_HAS_IT: N_("not accepted here, but the API has it"),
    Kind.UNKNOWN_STATUS: N_("its status is none that this system knows"),
    Kind.CHANGED_AFTER_ACCEPTANCE: N_("its content has changed since the API accepted it"),
}
_STEPS = {"source": N_("source database"), "logs": N_("logs"), "API": N_("national API")}

app = typer.Typer(invoke_without_command=True)


def parse_day(text: str) -> date:
    """`2026-11-02`."""
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").date()  # noqa: DTZ007 - only a date
    except ValueError:
        raise typer.BadParameter(
            _("{value!r} is no date; write it like 2026-11-02", value=text)
        ) from None


Day = Annotated[
    date | None,
    typer.Option(
        "--date",
        parser=parse_day,
        metavar="DATE",
        help="the documents' own date, e.g. 2026-11-02; by default yesterday in Vietnam",
    ),
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
    typer.Option("--out", help="the file; by default daily-close-DATE.csv in the current folder"),
]


@app.callback()
def close(
    context: typer.Context,
    day: Day = None,
    sample: Sample = DEFAULT_SAMPLE,
    out: Out = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="replace a file that is there")
    ] = False,
    json: AsJson = False,
) -> None:
    """Close a day: compare every document of it across all stores, and write the proof.

    The exit status is 0 only where everything is accepted and all stores agree.
    """
    if context.invoked_subcommand is not None:
        return
    day = day or yesterday()
    path = (out or Path(f"daily-close-{day}.csv")).absolute()
    if path.exists() and not overwrite:
        raise typer.BadParameter(_("{path} is there already; --overwrite replaces it", path=path))
    run(_close(day, sample, path, json), as_json=json)


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(help="written by `dqg close`")],
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", help="the checksum as it was noted elsewhere, e.g. in Prefect"),
    ] = None,
    json: AsJson = False,
) -> None:
    """Is a file still what `dqg close` wrote? If not, the exit status is 1."""
    run(_verify(file.absolute(), sha256, json), as_json=json)


async def _close(day: date, sample: int, path: Path, json: bool) -> int:
    artifact_error: SyncError | None = None
    async with open_services() as services:
        with _progress(shown=not json) as progress:
            result = await read_day(services, day, sample, progress)
    rows = rows_of(result)
    write_file(path, rows)
    try:
        async with prefect_errors():
            await show_daily_close(result)
    except SyncError as error:
        artifact_error = error
    sha256 = checksum(rows)
    if json:
        print_json(_as_json(result, path, sha256, artifact_error))
    else:
        _print(result, path, sha256)
        if artifact_error is not None:
            complain(_("no artifact was made: {error}", error=artifact_error))
    return 0 if result.is_closed and artifact_error is None else ATTENTION


async def _verify(path: Path, noted: str | None, json: bool) -> int:
    found = verify_file(path)
    as_noted = noted is None or noted.strip().lower() == found.found
    good = found.holds and as_noted
    if json:
        print_json(
            {
                "file": str(path),
                "documents": found.documents,
                "sha256": found.found,
                "stated": found.stated,
                "unchanged": good,
            }
        )
    elif good:
        typer.echo(
            _n("unchanged: {count} document", "unchanged: {count} documents", found.documents)
        )
        typer.echo(f"SHA-256 {found.found}")
        if noted is None:
            typer.echo(_("--sha256 compares it with the checksum that was noted elsewhere"))
    else:
        complain(_("the file was changed"))
        typer.echo(_("its rows give {sha256}", sha256=found.found))
        typer.echo(_("it should be {sha256}", sha256=noted or found.stated))
    return 0 if good else ATTENTION


@contextmanager
def _progress(*, shown: bool) -> Iterator[OnProgress]:
    """Bars on standard error, so that the output can be redirected."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bars = Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown)
    known: dict[str, Any] = {}
    with bars:

        def advance(step: str, done: int, total: int) -> None:
            if step not in known:
                known[step] = bars.add_task(_(_STEPS[step]), total=total)
            bars.update(known[step], completed=done)

        yield advance


def _print(result: DayClose, path: Path, sha256: str) -> None:
    out = console()
    out.print(
        table(
            _("Daily close of {day}", day=result.day),
            [
                *(_("pipeline"), _("shop"), _("documents"), _("sent"), _("accepted")),
                *(_("failed"), _("open"), _("in the logs"), _("at the API")),
                *(_("differences"), _("amount accepted")),
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
                [_("pipeline"), _("shop"), _("document"), _("difference"), ""],
                [_difference_row(difference) for difference in shown],
            )
        )
    for note in result.notes:
        out.print(Text(note))
    verdict = (
        _("closed: everything is accepted, and all stores agree")
        if result.is_closed
        else _("not closed")
    )
    out.print(Text(verdict), Text(str(path)), Text(f"SHA-256 {sha256}"), sep="\n")


def _difference_row(difference: Difference) -> tuple[object, ...]:
    ref = difference.ref
    meaning = _(_MEANINGS[difference.kind])
    return ref.pipeline, ref.shop_pharmacy_code, ref.local_id, meaning, difference.detail


def _known(number: int | None) -> object:
    return "?" if number is None else number


def _as_json(
    result: DayClose, path: Path, sha256: str, artifact_error: SyncError | None
) -> dict[str, Any]:
    return {
        "date": result.day.isoformat(),
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
        "notes": list(result.notes),
        "file": str(path),
        "sha256": sha256,
        "artifact_error": None if artifact_error is None else str(artifact_error),
    }
