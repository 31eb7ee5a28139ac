"""Runs a piece of work in a separate transaction, again when it lost a deadlock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from lib.source.driver_errors import Fault, judge, translate_errors

T = TypeVar("T")

#: Seconds before the second, third and fourth try; each is lengthened by up to its double.
CONFLICT_PAUSES = (0.02, 0.1, 0.4)


class Transactions:
    """Transactions on one engine. May be shared by threads."""

    def __init__(
        self,
        engine: Engine,
        *,
        pauses: Sequence[float] = CONFLICT_PAUSES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._pauses = tuple(pauses)
        self._sleep = sleep

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do the work and commit.

        After a deadlock or serialisation failure all of it is done again, a few times, so it must
        not depend on what an earlier try read.

        Raises:
            StoreUnavailable: whether a lost connection's commit took place is unknown.
            ConfigurationError: login, permission or schema is wrong.
        """
        with translate_errors():
            for pause in self._pauses:
                try:
                    return self._once(work)
                except DBAPIError as error:
                    if judge(error) is not Fault.CONFLICT:
                        raise
                self._sleep(pause * random.uniform(1, 2))  # noqa: S311 - spreads, hides nothing
            return self._once(work)

    def _once(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            try:
                with connection.begin():
                    return work(connection)
            except DBAPIError as error:
                if judge(error) is Fault.REFUSED:
                    # A trigger may have ended the transaction behind the driver's back.
                    connection.invalidate()
                raise
