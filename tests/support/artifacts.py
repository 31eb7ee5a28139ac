"""Artifacts as an operator finds them in the UI."""

from __future__ import annotations

import re
from typing import Any

from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort


async def latest_artifact(key: str) -> Any:
    """The newest artifact with this key.

    Raises:
        AssertionError: there is none.
    """
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
    assert found, f"no artifact {key}"
    return found[0]


def rows_of(artifact: Any) -> list[dict[str, str]]:
    """The rows of an artifact's table by heading, without Markdown escapes; links are kept."""
    lines = [line for line in artifact.data.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    shown = [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in cells]
    return [dict(zip(shown[0], row, strict=True)) for row in shown[2:]]
