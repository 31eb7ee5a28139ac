"""What the code must never do, read from its source; and TLS that no setting weakens."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib.errors import Unavailable
from lib.settings import ApiSettings
from tests.unit.api_kit import LOGIN, listening, make_authority, rig

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("lib", "tasks", "flows", "deployments")
Finder = Callable[[ast.AST], Iterator[str]]

#: Functions and methods that take SQL as a text.
_SQL_TAKERS = {"text", "literal_column", "DDL", "execute", "exec_driver_sql", "from_statement"}
_CODE_FROM_DATA = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}
_CODE_FROM_TEXT = {"eval", "exec", "compile", "__import__"}
_TLS_NAMES = {"CERT_NONE", "_create_unverified_context", "disable_warnings"}
_TLS_KEYWORDS = {
    "verify": False,
    "check_hostname": False,
    "tlsInsecure": True,
    "tlsAllowInvalidCertificates": True,
    "tlsAllowInvalidHostnames": True,
    "ssl_check_hostname": False,
}


def built_sql(node: ast.AST) -> Iterator[str]:
    """SQL whose text is put together from parts."""
    if isinstance(node, ast.Call) and _name(node.func) in _SQL_TAKERS:
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            if any(map(_is_built_text, ast.walk(argument))):
                yield f"SQL built from parts for {_name(node.func)}"


def _is_built_text(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr():
            return True
        case ast.BinOp(op=ast.Mod() | ast.Add(), left=left, right=right):
            return any(
                isinstance(side, ast.Constant) and isinstance(side.value, str)
                for side in (left, right)
            )
        case ast.Call(func=ast.Attribute(attr="format" | "join", value=ast.Constant())):
            return True
    return False


def code_from_outside(node: ast.AST) -> Iterator[str]:
    """Data or text that is turned into running code."""
    match node:
        case ast.Import(names=names):
            yield from (n.name for n in names if n.name.split(".")[0] in _CODE_FROM_DATA)
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] in _CODE_FROM_DATA:
            yield module
        case ast.Call(func=ast.Name(id=name)) if name in _CODE_FROM_TEXT:
            yield name
        case ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr="system" | "popen")):
            yield "os.system"
        case ast.keyword(arg="shell", value=ast.Constant(value=True)):
            yield "shell=True"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr="load" | "unsafe_load")):
            yield "yaml.load"


def weakened_tls(node: ast.AST) -> Iterator[str]:
    """A connection that trusts whoever answers."""
    match node:
        case ast.keyword(arg=str(name), value=ast.Constant(value=value)):
            if name in _TLS_KEYWORDS and value is _TLS_KEYWORDS[name]:
                yield f"{name}={value}"
        case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.Constant(value=value)):
            if name in _TLS_KEYWORDS and value is _TLS_KEYWORDS[name]:
                yield f"{name} = {value}"
        case ast.Attribute(attr=name) | ast.Name(id=name):
            if name in _TLS_NAMES:
                yield name


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def found_in(source: str, find: Finder) -> list[str]:
    return [what for node in ast.walk(ast.parse(source)) for what in find(node)]


@pytest.mark.parametrize(
    ("find", "layer"),
    [
        # `deployments` administers databases of its own, by names that it chose itself.
        *((built_sql, layer) for layer in ("lib", "tasks", "flows")),
        *((code_from_outside, layer) for layer in LAYERS),
        *((weakened_tls, layer) for layer in LAYERS),
    ],
)
def test_the_source_holds_nothing_dangerous(find: Finder, layer: str) -> None:
    files = sorted((ROOT / layer).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)}: {what}"
        for path in files
        for what in found_in(path.read_text(encoding="utf-8"), find)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("find", "source"),
    [
        (built_sql, "text(f'select {x}')"),
        (built_sql, "connection.execute('select %s' % x)"),
        (built_sql, "connection.execute(text('select ' + x))"),
        (built_sql, "sa.text('select {}'.format(x))"),
        (built_sql, "select(literal_column(', '.join(x)))"),
        (code_from_outside, "import pickle"),
        (code_from_outside, "from marshal import loads"),
        (code_from_outside, "eval(x)"),
        (code_from_outside, "subprocess.run(x, shell=True)"),
        (code_from_outside, "yaml.load(x)"),
        (weakened_tls, "httpx.AsyncClient(verify=False)"),
        (weakened_tls, "context.check_hostname = False"),
        (weakened_tls, "context.verify_mode = ssl.CERT_NONE"),
        (weakened_tls, "MongoClient(url, tlsInsecure=True)"),
    ],
)
def test_what_is_dangerous_is_recognised(find: Finder, source: str) -> None:
    assert found_in(source, find)


@pytest.mark.parametrize(
    ("find", "source"),
    [
        (built_sql, "connection.execute(select(table).where(table.c.id == x))"),
        (built_sql, "text('select 1')"),
        (code_from_outside, "re.compile(x)"),
        (weakened_tls, "httpx.AsyncClient(verify=context)"),
    ],
)
def test_what_is_sound_is_let_pass(find: Finder, source: str) -> None:
    assert found_in(source, find) == []


@pytest.mark.anyio
async def test_no_switch_in_the_settings_makes_the_client_trust_a_stranger(tmp_path: Path) -> None:
    _, tls = make_authority(tmp_path)
    switches = {
        name: not field.default
        for name, field in ApiSettings.model_fields.items()
        if isinstance(field.default, bool)
    }
    assert switches
    async with listening(LOGIN, tls=tls) as url, rig(base_url=url, **switches) as api:
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await api.submit()


@pytest.mark.anyio
async def test_a_certificate_counts_for_its_own_host_only(tmp_path: Path) -> None:
    authority, tls = make_authority(tmp_path)
    async with listening(LOGIN, tls=tls) as url:
        elsewhere = url.replace("127.0.0.1", "localhost")
        async with rig(base_url=elsewhere, ca_file=str(authority)) as api:
            with pytest.raises(Unavailable, match="ostname mismatch"):
                await api.submit()
