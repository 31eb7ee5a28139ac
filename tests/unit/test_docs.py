"""The documentation tells the truth: commands, files, names and settings in it exist."""

from __future__ import annotations

import ast
import configparser
import functools
import importlib.util
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from prefect.cli._app import _app as prefect_app
from prefect.settings import Settings as PrefectSettings
from prefect.settings.legacy import _get_valid_setting_names
from prefect.utilities.importtools import import_object
from prefect.utilities.schema_tools import ValidationError, validate
from typer.exceptions import TyperException

from deployments.cli.__main__ import COMMANDS
from deployments.cli.__main__ import app as dqg_app
from deployments.cli.command_line import whole
from deployments.local.demo import documents as demo
from deployments.server.work_pools import DESCRIPTIONS
from lib.settings import Settings
from tests.maintenance import settings_docs
from tests.maintenance.settings_docs import sections
from tests.support.container_commands import check_docker, check_helm, check_kubectl

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DEPLOYMENTS: dict[str, dict[str, Any]] = {
    d["name"]: d for d in yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]
}
VARIABLES = {setting.variable for _, _, group in sections() for setting in group}

_FENCE = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PROGRAMS = ("make", "python", "prefect", "alembic", "dqg", "docker", "helm", "kubectl")
#: A folder or file of the project, as the text names it.
_PATH = re.compile(r"(?:flows|tasks|lib|deployments|tests|docs)/[\w./-]*|[\w.-]+\.(?:md|toml|yaml)")
#: Read by Prefect, although no settings: its folder, and an override in its logging configuration.
_FOREIGN_SETTINGS = {"PREFECT_HOME", "PREFECT_LOGGING_ROOT_LEVEL"}


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=page_id)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    return _FENCE.sub("", text_of(page))


def commands_in(text: str) -> Iterator[list[str]]:
    """Commands of shell blocks and of code within the text, as words."""
    lines = [
        line
        for language, block in _FENCE.findall(text)
        if language in ("sh", "bash", "console")
        for line in block.splitlines()
    ]
    for line in [*lines, *_CODE.findall(_FENCE.sub("", text))]:
        words = shlex.split(line, comments=True) if line.count("'") % 2 == 0 else []
        words = [word.removeprefix(".venv/bin/").removeprefix("./") for word in words]
        if len(words) > 1 and words[0] in _PROGRAMS:
            yield words


def check_command(words: list[str]) -> None:
    checks = {
        "make": check_make,
        "python": check_python,
        "prefect": check_prefect,
        "alembic": check_alembic,
        "dqg": check_dqg,
        "docker": functools.partial(check_docker, check_command=check_command),
        "helm": check_helm,
        "kubectl": check_kubectl,
    }
    checks[words[0]](words[1:])


def check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, is_variable, _ = word.partition("=")
        pattern = rf"^{re.escape(name)} \?=" if is_variable else rf"^{re.escape(name)}:"
        assert re.search(pattern, makefile, re.MULTILINE), f"make {word}"


def check_python(words: list[str]) -> None:
    assert words[0] == "-m", words
    assert importlib.util.find_spec(words[1]) is not None, words
    if words[1] in _COMMANDS_WITH_PARSERS:
        try:
            importlib.import_module(words[1]).parser().parse_args(words[2:])
        except SystemExit as ended:
            raise AssertionError(words) from ended


#: They have a function `parser`, which knows their options.
_COMMANDS_WITH_PARSERS = {
    "deployments.server.work_pools",
    "deployments.server.apply",
    "deployments.containers.health",
    "deployments.containers.compose.prepare",
}


def check_alembic(words: list[str]) -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "alembic.ini")
    versions = (ROOT / "deployments" / "migrations" / "versions").glob("*.py")
    branches = {label for path in versions for label in _branch_labels(path)}
    assert parser.has_section("alembic")
    assert words[0] in ("upgrade", "downgrade", "current")
    for word in words:
        if "@" in word:
            assert word.split("@")[0] in branches, words


