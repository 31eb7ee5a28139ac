"""Writes `docs/settings.md` and `.env.example` from the settings model, so that neither can lie.

python -m tests.maintenance.settings_docs --write     after a change of `lib/settings/`
python -m tests.maintenance.settings_docs --check     status 1 where a file is not up to date
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.settings import Settings, environment_name

ROOT = Path(__file__).resolve().parents[2]
TABLE_FILE = "docs/settings.md"
EXAMPLE_FILE = ".env.example"
_WIDTH = 98

#: What nobody can guess, and the example file therefore sets.
EXAMPLES = {
    "DQG_SOURCE__URL": "mssql+pyodbc://dqg:CHANGE-ME@sqlserver.example:1433/Pharmacy",
    "DQG_MONGO__URL": "mongodb://127.0.0.1:27017/",
    "DQG_REDIS__URL": "redis://127.0.0.1:6379/0",
}

_TABLE_TOP = """\
# Settings

<!-- Written by `make docs` from lib/settings/; do not edit. -->

Every setting is an environment variable, or a line of a file `.env` in the folder the service runs
in; the environment wins. Two underscores separate a section from a name. Lists and tables are
written as JSON. A misspelt name, a missing or an impossible value stops a run before it does
anything, with a message that names the setting and never shows a value.

`.env` holds `DQG_` settings only: Prefect's own (`PREFECT_…`) belong in the environment or a
Prefect profile. [`.env.example`](../.env.example) is a file to start from.

Required are `DQG_MONGO__URL`, `DQG_REDIS__URL`, and one of `DQG_SOURCE__URL` and
`DQG_SOURCE__BLOCK`; everything else has a default.
"""

_EXAMPLE_TOP = """\
# Settings of the service, to be copied to `.env`. Written by `make docs` from lib/settings/.
# What is commented out shows the default, or is off. Prefect's own settings do not belong here.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as both files show it.

    Attributes:
        default: as the environment would say it, None where there is none.
    """

    variable: str
    kind: str
    default: str | None
    required: bool
    description: str


def sections() -> Iterator[tuple[str, str, list[Setting]]]:
    """Name, purpose and settings of each section, in the model's order."""
    schema = Settings.model_json_schema()
    definitions = schema["$defs"]
    for name, reference in schema["properties"].items():
        section = definitions[reference["$ref"].rsplit("/", 1)[1]]
        required = section.get("required", [])
        settings = [
            _setting((name, field), properties, definitions, field in required)
            for field, properties in section["properties"].items()
        ]
        yield name, section["description"], settings


def _setting(
    location: tuple[str, str],
    properties: Mapping[str, Any],
    definitions: Mapping[str, Any],
    required: bool,
) -> Setting:
    return Setting(
        variable=environment_name(location),
        kind=_kind(properties, definitions),
        default=_text(properties.get("default")),
        required=required,
        description=properties["description"],
    )


def _kind(properties: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    schema = dict(properties)
    if "anyOf" in schema:
        (schema,) = (option for option in schema["anyOf"] if option.get("type") != "null")
    if "$ref" in schema:
        schema |= definitions[schema["$ref"].rsplit("/", 1)[1]]
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("format") == "password":
        return "secret"
    if schema.get("format") == "date":
        return "date, `2026-11-30`"
    names = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "`true` or `false`",
        "array": "JSON list",
        "object": "JSON object",
    }
    return names[schema["type"]] + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    parts = []
    if "exclusiveMinimum" in schema:
        parts.append(f"above {_text(schema['exclusiveMinimum'])}")
    if low is not None and high is not None:
        parts.append(f"{_text(low)} to {_text(high)}")
    elif low is not None:
        parts.append(f"from {_text(low)}")
    elif high is not None:
        parts.append(f"up to {_text(high)}")
    return f", {', '.join(parts)}" if parts else ""


def _text(value: Any) -> str | None:
    """A value as the environment says it."""
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case list() | dict():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def settings_table() -> str:
    """Text of `docs/settings.md`."""
    lines = [_TABLE_TOP]
    for name, purpose, settings in sections():
        lines += [f"## {name}", "", purpose, "", "| variable | value | default | meaning |"]
        lines.append("| --- | --- | --- | --- |")
        lines += [_row(setting) for setting in settings]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _row(setting: Setting) -> str:
    if setting.required:
        default = "**needed**"
    else:
        default = "" if setting.default is None else f"`{setting.default}`"
        default = "empty" if default == "``" else default
    cells = (f"`{setting.variable}`", setting.kind, default, setting.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def example_file() -> str:
    """Text of `.env.example`."""
    lines = [_EXAMPLE_TOP]
    for name, purpose, settings in sections():
        lines += [f"# ---- {name}: {purpose}", ""]
        for setting in settings:
            lines += _comment(f"{setting.description} ({setting.kind})")
            lines += [_assignment(setting), ""]
    return "\n".join(lines).rstrip() + "\n"


def _comment(text: str) -> list[str]:
    lines, line = [], "#"
    for word in text.split():
        if len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = "#"
        line += f" {word}"
    return [*lines, line]


def _assignment(setting: Setting) -> str:
    if setting.variable in EXAMPLES:
        return f"{setting.variable}={EXAMPLES[setting.variable]}"
    value = setting.default or ""
    # In apostrophes a value with quotes or blanks stays one value.
    return f"#{setting.variable}=" + (f"'{value}'" if set(value) & set('"[{ #') else value)


FILES = {TABLE_FILE: settings_table, EXAMPLE_FILE: example_file}


def out_of_date(root: Path = ROOT) -> list[str]:
    """Files that do not say what the model says."""
    return [
        name
        for name, make in FILES.items()
        if not (root / name).is_file() or (root / name).read_text(encoding="utf-8") != make()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.maintenance.settings_docs")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="bring both files up to date")
    what.add_argument("--check", action="store_true", help="say which are not")
    if parser.parse_args(arguments).write:
        for name in out_of_date():
            (ROOT / name).write_text(FILES[name](), encoding="utf-8")
            print(f"{name} written")
        return 0
    stale = out_of_date()
    for name in stale:
        print(f"{name} is not up to date: `make docs` writes it", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
