"""The services of the local stack: one `Service` is one supervised process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path


class Stage(IntEnum):
    """Services are stopped from the highest stage to the lowest, those of one stage together."""

    STORE = 1
    SERVER = 2
    WORKER = 3


class NotReady(Exception):
    """A service is not ready yet; the text gives the reason."""


class ServiceFailed(Exception):
    """A service stopped unexpectedly or did not become ready in time.

    Attributes:
        log_tail: the last lines of its log.
    """

    def __init__(self, name: str, reason: str, log_file: Path, log_tail: str) -> None:
        shown = log_tail.strip() or "(it wrote nothing)"
        super().__init__(f"{name} {reason}; the end of {log_file}:\n{shown}")
        self.log_tail = log_tail

    @property
    def port_taken(self) -> bool:
        """Whether it failed because another process took its port in the meantime."""
        return "already in use" in self.log_tail.lower()


@dataclass(frozen=True, slots=True)
class Service:
    """A process of the stack.

    Attributes:
        name: unique, also the name of its log file.
        command: program and arguments; never a secret, since other users can read those.
        ready: raises NotReady until the service can be used.
        environment: added to the stack's environment; secrets go here or into a private file.
        directory: working directory.
        user: Unix user to run as, only possible for root.
        stop_signal: asks the process to end.
        signal_group: whether that signal goes to the process's children as well.
        stop_seconds: after this the process and its children are killed.
        ready_seconds: after this the service counts as failed.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], None]
    stage: Stage
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str | None = None
    stop_signal: str = "TERM"
    signal_group: bool = True
    stop_seconds: int = 10
    ready_seconds: float = 60
