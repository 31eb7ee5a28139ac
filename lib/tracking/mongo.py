"""Access to MongoDB: error handling in one place, and writes that are buffered in an outage."""

from __future__ import annotations

import logging
import re
import time
from asyncio import Future
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import bson
from bson.errors import BSONError
from pymongo import AsyncMongoClient, UpdateMany, UpdateOne
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure, PyMongoError

from lib.errors import StoreUnavailable
from lib.settings import MongoSettings
from lib.write_batcher import WriteBatcher

logger = logging.getLogger("dqg.tracking")

STORE = "MongoDB"
#: Seconds without an attempt after MongoDB was unavailable: an attempt costs a whole timeout.
_PAUSE = 5.0
_DUPLICATE_KEY = 11000
#: MongoDB refuses documents above 16 MB; the difference is for the fields that an upsert adds.
_LONGEST_WRITE = 15 << 20
_INT64 = range(-(2**63), 2**63)
#: The driver raises these before it sends anything: the write is too large or cannot be encoded.
_UNWRITABLE = (DocumentTooLarge, BSONError, OverflowError, ValueError, TypeError)
_NOTE = "left out: too large or not writable"

Client = AsyncMongoClient[dict[str, Any]]
Database = AsyncDatabase[dict[str, Any]]


def open_client(settings: MongoSettings) -> Client:
    """A client that connects on first use."""
    timeout_ms = int(settings.timeout * 1000)
    return AsyncMongoClient(
        settings.url.get_secret_value(),
        serverSelectionTimeoutMS=timeout_ms,
        connectTimeoutMS=timeout_ms,
        socketTimeoutMS=timeout_ms,
        tz_aware=True,
        connect=False,
    )


