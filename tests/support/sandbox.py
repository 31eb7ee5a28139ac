"""The sandbox of the national API as a test sees it."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.local.sandbox.client import SandboxAdmin


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox.

    Attributes:
        base_url: for a client of the national API.
        admin: controls the sandbox and returns what it received.
    """

    base_url: str
    admin: SandboxAdmin
