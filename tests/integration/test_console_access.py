"""Who may see and do what in the console, and what a stranger gets: on the real parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from deployments.cli.console import make_app
from tests.support.console import PASSWORD, Browserless, add_users, running_console
from tests.support.system import System

EVERYBODY = {"viewer", "shop", "operator", "accountant", "administrator"}
NOT_SHOPS = EVERYBODY - {"shop"}
OPERATORS = {"operator", "administrator"}

#: Who may reach what; every route of the console is in it.
TABLE: dict[tuple[str, str], set[str]] = {
    ("GET", "/"): EVERYBODY,
    ("GET", "/causes"): EVERYBODY,
    ("GET", "/causes/{key}"): EVERYBODY,
    ("POST", "/causes/{key}/requeue"): OPERATORS,
    ("GET", "/documents"): EVERYBODY,
    ("POST", "/documents/reveal"): OPERATORS | {"accountant"},
    ("POST", "/documents/requeue"): OPERATORS,
    ("POST", "/documents/send"): OPERATORS,
    ("POST", "/documents/resolve"): OPERATORS | {"accountant"},
    ("GET", "/close"): NOT_SHOPS,
    ("POST", "/close"): {"accountant", "administrator"},
    ("POST", "/close/verify"): NOT_SHOPS,
    ("GET", "/close/{days}"): NOT_SHOPS,
    ("GET", "/close/{days}/{kind}"): NOT_SHOPS,
    ("GET", "/pauses"): NOT_SHOPS,
    ("POST", "/pauses/pause"): OPERATORS,
    ("POST", "/pauses/resume"): OPERATORS,
    ("GET", "/audit"): NOT_SHOPS,
    ("GET", "/audit.csv"): NOT_SHOPS,
}
#: Reached without a login, or by everybody who is logged in.
OPEN = {
    ("GET", "/login"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("POST", "/language"),
    ("GET", "/healthz"),
}


@pytest.fixture
def users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "users.json"
    monkeypatch.setenv("DQG_CONSOLE__USERS_FILE", str(path))
    add_users(path)
    return path


@pytest.fixture
def console(system: System, users_file: Path) -> Iterator[str]:
    with running_console() as address:
        yield address


@pytest.mark.anyio
async def test_every_route_is_in_the_table(system: System, users_file: Path) -> None:
    app: Any = await make_app()
    routes = {(method, route.path) for route in _routes(app.routes) for method in route.methods}
    assert routes == set(TABLE) | OPEN


def _routes(routes: Any) -> Iterator[APIRoute]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif (router := getattr(route, "original_router", None)) is not None:
            yield from _routes(router.routes)


def test_each_role_reaches_exactly_its_pages_and_actions(console: str) -> None:
    wrong = []
    for role in sorted(EVERYBODY):
        with Browserless(console, role) as person:
            for (method, path), allowed in TABLE.items():
                url = path.replace("{key}", "00000000").replace("{days}", "2026-11-02")
                if method == "GET":
                    status = person.client.get(url).status_code
                else:
                    status = person.post(url).status_code
                if (status == 403) == (role in allowed):
                    wrong.append((role, method, path, status))
    assert wrong == []


def test_without_a_login_every_page_leads_to_it(console: str) -> None:
    with Browserless(console) as stranger:
        for method, path in TABLE:
            response = stranger.client.request(method, path.replace("{key}", "x"))
            assert (response.status_code, response.headers["location"]) == (303, "/login"), path
        assert "dqg" not in stranger.get("/login").lower().split("<body>")[1]


def test_another_shops_pages_answer_404(console: str, system: System) -> None:
    system.add("sale", "HD-OURS", status="SYNC_FAILED")
    system.add("sale", "HD-THEIRS", shop="SHOP02", status="SYNC_FAILED")
    with Browserless(console, "shop") as manager:
        assert "HD-OURS" in manager.get("/documents?code=HD-OURS", 200)
        manager.get("/documents?code=HD-THEIRS", 404)
        assert "SHOP02" not in manager.get("/", 200)
    with Browserless(console, "viewer") as viewer:
        viewer.get("/documents?code=HD-THEIRS", 200)
        assert "SHOP02" in viewer.get("/", 200)


def test_a_form_without_its_token_changes_nothing(console: str, system: System) -> None:
    with Browserless(console, "operator") as operator:
        for method, path in (*TABLE, *OPEN):
            if method == "POST":
                operator.csrf = "of another site"
                response = operator.post(path.replace("{key}", "x"), pipeline="sale", why="x")
                assert response.status_code == 400, path
        assert " dừng bằng tay vì" not in operator.get("/pauses", 200)


def test_cookies_and_headers_are_strict(console: str) -> None:
    response = httpx.get(f"{console}/login", trust_env=False)
    cookie = response.headers["set-cookie"].lower()
    assert "samesite=strict" in cookie
    assert "httponly" in cookie
    # Plain HTTP on this machine is the one place where a secure cookie would be lost.
    assert "secure" not in cookie
    public = httpx.get(f"{console}/login", headers={"Host": "console.example"}, trust_env=False)
    assert "secure" in public.headers["set-cookie"].lower()
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_pages_have_no_inline_scripts_or_styles(console: str) -> None:
    with Browserless(console, "administrator") as person:
        for path in ("/", "/causes", "/documents", "/close", "/pauses", "/audit"):
            text = person.get(path, 200)
            assert "<style" not in text
            assert " style=" not in text
            assert " onclick" not in text
            assert text.count("<script") == text.count('<script src="/static/') == 2


def test_guessing_is_slowed_down_and_kept(console: str, system: System) -> None:
    with Browserless(console) as guesser:
        statuses = [guesser.log_in("operator", "wrong password").status_code for _ in range(6)]
        assert statuses == [401] * 5 + [429]
        # The right password does not help now, and nobody else is hindered.
        assert guesser.log_in("operator").status_code == 429
        assert guesser.log_in("viewer").status_code == 303
        assert guesser.log_in("nobody's name", "x").status_code == 401
    kept = list(system.mongo.audit.find({"action": "login_refused"}))
    assert {row["by"] for row in kept} == {"operator", ""}
    assert "wrong password" not in str(kept)
    assert PASSWORD not in str(list(system.mongo.audit.find()))


def test_a_removed_user_and_a_new_password_end_sessions(console: str, users_file: Path) -> None:
    from deployments.console.access import Role, User
    from deployments.console.users import UsersFile, with_password

    users = UsersFile(users_file)
    with Browserless(console, "viewer") as viewer, Browserless(console, "operator") as operator:
        users.put(with_password(User("viewer", Role.VIEWER), "another one 2026"))
        assert viewer.client.get("/").status_code == 303
        assert operator.client.get("/").status_code == 200
        users.remove("operator")
        assert operator.client.get("/").status_code == 303


def test_a_log_out_ends_the_session_of_the_browser(console: str) -> None:
    with Browserless(console, "viewer") as viewer:
        assert viewer.post("/logout").headers["location"] == "/login"
        assert viewer.client.get("/").status_code == 303


@pytest.mark.settings(
    console={"proxy_header": "X-Forwarded-Email", "trusted_proxies": '["127.0.0.1/32"]'}
)
def test_a_trusted_proxy_names_the_user(console: str) -> None:
    with Browserless(console) as person:
        person.client.headers["X-Forwarded-Email"] = "viewer"
        assert "viewer" in person.get("/", 200)
        person.get("/audit", 200)
        person.client.headers["X-Forwarded-Email"] = "nobody@example"
        assert person.client.get("/").status_code == 303


@pytest.mark.settings(console={"trusted_proxies": '["127.0.0.1/32"]'})
def test_behind_a_proxy_each_address_is_slowed_down_by_itself(console: str) -> None:
    with Browserless(console) as guesser:
        guesser.client.headers["X-Forwarded-For"] = "10.1.1.1, 10.2.2.2"
        statuses = [guesser.log_in("viewer", "wrong password").status_code for _ in range(6)]
        assert statuses[-1] == 429
        # The first one is what the guesser says; the proxy adds the last one.
        guesser.client.headers["X-Forwarded-For"] = "10.9.9.9, 10.2.2.2"
        assert guesser.log_in("viewer").status_code == 429
        guesser.client.headers["X-Forwarded-For"] = "10.1.1.1, 10.3.3.3"
        assert guesser.log_in("viewer").status_code == 303


@pytest.mark.settings(
    console={"proxy_header": "X-Forwarded-Email", "trusted_proxies": '["10.0.0.7/32"]'}
)
def test_anybody_elses_header_is_not_believed(console: str) -> None:
    with Browserless(console) as person:
        person.client.headers["X-Forwarded-Email"] = "administrator"
        assert person.client.get("/").status_code == 303


def test_the_language_is_vietnamese_until_a_person_switches(console: str) -> None:
    with Browserless(console, "viewer") as viewer:
        del viewer.client.cookies["dqg_language"]
        assert "Tổng quan" in viewer.get("/", 200)
        assert viewer.post("/language", language="en", next="/pauses").headers["location"] == (
            "/pauses"
        )
        assert "Overview of today" in viewer.get("/", 200)
        for elsewhere in ("https://example.org/", "//example.org", "/\\example.org"):
            response = viewer.post("/language", language="vi", next=elsewhere)
            assert response.headers["location"] == "/"
