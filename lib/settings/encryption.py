"""Encryption of the passwords in `AccountShop`: Fernet, with keys that can be rotated.

Fernet authenticates what it encrypts: a token that was cut or changed cannot be decrypted.
"""

from __future__ import annotations

import base64
import binascii
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import SecretStr

from lib.errors import PasswordUnreadable
from lib.words.language import Phrase

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_KEY_BYTES = 32
#: Name of the setting, for messages.
SETTING = "DQG_API__ACCOUNT_KEY"


def new_key() -> str:
    """A new random key."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def check_keys(keys: SecretStr) -> None:
    """Raises ValueError if a text is not a key; the message does not show the text.

    Checks the keys without the library, which is slow to import and usually not needed.
    """
    for number, key in enumerate(_split(keys), start=1):
        try:
            size = len(base64.b64decode(key.encode(), altchars=b"-_", validate=True))
        except (binascii.Error, UnicodeError):
            size = 0
        if size != _KEY_BYTES:
            raise ValueError(f"key {number} is not valid; `dqg accounts key` creates a key")


class PasswordBox:
    """Encrypts with the first key, decrypts with any of them.

    Args:
        keys: separated by commas, checked before; None: nothing can be encrypted or decrypted.
    """

    def __init__(self, keys: SecretStr | None) -> None:
        self._texts = () if keys is None else _split(keys)

    def check(self) -> None:
        """Raises PasswordUnreadable if there is no key."""
        if not self._texts:
            raise PasswordUnreadable(Phrase("{setting} is not set", setting=SETTING))

    def encrypt(self, password: SecretStr) -> str:
        """The password encrypted with the first key; each call returns a different token.

        Raises:
            PasswordUnreadable: there is no key.
        """
        return self._fernet.encrypt(password.get_secret_value().encode()).decode()

    def decrypt(self, token: str) -> SecretStr:
        """The password in a token. Idempotent.

        Raises:
            PasswordUnreadable: there is no key, or no key decrypts the token.
        """
        from cryptography.fernet import InvalidToken

        try:
            return SecretStr(self._fernet.decrypt(token.strip().encode()).decode())
        except (InvalidToken, UnicodeError):
            raise PasswordUnreadable(
                Phrase("no key in {setting} decrypts it", setting=SETTING)
            ) from None

    def is_current(self, token: str) -> bool:
        """Whether a token is encrypted with the first key.

        Raises:
            PasswordUnreadable: there is no key, or no key decrypts the token.
        """
        self.decrypt(token)
        try:
            PasswordBox(SecretStr(self._texts[0])).decrypt(token)
        except PasswordUnreadable:
            return False
        return True

    @cached_property
    def _fernet(self) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet

        self.check()
        return MultiFernet([Fernet(text) for text in self._texts])


def _split(keys: SecretStr) -> tuple[str, ...]:
    return tuple(key.strip() for key in keys.get_secret_value().split(","))
