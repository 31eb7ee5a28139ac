"""Secret settings that contain a reference to a secret instead of the secret.

`DQG_API__PASSWORD=prefect-secret://dqg-api-password` means the value of that Secret block on the
Prefect server. This module only finds references; `tasks.configuration` reads the blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, SecretStr

PREFIX = "prefect-secret://"


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A setting whose value is stored in a block.

    Attributes:
        section, field: the setting's section and field in the model.
        block: name of the block.
    """

    section: str
    field: str
    block: str


def is_reference(value: SecretStr) -> bool:
    return value.get_secret_value().startswith(PREFIX)


def find_references(sections: Mapping[str, object]) -> list[SecretReference]:
    """All settings that refer to a block, by section."""
    return [
        SecretReference(name, field, value.get_secret_value().removeprefix(PREFIX))
        for name, section in sections.items()
        if isinstance(section, BaseModel)
        for field, value in section
        if isinstance(value, SecretStr) and is_reference(value)
    ]
