"""The compose file as an engine sees it: variables filled in, anchors merged."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "deployments" / "containers" / "compose" / "compose.yaml"
SECRETS_FOLDER = "/run/secrets"

_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+):-([^{}]*)\}")


@functools.cache
def compose_file() -> dict[str, Any]:
    """The file with every variable at its default."""
    text = _VARIABLE.sub(lambda match: match[2], FILE.read_text(encoding="utf-8"))
    loaded: dict[str, Any] = yaml.safe_load(text)
    return {key: value for key, value in loaded.items() if not key.startswith("x-")}


def variables() -> set[str]:
    """Names that a `.env` in the same folder, or the shell, may set."""
    return {match[1] for match in _VARIABLE.finditer(FILE.read_text(encoding="utf-8"))}


def services() -> dict[str, dict[str, Any]]:
    return dict(compose_file()["services"])


def ours() -> dict[str, dict[str, Any]]:
    """The services that run from our own image."""
    return {name: service for name, service in services().items() if "build" in service}


def secret_targets(service: dict[str, Any]) -> dict[str, str]:
    """Names of the files below /run/secrets, each with the secret it holds."""
    return {
        (given["target"] if isinstance(given, dict) else given): (
            given["source"] if isinstance(given, dict) else given
        )
        for given in service.get("secrets", [])
    }
