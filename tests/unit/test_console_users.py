"""The users file and the sessions of the console, and the command that writes the file."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli.__main__ import app
from deployments.console.access import RIGHTS, Right, Role, User
from deployments.console.sessions import LoginLimiter, SessionCookies, new_session
from deployments.console.users import UsersFile, hash_password, verify_password, with_password
from lib.errors import ConfigurationError
from lib.settings import ConsoleSettings

PASSWORD = "nha thuoc 2026"


@pytest.fixture
def users(tmp_path: Path) -> UsersFile:
    return UsersFile(tmp_path / "users.json")


def test_a_password_is_kept_as_a_salted_hash() -> None:
    one, other = hash_password(PASSWORD), hash_password(PASSWORD)
    assert one != other
    assert PASSWORD not in one
    assert verify_password(PASSWORD, one)
    assert not verify_password("another", one)
    assert not verify_password("", None)


def test_the_file_is_for_its_owner_alone_and_holds_no_password(
    users: UsersFile, tmp_path: Path
) -> None:
    users.put(with_password(User("lan", Role.OPERATOR), PASSWORD))
    path = tmp_path / "users.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD not in path.read_text("utf-8")
    assert UsersFile(path).find("lan") == users.find("lan")


def test_a_change_by_another_process_is_seen(users: UsersFile, tmp_path: Path) -> None:
    assert users.find("lan") is None
    UsersFile(tmp_path / "users.json").put(User("lan", Role.VIEWER))
    assert users.find("lan") == User("lan", Role.VIEWER)
    assert users.remove("lan")
    assert not users.remove("lan")


def test_no_user_is_lost_when_several_are_added_at_once(tmp_path: Path) -> None:
    def add(name: str) -> None:
        UsersFile(tmp_path / "users.json").put(User(name, Role.VIEWER))

    names = [f"user{number:02}" for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, names))
    assert [user.name for user in UsersFile(tmp_path / "users.json").all()] == names


@pytest.mark.parametrize(
    "user",
    [
        User("", Role.VIEWER),
        User(" lan", Role.VIEWER),
        User("lan", Role.SHOP),
        User("lan", Role.OPERATOR, frozenset({"SHOP01"})),
    ],
)
def test_a_user_that_makes_no_sense_is_refused(users: UsersFile, user: User) -> None:
    with pytest.raises(ConfigurationError):
        users.put(user)


def test_a_short_password_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="10"):
        with_password(User("lan", Role.VIEWER), "short")


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    path.write_text('{"not": "users"}', "utf-8")
    with pytest.raises(ConfigurationError, match=r"users\.json"):
        UsersFile(path).find("lan")


def test_a_shop_does_nothing_and_sees_its_own() -> None:
    user = User("shop01", Role.SHOP, frozenset({"SHOP01"}))
    assert RIGHTS[Role.SHOP] == {Right.OVERVIEW, Right.CAUSES, Right.DOCUMENTS}
    assert user.sees("SHOP01 ")
    assert not user.sees("SHOP02")
    assert User("lan", Role.VIEWER).sees("SHOP02")


def test_a_cookie_is_read_by_the_same_key_only_and_not_when_changed() -> None:
    settings = ConsoleSettings()
    cookies, others = SessionCookies(settings), SessionCookies(settings)
    session = new_session(User("lan", Role.VIEWER))
    text = cookies.write(session)
    assert "lan" not in text
    assert cookies.read(text) == session
    assert others.read(text) is None
    assert cookies.read(text[:-4] + "AAAA") is None
    assert cookies.read("") is None


def test_a_wrong_session_key_is_named() -> None:
    with pytest.raises(ConfigurationError, match="DQG_CONSOLE__SESSION_KEY"):
        SessionCookies(ConsoleSettings(session_key="short"))


def test_failed_logins_are_forgotten_after_a_while_and_memory_is_bounded() -> None:
    now = 0.0
    limiter = LoginLimiter(lambda: now)
    for _ in range(5):
        assert limiter.wait_seconds("10.0.0.1", "lan") == 0
        limiter.failed("10.0.0.1", "lan")
    assert limiter.wait_seconds("10.0.0.1", "lan") == 900
    assert limiter.wait_seconds("10.0.0.1", "hoa") == 0
    assert limiter.wait_seconds("10.0.0.2", "lan") == 0
    now = 901.0
    assert limiter.wait_seconds("10.0.0.1", "lan") == 0
    for number in range(30):
        limiter.failed("10.0.0.3", f"name {number}")
    assert limiter.wait_seconds("10.0.0.3", "hoa") > 0
    for number in range(11_000):
        limiter.failed(f"address {number}", "x")
    assert len(limiter._failures) <= 10_000


def test_users_are_added_by_the_command_with_a_password_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "users.json"
    for name, value in {
        "DQG_SOURCE__URL": "postgresql+psycopg://127.0.0.1/x",
        "DQG_MONGO__URL": "mongodb://127.0.0.1",
        "DQG_REDIS__URL": "redis://127.0.0.1",
        "DQG_CONSOLE__USERS_FILE": str(path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DQG_ENV_FILE", "")
    runner = CliRunner()

    def dqg(*words: str, line: str = "") -> str:
        result = runner.invoke(app, ["console", "user", *words], input=line)
        assert result.exit_code == 0, result.output
        return result.output

    dqg("add", "shop01", "--role", "shop", "--shop", "SHOP01", line=f"{PASSWORD}\n")
    dqg("add", "lan@example.org", "--role", "operator", "--no-password")
    found = {row["name"]: row for row in json.loads(dqg("list", "--json"))}
    assert found["shop01"]["shops"] == ["SHOP01"]
    user = UsersFile(path).find("shop01")
    assert user is not None
    assert verify_password(PASSWORD, user.password)
    dqg("remove", "shop01")
    assert UsersFile(path).find("shop01") is None
    refused = runner.invoke(app, ["console", "user", "add", "x", "--role", "shop"], input="y\n")
    assert refused.exit_code == 1
