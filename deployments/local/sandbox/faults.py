"""Faults on demand: which calls they match, and their effect on these calls."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.local.sandbox.calls import Call, Operation

EffectName = Literal[
    "latency",
    "status",
    "accept_then_hang",
    "reset",
    "body200",
    "html",
    "empty",
    "not_json",
    "unauthorized",
]


class Match(BaseModel):
    """The calls that a fault applies to: those that match every given condition.

    Attributes:
        code: of the document, with the wildcards * ? [].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operation: Operation | None = None
    resource: str | None = None
    ma_co_so: str | None = None
    usr: str | None = None
    code: str | None = None

    def matches(self, call: Call) -> bool:
        return (
            self.operation in (None, call.operation)
            and self.resource in (None, call.resource)
            and self.ma_co_so in (None, call.ma_co_so)
            and self.usr in (None, call.usr)
            and (self.code is None or (call.code is not None and fnmatchcase(call.code, self.code)))
        )


class Fault(BaseModel):
    """A rule.

    Attributes:
        ms: delay of `latency`, added to any other effect on the call.
        status: HTTP status of `status`; also of `html`, `empty` and `not_json`, by default 200.
        retry_after: Retry-After header of `status`, seconds or an HTTP date.
        body: of `status`, a text or a JSON value; by default a short JSON object.
        code, text: in the body of `body200`.
        seconds: how long `accept_then_hang` waits for the client to disconnect before it closes
            the connection.
        clean: `reset` closes the connection normally instead of resetting it.
        probability: share of the matching calls that it affects; decided by seeded random numbers.
        times: maximum number of calls it affects, None for no limit.
        skip: number of matching calls that it ignores first; calls taken by an earlier rule are
            not counted.
        after_store: handle the call completely, then replace its answer. Always the case for
            `accept_then_hang`, never for `unauthorized`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = None
    match: Match = Match()
    effect: EffectName
    ms: float | None = Field(None, ge=0)
    status: int | None = Field(None, ge=200, le=599)
    retry_after: int | str | None = None
    body: Any = None
    code: int | str = 500
    text: str = "Lỗi hệ thống"
    seconds: float = Field(30, gt=0)
    clean: bool = False
    probability: float = Field(1, ge=0, le=1)
    times: int | None = Field(None, ge=1)
    skip: int = Field(0, ge=0)
    after_store: bool = False

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.effect == "latency" and self.ms is None:
            raise ValueError("latency needs ms")
        if self.effect == "status" and self.status is None:
            raise ValueError("status needs a status")
        if self.effect == "unauthorized" and self.after_store:
            raise ValueError("unauthorized happens before anything is stored")
        return self

    @property
    def happens_after_store(self) -> bool:
        return self.after_store or self.effect == "accept_then_hang"


@dataclass(frozen=True, slots=True)
class AppliedFaults:
    """The combined effect of the faults on one call.

    Attributes:
        delay_ms: sum of all latency faults.
        effect: the first other fault that fired.
        ids: all that fired.
    """

    delay_ms: float = 0
    effect: Fault | None = None
    ids: tuple[str, ...] = ()


_NONE = AppliedFaults()


class FaultRules:
    """The active rules, in the order in which they were added."""

    def __init__(self, seed: int) -> None:
        self._rules: dict[str, Fault] = {}
        self._left: dict[str, int | None] = {}
        self._to_skip: dict[str, int] = {}
        self._number = 0
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.fired: Counter[str] = Counter()

    def add(self, fault: Fault) -> str:
        """Activate a rule, which replaces one with the same id; returns its id."""
        if fault.id is None:
            self._number += 1
            fault = fault.model_copy(update={"id": f"fault-{self._number}"})
        fault_id = str(fault.id)
        self._rules[fault_id] = fault
        self._left[fault_id] = fault.times
        self._to_skip[fault_id] = fault.skip
        return fault_id

    def remove(self, fault_id: str) -> bool:
        """Remove a rule; returns whether it existed."""
        self._left.pop(fault_id, None)
        self._to_skip.pop(fault_id, None)
        return self._rules.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Remove all rules; the counts of fired faults are kept."""
        self._rules.clear()
        self._left.clear()
        self._to_skip.clear()

    def seed(self, seed: int) -> None:
        """Restart the sequence of random numbers."""
        self._random.seed(seed)

    def apply(self, call: Call) -> AppliedFaults:
        """Decide the effect on a call, and count the fired faults."""
        if not self._rules:
            return _NONE
        delay, effect, ids = 0.0, None, []
        for fault_id, fault in self._rules.items():
            if fault.effect != "latency" and effect is not None:
                continue
            if not self._fires(fault_id, fault, call):
                continue
            ids.append(fault_id)
            if fault.effect == "latency":
                delay += fault.ms or 0
            else:
                effect = fault
        return AppliedFaults(delay, effect, tuple(ids))

    def _fires(self, fault_id: str, fault: Fault, call: Call) -> bool:
        left = self._left[fault_id]
        if left == 0 or not fault.match.matches(call):
            return False
        if self._to_skip[fault_id]:
            self._to_skip[fault_id] -= 1
            return False
        if fault.probability < 1 and self._random.random() >= fault.probability:
            return False
        if left is not None:
            self._left[fault_id] = left - 1
        self.fired[fault_id] += 1
        return True

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rules as the admin API shows them."""
        for fault_id, fault in self._rules.items():
            yield {
                **fault.model_dump(),
                "left": self._left[fault_id],
                "fired": self.fired[fault_id],
            }
