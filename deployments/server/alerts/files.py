"""Reads the automations from the YAML files in this folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from prefect.events import EventTrigger, ResourceSpecification

from lib.alerts.conditions import EVERYBODY

FOLDER = Path(__file__).parent
#: Label of our events: the route whose receivers get them.
ROUTE_LABEL = "dqg.route"


@dataclass(frozen=True, slots=True)
class Alert:
    """One automation, without the receivers of its message.

    Attributes:
        subject, body: Jinja templates, rendered by the Prefect server with the event.
    """

    name: str
    description: str
    trigger: EventTrigger
    subject: str
    body: str


def read_alerts(folder: Path = FOLDER) -> list[Alert]:
    """The automations of every file, in the order of file names.

    Raises:
        KeyError, TypeError, ValueError: a file is not valid.
    """
    return [
        _alert(**fields)
        for path in sorted(folder.glob("*.yaml"))
        for fields in yaml.safe_load(path.read_text(encoding="utf-8"))["automations"]
    ]


def for_routes(alerts: Sequence[Alert], routes: Sequence[str]) -> list[tuple[Alert, str]]:
    """Each alert with the route whose receivers get it.

    An alert on our events is created once per route, for the events of that route. Other alerts
    go to the default route, `EVERYBODY`.
    """
    found = []
    for alert in alerts:
        match = alert.trigger.model_dump()["match"]
        if ROUTE_LABEL not in match:
            found.append((alert, EVERYBODY))
            continue
        for route in routes:
            of_route = ResourceSpecification.model_validate({**match, ROUTE_LABEL: route})
            trigger = alert.trigger.model_copy(update={"match": of_route})
            name = alert.name if route == EVERYBODY else f"{alert.name}, {route}"
            found.append((replace(alert, name=name, trigger=trigger), route))
    return found


def _alert(name: str, description: str, trigger: dict[str, Any], message: dict[str, str]) -> Alert:
    unknown = trigger.keys() - EventTrigger.model_fields.keys()
    if unknown:
        raise ValueError(f"{name}: unknown in a trigger: {', '.join(sorted(unknown))}")
    return Alert(name, description, EventTrigger.model_validate(trigger), **message)
