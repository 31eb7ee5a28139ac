"""`make pictures`: takes the pictures of docs/images anew, from a local stack of its own."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from deployments.local.errors import LauncherError
from deployments.local.parts.console import start_console
from deployments.local.supervisor.service import ServiceFailed
from deployments.local.supervisor.stack import Stack
from deployments.local.system import start_system
from tests.support.browser import PROGRAMS, find_browser, open_page
from tests.support.pictures import FOLDER, take_console_pictures, take_pictures
from tests.support.running import drain
from tests.support.ui import Ui


def main() -> int:
    """Take all of them; returns the exit status."""
    program = find_browser()
    if program is None:
        print(f"error: none of {', '.join(PROGRAMS)} is on PATH", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="dqg-pictures-") as folder:
        state = Path(folder)
        try:
            with Stack(state / "state") as stack, start_system(stack, report=print) as system:
                drain(system)
                print("the demo documents are done")
                with open_page(program, state) as page:
                    take_pictures(Ui(page, system.prefect.ui_url), system, FOLDER)
                    console = start_console(stack, system.prefect, system.environment)
                    take_console_pictures(page, console, FOLDER)
        except (ServiceFailed, LauncherError, AssertionError) as problem:
            print(f"error: {problem}", file=sys.stderr)
            return 1
    print(f"the pictures are in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
