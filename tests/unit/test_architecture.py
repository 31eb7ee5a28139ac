"""The shape of the project, held by tests: who may import whom, and how long a module may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("flows", "tasks", "lib", "deployments", "tests")

#: What each layer may import of the project. Nothing imports `deployments` but itself and tests.
ALLOWED = {
    "lib": {"lib"},
    "tasks": {"tasks", "lib"},
    "flows": {"flows", "tasks", "lib"},
    "deployments": {"deployments", "flows", "tasks", "lib"},
}
LONGEST_MODULE = 400
#: Modules directly in `lib/`; the others lie in a package.
MOST_FLAT = 12
LONGEST_TEST_MODULE = 500


def modules(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def name_of(path: Path) -> str:
    """The module's name as others import it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_at_import(path: Path) -> set[str]:
    """What a module imports when it is imported itself, modules and names alike."""

    def found(nodes: Iterable[ast.AST]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or ""
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                yield from found(node.orelse)
            elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from found(ast.iter_child_nodes(node))

    return set(found(ast.parse(path.read_text(encoding="utf-8")).body))


@pytest.mark.parametrize("layer", ALLOWED)
def test_dependencies_point_one_way(layer: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(layer)
        for name in imported(path)
        if name.split(".")[0] in LAYERS and name.split(".")[0] not in ALLOWED[layer]
    ]
    assert modules(layer)
    assert wrong == []


def test_lib_knows_nothing_of_prefect() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in modules("lib")
        if any(name.split(".")[0].startswith("prefect") for name in imported(path))
    ]
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    paths = {name_of(path): path for layer in ALLOWED for path in modules(layer)}
    graph = {
        name: {other for other in imported_at_import(path) if other in paths}
        for name, path in paths.items()
    }
    # Raises CycleError, which names the modules of a circle.
    assert set(TopologicalSorter(graph).static_order()) == paths.keys()


def test_modules_lie_in_packages_by_purpose() -> None:
    flat = {layer: {path.name for path in (ROOT / layer).glob("*.py")} for layer in ALLOWED}
    assert len(flat["lib"] - {"__init__.py"}) <= MOST_FLAT
    assert flat["deployments"] == {"__init__.py"}


def test_flow_modules_define_no_types() -> None:
    wrong = [
        f"{path.name}: {node.name}"
        for path in modules("flows")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    assert wrong == []


def test_the_environment_is_read_in_one_place() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for layer in ("lib", "tasks", "flows")
        for path in modules(layer)
        if path != ROOT / "lib" / "settings" / "__init__.py"
        and ("os.environ" in (text := path.read_text(encoding="utf-8")) or "getenv" in text)
    ]
    assert wrong == []


@pytest.mark.parametrize("layer", ALLOWED)
def test_modules_stay_readable_in_one_sitting(layer: str) -> None:
    assert longer_than(LONGEST_MODULE, layer) == {}


def test_test_modules_stay_readable_too() -> None:
    assert longer_than(LONGEST_TEST_MODULE, "tests") == {}


def longer_than(limit: int, layer: str) -> dict[str, int]:
    return {
        str(path.relative_to(ROOT)): lines
        for path in modules(layer)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > limit
    }


def test_nothing_that_git_ignores_is_tracked() -> None:
    """A tracked `.venv` would replace the environments of all checkouts."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout of git")
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    assert listed.stdout.splitlines() == []


def test_a_flow_run_process_imports_no_server() -> None:
    """Every run starts a process; what it imports is waited for before the first document."""
    paths = ", ".join(name_of(path) for path in modules("flows"))
    unwanted = "prefect.server prefect.cli fastapi uvicorn alembic apprise deployments"
    code = (
        f"import sys, prefect.engine, {paths}\n"
        f"sys.exit(' '.join(sys.modules.keys() & set('{unwanted}'.split())) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)  # noqa: S603 - this test's
