"""A bounded log of the calls, so that a test can check their order and rate."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

Operation = Literal["login", "create", "update", "lookup", "delete"]


@dataclass(slots=True)
class Call:
    """One call, recorded when it arrives.

    Attributes:
        at: unix time of arrival.
        usr: of the login, or of the token; None if unknown.
        status: of the answer; None while the call is in progress, and if there was no answer.
        faults: ids of the faults that fired.
        done: the call has ended.
    """

    seq: int
    at: float
    operation: Operation
    resource: str | None
    ma_co_so: str | None
    code: str | None
    usr: str | None
    status: int | None = None
    faults: tuple[str, ...] = ()
    done: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class CallLog:
    """The latest calls, and counts of all of them."""

    def __init__(self, clock: Callable[[], float], keep: int) -> None:
        self._clock = clock
        self._calls: deque[Call] = deque(maxlen=keep)
        self._seq = 0
        self.operations: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.in_flight = 0
        self.max_in_flight = 0

    @contextmanager
    def record(
        self,
        operation: Operation,
        *,
        resource: str | None = None,
        ma_co_so: str | None = None,
        code: str | None = None,
        usr: str | None = None,
    ) -> Iterator[Call]:
        """Record a call now, and its result at the end of the block."""
        self._seq += 1
        call = Call(self._seq, self._clock(), operation, resource, ma_co_so, code, usr)
        self._calls.append(call)
        self.operations[operation] += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            yield call
        finally:
            call.done = True
            self.in_flight -= 1
            self.statuses["none" if call.status is None else str(call.status)] += 1

    @property
    def last(self) -> int:
        """Number of the latest call; numbers are never reused, not even after `clear`."""
        return self._seq

    def since(self, seq: int) -> list[Call]:
        """The calls after this number that are still kept, in the order of arrival."""
        return [call for call in self._calls if call.seq > seq]

    def clear(self) -> None:
        self._calls.clear()
        self.operations.clear()
        self.statuses.clear()
        self.max_in_flight = self.in_flight
