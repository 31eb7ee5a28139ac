"""Passwords as they may stand in `AccountShop`: encrypted with Fernet, under keys that rotate.

Fernet authenticates what it encrypts: a token that was cut or changed is not decrypted to
something else, it is not decrypted at all.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from pydantic import SecretStr

from lib.errors import PasswordUnreadable

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_KEY_BYTES = 32
#: Names the setting in messages.
SETTING = "DQG_API__ACCOUNT_KEY"


def new_key() -> str:
    """A key that has never been used."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def check_keys(keys: SecretStr) -> None:
    """Raises ValueError where a key is none; its text does not show it.

    Reads the keys without the library, which takes long to import and is mostly not needed.
    """
    for number, key in enumerate(_split(keys), start=1):
        try:
            size = len(base64.b64decode(key.encode(), altchars=b"-_", validate=True))
        except (binascii.Error, UnicodeError):
            size = 0
        if size != _KEY_BYTES:
            raise ValueError(f"key {number} is no key; `dqg accounts key` makes one")


class PasswordBox:
    """Encrypts with the first key, decrypts with any of them.

    Args:
        keys: parted by commas, checked before; None: nothing can be encrypted or decrypted.
    """

    def __init__(self, keys: SecretStr | None) -> None:
        self._texts = () if keys is None else _split(keys)
        self._loaded: tuple[Fernet, ...] | None = None

    def check(self) -> None:
        """Raises PasswordUnreadable where there is no key."""
        self._keys()

    def encrypt(self, password: SecretStr) -> str:
        """A token that only the key opens; each call makes another one.

        Raises:
            PasswordUnreadable: there is no key.
        """
        return self._keys()[0].encrypt(password.get_secret_value().encode()).decode()

    def decrypt(self, token: str) -> SecretStr:
        """The password in a token. May be repeated.

        Raises:
            PasswordUnreadable: there is no key, or none that fits.
        """
        opened = self._open(token)
        return opened[1]

    def is_current(self, token: str) -> bool:
        """Whether a token is encrypted with the first key.

        Raises:
            PasswordUnreadable: there is no key, or none that fits.
        """
        return self._open(token)[0] == 0

    def _open(self, token: str) -> tuple[int, SecretStr]:
        from cryptography.fernet import InvalidToken

        for place, key in enumerate(self._keys()):
            try:
                return place, SecretStr(key.decrypt(token.strip().encode()).decode())
            except (InvalidToken, UnicodeError):
                continue
        raise PasswordUnreadable(f"no key in {SETTING} fits")

    def _keys(self) -> tuple[Fernet, ...]:
        if not self._texts:
            raise PasswordUnreadable(f"{SETTING} is not set")
        if self._loaded is None:
            from cryptography.fernet import Fernet

            self._loaded = tuple(Fernet(text) for text in self._texts)
        return self._loaded


def _split(keys: SecretStr) -> tuple[str, ...]:
    return tuple(key.strip() for key in keys.get_secret_value().split(","))
