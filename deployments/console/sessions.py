"""Sessions in an encrypted cookie, with a CSRF token for forms, and a limit on failed logins."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from cryptography.fernet import Fernet, InvalidToken

from deployments.console.access import User
from lib.errors import ConfigurationError
from lib.settings import ConsoleSettings

#: Failed logins per address and name, and per address, before the address has to wait.
NAME_LIMIT = 5
ADDRESS_LIMIT = 30
WINDOW_SECONDS = 15 * 60.0
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """The content of the session cookie.

    Attributes:
        csrf: token that every form must send back.
        user: empty before the login.
        stamp: digest of the password hash at the login: a new password ends all sessions.
    """

    csrf: str
    user: str = ""
    stamp: str = ""


def new_session(user: User | None = None) -> Session:
    name, stamp = ("", "") if user is None else (user.name, stamp_of(user))
    return Session(secrets.token_urlsafe(24), name, stamp)


def stamp_of(user: User) -> str:
    return hashlib.sha256((user.password or "").encode()).hexdigest()[:16]


class SessionCookies:
    """Sessions as the text of a cookie, encrypted and signed, with an expiry.

    Raises:
        ConfigurationError: the configured key is not a Fernet key.
    """

    def __init__(self, settings: ConsoleSettings) -> None:
        key = settings.session_key
        try:
            self._fernet = Fernet(Fernet.generate_key() if key is None else key.get_secret_value())
        except ValueError:
            raise ConfigurationError("DQG_CONSOLE__SESSION_KEY is not a valid Fernet key") from None
        self.seconds = int(settings.session_hours * 3600)

    def write(self, session: Session) -> str:
        return self._fernet.encrypt(json.dumps(asdict(session)).encode()).decode()

    def read(self, cookie: str | None) -> Session | None:
        """The session; None if the cookie is missing, invalid or expired."""
        if not cookie:
            return None
        try:
            return Session(**json.loads(self._fernet.decrypt(cookie, ttl=self.seconds)))
        except (InvalidToken, ValueError, TypeError):
            return None


class LoginLimiter:
    """Counts failed logins in this process. Its memory is bounded."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failures: dict[tuple[str, str], list[float]] = {}

    def wait_seconds(self, address: str, name: str) -> float:
        """How long this address has to wait before the next try; 0: it may try now."""
        now = self._monotonic()
        waits = [
            times[-limit] + WINDOW_SECONDS - now
            for times, limit in (
                (self._recent((address, name), now), NAME_LIMIT),
                (self._recent((address, ""), now), ADDRESS_LIMIT),
            )
            if len(times) >= limit
        ]
        return max(waits, default=0.0)

    def failed(self, address: str, name: str) -> None:
        now = self._monotonic()
        for key in ((address, name), (address, "")):
            times = [*self._recent(key, now), now][-ADDRESS_LIMIT:]
            self._failures.pop(key, None)
            self._failures[key] = times
        while len(self._failures) > _KEPT:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, address: str, name: str) -> None:
        self._failures.pop((address, name), None)

    def _recent(self, key: tuple[str, str], now: float) -> list[float]:
        return [at for at in self._failures.get(key, ()) if at > now - WINDOW_SECONDS]
