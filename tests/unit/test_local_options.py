"""What `make run` is asked to do, and what it refuses before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.local import preflight
from deployments.local.errors import LauncherError
from deployments.local.options import read_options
from deployments.local.state import LOCK_NAME, empty_state
from deployments.local.supervisor.stack import ROOT


def test_without_variables_everything_is_the_demos_own_choice() -> None:
    options = read_options({"STATE": "", "DOCS": "", "EXIT": ""})
    assert options.state_dir == ROOT / ".state"
    assert (options.documents, options.seed, options.exit_when_done) == (None, None, False)


def test_variables_are_read(tmp_path: Path) -> None:
    options = read_options(
        {"STATE": str(tmp_path), "DOCS": "40", "SEED": "7", "EXIT": "1", "DEADLINE": "60.5"}
    )
    assert options.state_dir == tmp_path
    assert (options.documents, options.seed, options.exit_when_done) == (40, 7, True)
    assert options.deadline_for(1_000_000) == 60.5


def test_the_deadline_grows_with_the_documents() -> None:
    options = read_options({})
    assert options.deadline_for(0) == 900
    assert options.deadline_for(10_000) > options.deadline_for(100) > 900


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOCS", "many"),
        ("DOCS", "0"),
        ("DOCS", "-3"),
        ("DOCS", "1.5"),
        ("SEED", "-1"),
        ("EXIT", "yes"),
        ("DEADLINE", "0"),
        ("DEADLINE", "nan"),
        ("DEADLINE", "inf"),
    ],
)
def test_a_meaningless_variable_is_named_with_its_value(name: str, value: str) -> None:
    with pytest.raises(LauncherError, match=f"^{name}={value}: must be [^\n]*$"):
        read_options({name: value})


def test_an_old_python_and_another_platform_are_refused() -> None:
    with pytest.raises(LauncherError, match=r"3\.11 or newer is needed, this is 3\.10"):
        preflight.check_python((3, 10))
    with pytest.raises(LauncherError, match="not on 'win32'"):
        preflight.check_platform("win32")


def test_too_little_space_is_refused_also_for_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="MiB of free space"):
        preflight.check_space(tmp_path / "not" / "there", needed=1 << 60)


def test_this_machine_passes_the_checks(tmp_path: Path) -> None:
    preflight.check_machine(tmp_path / "state")


def test_a_state_folder_is_made_and_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "state"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    with empty_state(folder):
        (folder / "logs").mkdir()
        (folder / "logs" / "old.log").touch()
        (folder / "file").touch()
        (folder / "link").symlink_to(outside)
    with empty_state(folder):
        assert [path.name for path in folder.iterdir()] == [LOCK_NAME]
    assert (outside / "kept").exists()


def test_a_second_stack_in_the_same_folder_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    with empty_state(tmp_path):
        (tmp_path / "data").touch()
        with (
            pytest.raises(LauncherError, match=r"^another `make run` uses [^\n]*$"),
            empty_state(tmp_path),
        ):
            pass
        assert (tmp_path / "data").exists()
    with empty_state(tmp_path):
        assert not (tmp_path / "data").exists()


def test_a_folder_with_other_peoples_files_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(LauncherError, match="was not made by `make run`"), empty_state(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(LauncherError, match="cannot be the state folder"),
        empty_state(tmp_path / "file" / "state"),
    ):
        pass
