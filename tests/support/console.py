"""The console as it is started by `dqg console`, on a free port, with users of every role."""

from __future__ import annotations

import asyncio
import contextvars
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn

from deployments.cli.console import make_app
from deployments.console.access import Role, User
from deployments.console.users import UsersFile, with_password
from tests.support.waiting import wait_until

PASSWORD = "nha thuoc 2026"
#: One user per role, by the role's name; the shop's user sees only SHOP01.
USERS = {
    role.value: User(role.value, role, frozenset({"SHOP01"} if role is Role.SHOP else ()))
    for role in Role
}
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


def add_users(path: Path) -> None:
    users = UsersFile(path)
    hashed = with_password(USERS["viewer"], PASSWORD).password
    for user in USERS.values():
        users.put(User(user.name, user.role, user.shops, hashed))


@contextmanager
def running_console() -> Iterator[str]:
    """The console with the settings of this process, in a thread; yields its address."""
    app = asyncio.run(make_app())
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", proxy_headers=False)
    )
    # A test's Prefect settings are stored in context variables.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(server.run,), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the console listens")
        assert server.started, "the console did not start"
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)


class Browserless:
    """A user without JavaScript: logs in, opens pages, submits forms."""

    def __init__(self, address: str, name: str | None = None, language: str = "vi") -> None:
        self.client = httpx.Client(base_url=address, trust_env=False, timeout=30)
        self.client.cookies.set("dqg_language", language)
        self.csrf = ""
        if name is not None:
            assert self.log_in(name).status_code == 303

    def __enter__(self) -> Browserless:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def log_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        self.get("/login")
        response = self.post("/login", name=name, password=password)
        if response.status_code == 303:
            self.get("/")
        return response

    def get(self, path: str, status: int | None = None) -> str:
        response = self.client.get(path)
        assert status in (None, response.status_code), (path, response.status_code, response.text)
        self._keep(response)
        return response.text

    def post(self, path: str, **fields: str | list[str]) -> httpx.Response:
        """Submit a form with the CSRF token of the last page."""
        response = self.client.post(path, data={"csrf": self.csrf, **fields})
        self._keep(response)
        return response

    def upload(self, path: str, *, file: bytes) -> httpx.Response:
        """Submit a form with a file and the CSRF token of the last page."""
        response = self.client.post(path, data={"csrf": self.csrf}, files={"file": ("f", file)})
        self._keep(response)
        return response

    def _keep(self, response: httpx.Response) -> None:
        if found := _CSRF.search(response.text):
            self.csrf = found[1]
