"""The local stack is for its own machine and its own user: no port and no secret beyond that."""

from __future__ import annotations

import socket
import stat
from urllib.parse import urlsplit

import psutil
import pytest

from deployments.local.parts.postgres import PostgresServer
from deployments.local.supervisor.stack import Stack

PARTS = ("postgres", "redis", "mongo", "sandbox", "prefect-server")
LOOPBACK = ("127.0.0.1", "::1")


@pytest.fixture
def everything(
    stack: Stack,
    postgres: PostgresServer,
    redis_url: str,
    mongo_url: str,
    sandbox: object,
    prefect_server: object,
) -> Stack:
    """The stack with all its parts that listen."""
    return stack


def listening(process: psutil.Process) -> set[tuple[str, int]]:
    return {
        (connection.laddr.ip, connection.laddr.port)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
        or (connection.type == socket.SOCK_DGRAM and not connection.raddr)
    }


def test_every_part_listens_to_its_own_machine_only(everything: Stack) -> None:
    for name in PARTS:
        pid = everything.pid(name)
        assert pid is not None
        part = psutil.Process(pid)
        open_ports = set().union(*map(listening, [part, *part.children(recursive=True)]))
        assert open_ports, f"{name} listens nowhere"
        assert {address for address, _ in open_ports} <= set(LOOPBACK), name


def test_secrets_lie_in_files_that_nobody_else_may_read(
    everything: Stack, postgres: PostgresServer, redis_url: str
) -> None:
    secrets = [postgres.password, urlsplit(redis_url).password or ""]
    assert all(secrets)
    holding = set()
    for folder in (everything.private_dir, everything.state_dir):
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_size < 1_000_000:
                content = path.read_bytes()
                if any(secret.encode() in content for secret in secrets):
                    holding.add(path)
                    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert {path.name for path in holding} >= {"redis.conf", "prefect-server.json"}
    assert not any(path.is_relative_to(everything.state_dir) for path in holding)
