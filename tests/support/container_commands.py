"""Checks `docker`, `helm` and `kubectl` commands against the files they name; runs no command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.compose import ROOT, ours, services

#: By subcommand of `docker compose`: its options that we use, without a value and with one.
_COMPOSE_OPTIONS: dict[str, tuple[set[str], set[str]]] = {
    "build": ({"--pull"}, set()),
    "pull": ({"--ignore-buildable"}, set()),
    "up": ({"--detach", "--build", "--no-deps"}, {"--scale"}),
    "stop": (set(), set()),
    "restart": (set(), set()),
    "down": (set(), set()),
    "ps": ({"--all"}, set()),
    "logs": ({"--follow", "--timestamps", "--no-log-prefix"}, set()),
    "run": ({"--rm", "--build"}, set()),
}
CHARTS = {"prefect/prefect-server": "server.yaml", "prefect/prefect-worker": "worker-"}


def check_docker(words: list[str], check_command: Callable[[list[str]], None]) -> None:
    """The subcommand takes these options, and the compose file has these services.

    The command for a container is passed to `check_command`.
    """
    if words[0] == "build":
        assert (ROOT / words[words.index("--file") + 1]).is_file(), words
        return
    assert words[0] == "compose", words
    rest = words[1:]
    while rest[0].startswith("-"):
        option, value, *rest = rest
        assert option == "--profile", words
        assert value in {p for s in services().values() for p in s.get("profiles", [])}, words
    subcommand, *rest = rest
    flags, with_service = _COMPOSE_OPTIONS[subcommand]
    named: list[str] = []
    while rest:
        word, *rest = rest
        if word in with_service:
            named.append(rest.pop(0).split("=")[0])
        elif word.startswith("-"):
            assert word in flags, words
        else:
            named.append(word)
            if subcommand == "run" and rest:
                assert word in ours(), words
                check_command(rest)
                break
    assert set(named) <= set(services()), words


def check_helm(words: list[str]) -> None:
    """The charts are Prefect's, and the values files exist."""
    assert words[:2] == ["upgrade", "--install"], words
    values = Path(words[words.index("--values") + 1])
    assert (ROOT / values).is_file(), words
    assert values.name.startswith(CHARTS[words[3]]), words
    assert words[words.index("--namespace") + 1] == "dqg-sync", words


def check_kubectl(words: list[str]) -> None:
    """The files exist."""
    assert words[0] in ("apply", "replace"), words
    assert (ROOT / words[words.index("--filename") + 1]).is_file(), words
