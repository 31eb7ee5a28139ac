"""What a second terminal needs to work with a running local stack: `. .state/environment.sh`.

The file holds passwords, so it lies in the stack's private folder, which disappears with the stack
whatever ends it. The state folder has a link to it, by which `dqg` and a person find it.
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
    """For the length of the block, a shell that reads the file works with this stack."""
    file = stack.private_dir / FILE_NAME
    # Commands reach the servers on this machine directly, also where there is a proxy.
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
    """The variables that were offered.

    Raises:
        LauncherError: no local stack runs there, or it is another user's.
    """
    try:
        words = shlex.split((state_dir / FILE_NAME).read_text(encoding="utf-8"))
    except OSError as error:
        raise LauncherError(f"no local stack of yours runs in {state_dir}: `make run`") from error
    return dict(word.split("=", 1) for word in words if word != "export")


def command_prefix(state_dir: Path, default: Path) -> str:
    """The prefix of a command that is to find this stack; nothing in the default folder."""
    return "" if state_dir == default else f"STATE={shlex.quote(str(state_dir))} "
