"""`python -m deployments.local.sandbox`: serve the sandbox on this machine until a signal."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from deployments.local.sandbox.accounts import DEMO_ACCOUNTS, load_accounts
from deployments.local.sandbox.app import create_app
from deployments.local.sandbox.options import Options
from deployments.local.sandbox.server import HOST, bind, make_server, port_of


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM; exits with status 2 if an argument is invalid."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        options = Options.model_validate(
            {
                name: value
                for name in Options.model_fields
                if (value := getattr(given, name)) is not None
            }
        )
        accounts = load_accounts(given.accounts) if given.accounts else DEMO_ACCOUNTS
        listener = bind(given.port)
    except (ValidationError, ValueError, OSError) as error:
        parser.error(str(error))
    with listener:
        port = port_of(listener)
        if given.port_file:
            _write_whole(given.port_file, f"{port}\n")
        print(f"sandbox of the national API: http://{HOST}:{port}/api", flush=True)
        make_server(create_app(options, accounts), log_level=given.log_level).run([listener])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.local.sandbox",
        description="A stand-in for the national API, on this machine only.",
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free port")
    parser.add_argument("--port-file", type=Path, help="file to write the port to")
    parser.add_argument(
        "--accounts", type=Path, help='JSON file: [{"usr": ..., "pwd": ..., "ma_co_so": ...}]'
    )
    parser.add_argument(
        "--log-level", default="warning", choices=["debug", "info", "warning", "error"]
    )
    group = parser.add_argument_group("behaviour, may be changed while it runs")
    for name, field in Options.model_fields.items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="VALUE",
            help=f"{field.description} (default: {field.default})".replace("%", "%%"),
        )
    return parser


def _write_whole(path: Path, text: str) -> None:
    """Write a file atomically, so that no process reads a partial file."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="ascii")
    draft.replace(path)


if __name__ == "__main__":
    main()
