"""The `alembic` command: its settings come from where the service's come from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deployments.local.supervisor.stack import ROOT

ADDRESS = "postgresql+psycopg://dqg:s3cret@127.0.0.1:9/Pharmacy"


def _alembic(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini"), *arguments],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if not name.startswith("DQG_")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_file_that_the_guide_tells_to_write_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        f"DQG_SOURCE__URL={ADDRESS}\nDQG_SOURCE__DB_SCHEMA=chain\nDQG_MONGO__URL=mongodb://db\n",
        encoding="utf-8",
    )
    done = _alembic(tmp_path, "upgrade", "sync@head", "--sql")
    assert done.returncode == 0, done.stderr
    assert "chain.dqg_alembic_version" in done.stdout


def test_a_missing_address_is_a_line_that_names_it(tmp_path: Path) -> None:
    done = _alembic(tmp_path, "upgrade", "sync@head", "--sql")
    assert done.returncode != 0
    assert "DQG_SOURCE__URL" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_away_is_a_line_without_its_password(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"DQG_SOURCE__URL={ADDRESS}\n", encoding="utf-8")
    done = _alembic(tmp_path, "upgrade", "sync@head")
    assert done.returncode != 0
    assert "source database: " in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
