"""Reads the automations that lie beside this module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prefect.events import EventTrigger

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Alert:
    """One automation, without the ways its message goes.

    Attributes:
        subject, body: Jinja templates, rendered by the Prefect server with the event.
    """

    name: str
    description: str
    trigger: EventTrigger
    subject: str
    body: str


def read_alerts(folder: Path = FOLDER) -> list[Alert]:
    """The automations of every file, by file name.

    Raises:
        KeyError, TypeError, ValueError: a file is not as it must be.
    """
    return [
        _alert(**fields)
        for path in sorted(folder.glob("*.yaml"))
        for fields in yaml.safe_load(path.read_text(encoding="utf-8"))["automations"]
    ]


def _alert(name: str, description: str, trigger: dict[str, Any], message: dict[str, str]) -> Alert:
    unknown = trigger.keys() - EventTrigger.model_fields.keys()
    if unknown:
        raise ValueError(f"{name}: unknown in a trigger: {', '.join(sorted(unknown))}")
    return Alert(name, description, EventTrigger.model_validate(trigger), **message)
