"""Logins and tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from deployments.local.sandbox.accounts import SandboxAccount
from deployments.local.sandbox.options import Options

#: Expired tokens are removed when there are more tokens than this.
_SWEEP_ABOVE = 1000


@dataclass(slots=True)
class LoginCount:
    """Numbers of an account's successful and refused logins."""

    ok: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class _Token:
    usr: str
    expires_at: float


class Sessions:
    """Accounts, their tokens and their login counts."""

    def __init__(self, accounts: Iterable[SandboxAccount], clock: Callable[[], float]) -> None:
        self._initial = {account.usr: account for account in accounts}
        self._clock = clock
        self._signing_key = secrets.token_bytes(32)
        self._accounts: dict[str, SandboxAccount] = {}
        self._tokens: dict[str, _Token] = {}
        self.logins: dict[str, LoginCount] = {}
        self.reset()

    def account(self, usr: str) -> SandboxAccount | None:
        return self._accounts.get(usr)

    def log_in(self, usr: str, pwd: str, options: Options) -> str | None:
        """A new token, or None when the account or its password is wrong."""
        account = self._accounts.get(usr)
        count = self.logins.setdefault(usr, LoginCount())
        if account is None or not hmac.compare_digest(account.pwd.encode(), pwd.encode()):
            count.refused += 1
            return None
        count.ok += 1
        if options.one_token_per_account:
            self.forget(usr)
        self._sweep()
        expires_at = self._clock() + options.token_seconds
        token = secrets.token_urlsafe(32)
        if options.token_format == "jwt":  # noqa: S105 - a format, not a secret
            token = self._as_jwt(usr, expires_at, token)
        self._tokens[token] = _Token(usr, expires_at)
        return token

    def account_of(self, token: str) -> SandboxAccount | None:
        """The account of a token; None when the token is unknown or has expired."""
        found = self._tokens.get(token)
        if found is None or found.expires_at <= self._clock():
            return None
        return self._accounts.get(found.usr)

    def forget(self, usr: str | None = None) -> int:
        """Revoke the tokens of one account, or of all; returns their number."""
        ended = [token for token, held in self._tokens.items() if usr in (None, held.usr)]
        for token in ended:
            del self._tokens[token]
        return len(ended)

    def set_account(self, usr: str, pwd: str, ma_co_so: str | None = None) -> None:
        """Change a password (tokens stay valid), or add an account.

        Raises:
            KeyError: the account is new and has no facility.
        """
        known = self._accounts.get(usr)
        if ma_co_so is not None:
            self._accounts[usr] = SandboxAccount(usr, pwd, ma_co_so)
        elif known is not None:
            self._accounts[usr] = replace(known, pwd=pwd)
        else:
            raise KeyError(usr)

    def reset(self) -> None:
        """Restore the initial accounts; remove all tokens and counts."""
        self._accounts = dict(self._initial)
        self._tokens.clear()
        self.logins.clear()

    def _sweep(self) -> None:
        if len(self._tokens) > _SWEEP_ABOVE:
            now = self._clock()
            self._tokens = {t: held for t, held in self._tokens.items() if held.expires_at > now}

    def _as_jwt(self, usr: str, expires_at: float, unique: str) -> str:
        claims = {"sub": usr, "exp": int(expires_at), "jti": unique}
        parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims)]
        signed = ".".join(parts)
        signature = hmac.digest(self._signing_key, signed.encode(), hashlib.sha256)
        return f"{signed}.{_base64(signature)}"


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
