"""The proof in a daily close file: a checksum over its rows, and a signature of the checksum.

This module reads no setting and no store: the file and the public key are enough to verify it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import SecretStr

from lib.errors import ConfigurationError, SyncError

Row = Sequence[str]

_VARIABLE = "DQG_CLOSE__SIGNING_KEY"


class BadCloseFile(SyncError):
    """A file that is not a daily close, or is incomplete."""

    error_class = "close_file"


class BadPublicKey(SyncError):
    """A text that is not a public key."""

    error_class = "public_key"


def checksum(rows: Iterable[Row]) -> str:
    """SHA-256 over the rows' cells: quoting, line ends and a byte order mark do not change it."""
    digest = hashlib.sha256()
    for row in rows:
        # JSON separates the cells, whatever they contain.
        digest.update(json.dumps(list(row), ensure_ascii=False).encode("utf-8") + b"\n")
    return digest.hexdigest()


def signed_text(sha256: str) -> bytes:
    """The text to sign: the checksum, marked as that of a daily close."""
    return f"dqg daily close\n{sha256}\n".encode()


@dataclass(frozen=True, slots=True)
class Seal:
    """What a file states about itself.

    Attributes:
        signature, public_key: base64; empty in a file that is not signed. The public key only
            shows which key to compare with: a forger can replace it.
    """

    sha256: str
    signature: str = ""
    public_key: str = ""


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A whole file, and what it states about itself."""

    content: bytes
    seal: Seal


class Signer:
    """Adds a checksum to files, and a signature if this installation has a key.

    Args:
        secret: 32 random bytes in base64, the seed of an Ed25519 key.

    Raises:
        ConfigurationError: the secret is not such a seed.
    """

    def __init__(self, secret: SecretStr | None) -> None:
        self._key: Ed25519PrivateKey | None = None
        if secret is not None:
            try:
                seed = base64.b64decode(secret.get_secret_value().strip(), validate=True)
                self._key = Ed25519PrivateKey.from_private_bytes(seed)
            except ValueError:
                raise ConfigurationError(f"{_VARIABLE} is not 32 bytes in base64") from None

    @property
    def public_key(self) -> str | None:
        """The key with which others verify a signature, in base64; None without a key."""
        if self._key is None:
            return None
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def seal(self, rows: Iterable[Row]) -> Seal:
        sha256 = checksum(rows)
        if self._key is None:
            return Seal(sha256)
        signature = base64.b64encode(self._key.sign(signed_text(sha256))).decode()
        return Seal(sha256, signature, self.public_key or "")


@dataclass(frozen=True, slots=True)
class Verification:
    """What a file states about itself, and the checksum computed from its rows.

    Attributes:
        found: the checksum computed from its rows.
        documents: number of document rows.
        scope: days and shop, as stated in the file.
    """

    stated: Seal
    found: str
    documents: int
    scope: str = ""

    @property
    def holds(self) -> bool:
        """Whether the stated checksum matches the rows."""
        return self.stated.sha256 == self.found

    @property
    def is_signed(self) -> bool:
        return bool(self.stated.signature)

    def is_signed_by(self, public_key: str) -> bool:
        """Whether the owner of this key signed the rows as they are now.

        Raises:
            BadPublicKey.
        """
        try:
            raw = base64.b64decode(public_key.strip(), validate=True)
            key = Ed25519PublicKey.from_public_bytes(raw)
        except ValueError:
            raise BadPublicKey("the public key is not 32 bytes in base64") from None
        try:
            signature = base64.b64decode(self.stated.signature, validate=True)
            key.verify(signature, signed_text(self.found))
        except (binascii.Error, InvalidSignature, ValueError):
            return False
        return self.holds