def _branch_labels(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "branch_labels":
            yield from ast.literal_eval(node.value) or ()


def check_dqg(words: list[str]) -> None:
    """The command exists and takes these words; one that is only named needs none."""
    command: Any = whole(dqg_app, COMMANDS)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    if words and words[0] in {"--install-completion", "--version"}:
        # They act while they are parsed.
        assert any(words[0] in option.opts for option in command.params)
    elif words:
        # Options alone are for a command that also has subcommands.
        assert not hasattr(command, "commands") or words[0].startswith("-"), words
        command.make_context("dqg", list(words))


def check_prefect(words: list[str]) -> None:
    """The subcommand exists, has these options, and the names it is given are ours."""
    words = [word for word in words if word != "--no-prompt"]
    command, rest = prefect_app, words
    while rest and not rest[0].startswith("-") and rest[0] in command:
        command, rest = command[rest[0]], rest[1:]
    path = words[: len(words) - len(rest)]
    assert path, words
    arguments = command.assemble_argument_collection()
    options = {name for argument in arguments for name in argument.names}
    assert {word for word in rest if word.startswith("-")} <= options, words
    if path == ["deploy"] and "-n" in rest:
        assert rest[rest.index("-n") + 1] in DEPLOYMENTS, words
    if path == ["deployment", "run"]:
        check_deployment_run(rest)
    if path[0] in ("worker", "work-pool") and path[-1] != "ls":
        pool = rest[rest.index("--pool") + 1] if "--pool" in rest else rest[0]
        assert pool in DESCRIPTIONS, words


def check_deployment_run(words: list[str]) -> None:
    flow_name, deployment = words[0].split("/")
    flow = import_object(DEPLOYMENTS[deployment]["entrypoint"])
    assert flow.name == flow_name, words
    given = dict(words[n + 1].split("=", 1) for n, word in enumerate(words) if word == "-p")
    assert set(given) <= set(inspect.signature(flow.fn).parameters), words
    values = {name: as_the_command_reads_it(text) for name, text in given.items()}
    validate(values, flow.parameters.model_dump_for_openapi(), raise_on_error=True)


def as_the_command_reads_it(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@every_page
def test_every_command_can_be_run(page: Path) -> None:
    for words in commands_in(text_of(page)):
        check_command(words)


@pytest.mark.parametrize(
    "command",
    [
        "make nothing",
        "make run NOTHING=1",
        "python -m deployments.nothing",
        "python script.py",
        "prefect nothing",
        "prefect deploy --nothing",
        "prefect deploy -n nothing",
        "prefect deployment run 'sale/nothing'",
        "prefect deployment run 'sale/sale' -p nothing=1",
        "prefect deployment run 'sale/sale' -p pharmacy_code=790760001234",
        "prefect worker start --pool nothing",
        "alembic upgrade nothing@head",
        "dqg nothing",
        "dqg failures nothing",
        "dqg status --nothing",
        "dqg send nothing HD-1",
        "python -m deployments.server.work_pools --type nothing",
        "docker compose nothing",
        "docker compose up --nothing",
        "docker compose --profile nothing up",
        "docker compose up --scale nothing=2",
        "docker compose logs nothing",
        "docker compose run --rm cli prefect nothing",
        "docker build --file nothing .",
        "helm upgrade --install x prefect/prefect-server --values nothing",
        "kubectl apply --filename nothing",
    ],
)
def test_a_command_that_is_not_there_would_be_noticed(command: str) -> None:
    ((words),) = commands_in(f"```sh\n{command}\n```")
    with pytest.raises((AssertionError, KeyError, ValidationError, TyperException)):
        check_command(words)


def test_the_pages_hold_commands_of_every_kind() -> None:
    found = {words[0] for page in PAGES for words in commands_in(text_of(page))}
    assert found == set(_PROGRAMS)


@every_page
def test_every_file_named_exists(page: Path) -> None:
    named = [word for code in _CODE.findall(prose_of(page)) for word in _PATH.findall(code)]
    for name in named:
        assert (ROOT / name).exists() or (page.parent / name).exists(), name


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(prose_of(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name) if name else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors_of(linked), target


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading.lower().replace("`", "")).replace(" ", "-")
        for heading in headings
    }


@every_page
def test_every_setting_named_exists(page: Path) -> None:
    named = set(re.findall(r"\bDQG_[A-Z][A-Z0-9_]*", text_of(page)))
    assert named <= VARIABLES


@every_page
def test_every_prefect_setting_named_exists(page: Path) -> None:
    named = set(re.findall(r"\bPREFECT_[A-Z][A-Z0-9_]*", text_of(page)))
    assert named <= prefect_settings() | _FOREIGN_SETTINGS


@functools.cache
def prefect_settings() -> set[str]:
    return set(_get_valid_setting_names(PrefectSettings))


def test_generated_files_are_up_to_date() -> None:
    assert settings_docs.out_of_date(ROOT) == [], "`make docs` writes them"


def test_a_file_that_is_missing_or_old_is_noticed(tmp_path: Path) -> None:
    (tmp_path / settings_docs.EXAMPLE_FILE).write_text("old", encoding="utf-8")
    assert settings_docs.out_of_date(tmp_path) == [
        settings_docs.TABLE_FILE,
        settings_docs.EXAMPLE_FILE,
    ]


def test_the_example_file_is_a_working_settings_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    settings = Settings(_env_file=ROOT / settings_docs.EXAMPLE_FILE)  # type: ignore[call-arg]
    assert settings.source.url is not None


def test_commented_lines_of_the_example_show_the_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    example = (ROOT / settings_docs.EXAMPLE_FILE).read_text(encoding="utf-8")
    defaults = Settings(_env_file=ROOT / settings_docs.EXAMPLE_FILE)  # type: ignore[call-arg]

    everything = tmp_path / "everything.env"
    everything.write_text(re.sub(r"^#(DQG_\w+=.)", r"\1", example, flags=re.MULTILINE), "utf-8")

    assert len(dotenv_values(everything)) > len(VARIABLES) / 2
    assert Settings(_env_file=everything) == defaults  # type: ignore[call-arg]


def test_the_runbook_explains_every_repair() -> None:
    runbook = text_of(ROOT / "docs" / "runbook.md")
    kinds = [
        str(node.args[0].value)
        for file in ("lib/sync/reconcile.py", "tasks/reconcile.py")
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "note"
        and isinstance(node.args[0], ast.Constant)
    ]
    assert len(kinds) > 5
    assert [kind for kind in kinds if f"| {kind} |" not in runbook] == []


def test_pictures_are_small_and_used() -> None:
    used = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in _LINK.findall(text_of(page))
        if target.endswith(".png")
    }
    pictures = set((ROOT / "docs" / "images").glob("*.png"))
    assert pictures == used
    assert all(picture.stat().st_size < 200_000 for picture in pictures)


@pytest.mark.parametrize("name", ["README.md", "README.vi.md"])
def test_a_single_send_names_a_document_of_the_demo_that_can_be_sent(name: str) -> None:
    """One that is accepted already is sent with `force` only."""
    text = (ROOT / name).read_text(encoding="utf-8")
    sends = re.findall(r"^prefect deployment run .*-p local_\w+=(\S+)(.*)$", text, re.MULTILINE)
    sends += [(local_id, "") for local_id in re.findall(r"dqg send \w+ ([\w-]+)", text)]
    assert sends
    refused = {draft.local_id for draft in demo._special() if not draft.valid}
    wrong = [name for name, rest in sends if name not in refused and "force=true" not in rest]
    assert wrong == []
