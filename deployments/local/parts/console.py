"""The web console of the local stack, with demo users."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployments.console.access import Role, User
from deployments.console.users import UsersFile, with_password
from deployments.local.parts.servers import PrefectServer, check_http, prefect_client_environment
from deployments.local.supervisor.service import Service, Stage
from deployments.local.supervisor.stack import ROOT, Stack

#: One administrator, and the manager of the first shop of the demo chain.
DEMO_USERS = (
    User("quantri", Role.ADMINISTRATOR),
    User("shop01", Role.SHOP, frozenset({"SHOP01"})),
)


@dataclass(frozen=True, slots=True)
class DemoConsole:
    """The URL of the console, and the password of its demo users."""

    url: str
    password: str = field(repr=False)

    def __str__(self) -> str:
        names = " or ".join(user.name for user in DEMO_USERS)
        return f"{self.url}, log in as {names} with {self.password}"


def start_console(
    stack: Stack, server: PrefectServer, environment: Mapping[str, str]
) -> DemoConsole:
    """Start the console.

    Args:
        environment: settings of the service, including the users file.

    Raises:
        ServiceFailed: it did not start.
    """
    password = secrets.token_urlsafe(9)
    users = UsersFile(Path(environment["DQG_CONSOLE__USERS_FILE"]))
    for user in DEMO_USERS:
        users.put(with_password(user, password))

    def make_service(port: int) -> Service:
        return Service(
            name="console",
            command=[sys.executable, "-m", "deployments.cli", "console", f"--port={port}"],
            ready=lambda: check_http(f"http://127.0.0.1:{port}/healthz"),
            stage=Stage.WORKER,
            directory=ROOT,
            environment={**prefect_client_environment(stack, server), **environment},
        )

    return DemoConsole(f"http://127.0.0.1:{stack.add_on_free_port(make_service)}", password)
