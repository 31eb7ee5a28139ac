"""Variables to use a running local stack in a second terminal: `. .state/environment.sh`.

The file contains passwords, so it is in the stack's private folder, which is removed when the stack
ends for any reason. `dqg` and users find it by a link in the state folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deployments.local.errors import LauncherError
from deployments.local.supervisor.stack import Stack, write_private

FILE_NAME = "environment.sh"


@contextmanager
def offer_environment(stack: Stack, environment: Mapping[str, str]) -> Iterator[None]:
    """While the block runs, a shell that sources the file uses this stack."""
    file = stack.private_dir / FILE_NAME
    # Commands connect to the servers on this machine directly, even if a proxy is configured.
    proxies = {name: stack.environment[name] for name in ("NO_PROXY", "no_proxy")}
    lines = [f"export {n}={shlex.quote(v)}\n" for n, v in {**proxies, **environment}.items()]
    write_private(file, "".join(lines))
    link = stack.state_dir / FILE_NAME
    link.symlink_to(file)
    try:
        yield
    finally:
        link.unlink(missing_ok=True)
        file.unlink(missing_ok=True)


def read_environment(state_dir: Path) -> dict[str, str]:
    """The variables of the stack that runs in this state folder.

    Raises:
        LauncherError: no local stack runs there, or it belongs to another user.
    """
    try:
        words = shlex.split((state_dir / FILE_NAME).read_text(encoding="utf-8"))
    except OSError as error:
        raise LauncherError(
            f"no local stack of this user runs in {state_dir}; start it with `make run`"
        ) from error
    return dict(word.split("=", 1) for word in words if word != "export")


def command_prefix(state_dir: Path, default: Path) -> str:
    """Prefix that makes a command use this stack; empty for the default folder."""
    return "" if state_dir == default else f"STATE={shlex.quote(str(state_dir))} "