class mongo_errors:
    """Turns the driver's errors into StoreUnavailable: a failure of MongoDB must not stop a run.

    The text of an error is left out: it may quote the data to be written.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        kept = BulkWriteError | DocumentTooLarge
        if isinstance(exc, PyMongoError) and not isinstance(exc, kept):
            code = f" {exc.code}" if isinstance(exc, OperationFailure) and exc.code else ""
            raise StoreUnavailable(STORE, f"{type(exc).__name__}{code}") from None


def any_case(*texts: str) -> dict[str, Any]:
    """Condition that a text is one of these, ignoring case and surrounding blanks.

    The same rule as `lib.models.comparable`: the log stores codes as written in the source.
    """
    if not texts:
        return {"$in": []}
    any_of = "|".join(re.escape(text.strip()) for text in sorted(texts))
    return {"$regex": rf"^\s*(?:{any_of})\s*$", "$options": "i"}


@dataclass(slots=True, eq=False)
class Write:
    """A change of one entry, or of many that exist already. Idempotent.

    Attributes:
        upsert: creates the entry if it does not exist.
    """

    collection: str
    key: Mapping[str, Any]
    update: dict[str, Any]
    upsert: bool = False
    many: bool = False

    @property
    def operation(self) -> UpdateOne | UpdateMany:
        if self.many:
            return UpdateMany(self.key, self.update)
        return UpdateOne(self.key, self.update, upsert=self.upsert)

    def cut(self) -> bool:
        """Replaces the largest values with a note until the write fits; False if it never fits."""
        if self._fits(self.update):
            return True
        values = {name: _writable(value) for name, value in self.update.get("$set", {}).items()}
        left_out: list[str] = []
        largest_first = sorted(values, key=lambda name: _size({name: values[name]}), reverse=True)
        while not self._fits(self.update | {"$set": values}) and len(left_out) < len(values):
            left_out.append(largest_first[len(left_out)])
            values[left_out[-1]] = _NOTE
        self.update = self.update | {"$set": values}
        logger.warning(
            "a write to %s was too large for %s; left out: %s",
            self.collection,
            STORE,
            ", ".join(left_out) or "numbers above 64 bit",
            extra={"action": "log_write_cut"},
        )
        return self._fits(self.update)

    def _fits(self, update: dict[str, Any]) -> bool:
        return _size({"key": self.key, **update}) <= _LONGEST_WRITE


class BufferedWrites:
    """Writes upserts in batches, in order, and buffers them in memory while MongoDB is unavailable.

    Args:
        delay, size: how writes are batched, see `WriteBatcher`.
        buffer_size: most writes in the buffer; above it the oldest are dropped with a warning.
        after_outage: called after an outage with the buffered writes, once they are made; raises
            StoreUnavailable.
    """

    def __init__(
        self,
        database: Database,
        *,
        delay: float,
        size: int,
        buffer_size: int,
        after_outage: Callable[[Sequence[Write]], Awaitable[None]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database = database
        self._after_outage = after_outage
        self._monotonic = monotonic
        self._batcher: WriteBatcher[Write, bool] = WriteBatcher(
            self._write_batch, delay=delay, size=size
        )
        self._buffer: deque[Write] = deque(maxlen=buffer_size)
        self._away_until = 0.0

    async def put(self, write: Write) -> bool:
        """Returns once the write is durable, or False: it is buffered, or MongoDB refused it."""
        return await self._batcher.put(write)

    def put_nowait(self, write: Write) -> Future[bool]:
        """As `put`, without waiting."""
        return self._batcher.put_nowait(write)

    async def close(self) -> None:
        """Writes everything queued, with one last attempt for the buffered writes."""
        self._away_until = 0.0
        await self._batcher.flush()
        if self._buffer:
            await self._write_batch(())
        if self._buffer:
            logger.warning(
                "%d log writes lost: %s is unavailable; reconcile restores what is missing",
                len(self._buffer),
                STORE,
                extra={"action": "log_writes_lost"},
            )

    async def _write_batch(self, group: Sequence[Write]) -> list[bool]:
        """Writes the buffer and then the group; False for each write buffered or refused."""
        if self._monotonic() < self._away_until:
            self._keep(group)
            return [False] * len(group)
        waiting = [*self._buffer, *group]
        refused: list[Write] = []
        try:
            for collection in dict.fromkeys(write.collection for write in waiting):
                writes = [write for write in waiting if write.collection == collection]
                refused += await self._bulk_write(collection, writes)
            if self._buffer:
                await self._after_outage(list(self._buffer))
        except StoreUnavailable as error:
            if not self._away_until:
                logger.warning("logs are buffered: %s", error, extra={"action": "mongo_away"})
            self._away_until = self._monotonic() + _PAUSE
            self._keep(group)
            return [False] * len(group)
        if self._away_until:
            logger.warning("%s is available again", STORE, extra={"action": "mongo_back"})
        self._away_until = 0.0
        self._buffer.clear()
        return [all(write is not other for other in refused) for write in group]

    async def _bulk_write(self, collection: str, writes: list[Write]) -> list[Write]:
        """Performs the writes in order; returns those that MongoDB refuses permanently."""
        refused: list[Write] = []
        repeated: Write | None = None
        is_cut = False
        while writes:
            try:
                with mongo_errors():
                    await self.database[collection].bulk_write([w.operation for w in writes])
                break
            except _UNWRITABLE as error:
                # The driver found a write that it cannot send, before it sent any.
                if is_cut:
                    raise StoreUnavailable(STORE, type(error).__name__) from None
                is_cut = True
                refused += [write for write in writes if not write.cut()]
                writes = [write for write in writes if write not in refused]
                continue
            except BulkWriteError as error:
                index, code = _first_refused(error)
            if code == _DUPLICATE_KEY and writes[index] is not repeated:
                # Two processes may insert the same key at once; the retry succeeds as an update.
                repeated = writes[index]
                writes = writes[index:]
                continue
            logger.warning(
                "%s refused a write to %s: code %s",
                STORE,
                collection,
                code,
                extra={"action": "log_write_refused"},
            )
            refused.append(writes[index])
            writes = writes[index + 1 :]
        return refused

    def _keep(self, group: Sequence[Write]) -> None:
        dropped = len(self._buffer) + len(group) - (self._buffer.maxlen or 0)
        if dropped > 0:
            logger.warning(
                "log buffer is full: %d oldest writes dropped; reconcile restores what is missing",
                dropped,
                extra={"action": "log_writes_dropped"},
            )
        self._buffer.extend(group)


def _size(document: Mapping[str, Any]) -> float:
    """Size of a document in bytes, infinite if it cannot be encoded."""
    try:
        return len(bson.encode(dict(document)))
    except _UNWRITABLE:
        return float("inf")


def _writable(value: Any) -> Any:
    """A value that can be encoded: integers above 64 bit as text, broken Unicode replaced."""
    match value:
        case bool():
            return value
        case int() if value not in _INT64:
            return str(value) if value.bit_length() < 4096 else _NOTE
        case str():
            return value.encode(errors="replace").decode()
        case Mapping():
            return {str(name): _writable(member) for name, member in value.items()}
        case list() | tuple():
            return [_writable(member) for member in value]
    return value


def _first_refused(error: BulkWriteError) -> tuple[int, int | None]:
    """Index and error code of the write that stopped an ordered bulk write."""
    failures = (error.details or {}).get("writeErrors")
    if not failures:  # all was written, but on fewer servers than required
        raise StoreUnavailable(STORE, "write concern not met") from None
    return failures[0]["index"], failures[0].get("code")
