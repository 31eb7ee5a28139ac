"""The users file: names, roles, and passwords as scrypt hashes."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deployments.console.access import Role, User
from lib.errors import ConfigurationError

SHORTEST_PASSWORD = 10
#: Cost of scrypt: 32 MB and about 0.1 s per check of a password.
_N, _R, _P = 2**15, 8, 1
_MEMORY = 64 * 1024 * 1024


def hash_password(password: str) -> str:
    """The password as it is stored: `scrypt$n$r$p$salt$hash`."""
    salt = secrets.token_bytes(16)
    parts = (base64.b64encode(part).decode() for part in (salt, _scrypt(password, salt)))
    return "$".join(("scrypt", str(_N), str(_R), str(_P), *parts))


def verify_password(password: str, stored: str | None) -> bool:
    """Whether this is the password; takes the same time if there is no such user."""
    salt, expected, cost = secrets.token_bytes(16), b"", (_N, _R, _P)
    if stored is not None:
        _, n, r, p, salt_text, hash_text = stored.split("$")
        salt, expected = base64.b64decode(salt_text), base64.b64decode(hash_text)
        cost = (int(n), int(r), int(p))
    return secrets.compare_digest(_scrypt(password, salt, *cost), expected)


def _scrypt(password: str, salt: bytes, n: int = _N, r: int = _R, p: int = _P) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


class UsersFile:
    """The users of the console. The file is read again when it changes; no page changes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int, int] | None = None
        self._users: dict[str, User] = {}

    def all(self) -> list[User]:
        """Every user, sorted by name.

        Raises:
            ConfigurationError: the file cannot be read or is not a users file.
        """
        return [user for _, user in sorted(self._load().items())]

    def find(self, name: str) -> User | None:
        """The user of this name, None if there is none.

        Raises:
            ConfigurationError.
        """
        return self._load().get(name.strip())

    def put(self, user: User) -> None:
        """Add a user, or replace the one of this name. Idempotent.

        Raises:
            ConfigurationError: the user is not valid, or the file cannot be written.
        """
        if not user.name.strip() or user.name != user.name.strip():
            raise ConfigurationError(
                "a user name must not be empty, and must not begin or end with a blank"
            )
        if (user.role is Role.SHOP) != bool(user.shops):
            raise ConfigurationError(
                "--shop is required for the role shop, and not allowed for other roles"
            )
        with self._locked():
            self._write({**self._load(), user.name: user})

    def remove(self, name: str) -> bool:
        """Remove a user; False if there is none of this name."""
        with self._locked():
            users = dict(self._load())
            found = users.pop(name.strip(), None)
            if found is not None:
                self._write(users)
        return found is not None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lets one process at a time change the file, so that no change is lost."""
        lock = self._path.with_name(f".{self._path.name}.lock")
        try:
            file = lock.open("w")
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be written: {error.strerror}") from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _load(self) -> dict[str, User]:
        try:
            about = self._path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigurationError(f"{self._path}: {error.strerror}") from error
        stamp = (about.st_ino, about.st_mtime_ns, about.st_size)
        if stamp != self._read_at:
            try:
                rows = json.loads(self._path.read_text("utf-8"))
                self._users = {row["name"]: _to_user(row) for row in rows}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ConfigurationError(
                    f"{self._path} is not a users file of the console: {type(error).__name__}"
                ) from None
            self._read_at = stamp
        return self._users

    def _write(self, users: dict[str, User]) -> None:
        rows = [
            {
                "name": user.name,
                "role": user.role.value,
                "shops": sorted(user.shops),
                "password": user.password,
            }
            for _, user in sorted(users.items())
        ]
        draft = self._path.with_name(f".{self._path.name}.part")
        try:
            draft.unlink(missing_ok=True)
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(rows, ensure_ascii=False, indent=2) + "\n", "utf-8")
            draft.replace(self._path)
        except OSError as error:
            raise ConfigurationError(f"{self._path} cannot be written: {error.strerror}") from error


def with_password(user: User, password: str) -> User:
    """The user with this password.

    Raises:
        ConfigurationError: it is too short.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise ConfigurationError(f"a password must have at least {SHORTEST_PASSWORD} characters")
    return replace(user, password=hash_password(password))


def _to_user(row: dict[str, object]) -> User:
    shops = row["shops"]
    password = row["password"]
    if not isinstance(shops, list) or not isinstance(password, str | None):
        raise TypeError
    return User(str(row["name"]), Role(str(row["role"])), frozenset(map(str, shops)), password)
