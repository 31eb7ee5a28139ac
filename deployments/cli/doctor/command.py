"""The command `dqg doctor`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import asdict

from deployments.cli.context import ATTENTION, AsJson, print_json, run
from deployments.cli.doctor.checks import CHECKS
from deployments.cli.doctor.findings import DoctorContext, Finding, Verdict, examine
from deployments.cli.language import ENGLISH, N_, _, _n, use_language
from deployments.cli.output import Tone, code, console, table, text, toned
from deployments.cli.progress import progress

_VERDICTS = {
    Verdict.OK: N_("ok"),
    Verdict.NOTE: N_("note"),
    Verdict.FAULT: N_("fault"),
    Verdict.NOT_CHECKED: N_("not checked"),
}
_TONES = {
    Verdict.OK: Tone.GOOD,
    Verdict.NOTE: Tone.WAITING,
    Verdict.FAULT: Tone.BAD,
    Verdict.NOT_CHECKED: Tone.DIM,
}


def doctor(json: AsJson = False) -> None:
    """Check every part of the installation, and show how to fix each problem.

    Changes nothing. The exit status is 0 only if all is well. Each account logs in at most once; a
    refused account is paused, as in a run.
    """
    run(_doctor(json), as_json=json)


async def _doctor(json: bool) -> int:
    if json:
        use_language(ENGLISH)
    async with AsyncExitStack() as closing:
        with progress(_("checking"), len(CHECKS), shown=not json) as advance:
            findings = await examine(DoctorContext(closing), CHECKS, advance)
    well = all(finding.passed for finding in findings)
    if json:
        print_json({"ok": well, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings, well)
    return 0 if well else ATTENTION


def _print(findings: list[Finding], well: bool) -> None:
    rows = [
        (f.check, toned(_(_VERDICTS[f.verdict]), _TONES[f.verdict]), f.what, f.todo)
        for f in findings
    ]
    headings = [
        code(_("check")),
        text(_("verdict")),
        text(_("what was found")),
        text(_("what to do")),
    ]
    out = console()
    out.print(table(_("Checks"), headings, rows))
    faults = sum(finding.verdict is Verdict.FAULT for finding in findings)
    out.print(_("all is well") if well else _n("{count} fault", "{count} faults", faults))
