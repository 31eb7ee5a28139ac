"""Settings of the daily close."""

from __future__ import annotations

from pydantic import Field, SecretStr

from lib.settings.section import Section


class CloseSettings(Section):
    """The daily close, `dqg close`."""

    signing_key: SecretStr | None = Field(
        None,
        description="signs the files of a daily close: the seed of an Ed25519 key, 32 random bytes "
        "in base64, e.g. from `openssl rand -base64 32`; without it they hold a checksum only",
    )
