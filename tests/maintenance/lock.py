"""`make lock`: recompile the lock files from pyproject.toml, with uv in a throw-away place."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = [
    "--quiet",
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="dqg-lock-") as folder:
        venv.create(folder, with_pip=True)
        run(f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "uv")
        compile_ = [f"{folder}/bin/uv", "pip", "compile", *OPTIONS, "pyproject.toml"]
        run(*compile_, "--output-file=requirements.txt")
        run(
            *compile_,
            *("--extra=local", "--extra=dev"),
            "--constraint=requirements.txt",
            "--output-file=requirements-dev.txt",
        )


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, check=False)  # noqa: S603
    if done.returncode != 0:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
