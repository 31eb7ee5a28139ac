"""The national platform of 2018 (Dược Quốc gia) as a `lib.platforms.platform.Platform`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import httpx

from lib.clock import Clock, pharmacy_date, utc_now
from lib.errors import AccountRefused, OutcomeUnknown, Rejected, SyncError, Unavailable
from lib.models import Acceptance, Account, Attempt, Document, Payload
from lib.platforms.dqg.client import NationalApiClient
from lib.platforms.dqg.interpret import parse_lookup, parse_submit
from lib.platforms.dqg.payloads import build_payload
from lib.platforms.dqg.response import Reply
from lib.platforms.platform import Action, CallContext, Lookup
from lib.privacy import PERSONAL_FIELDS
from lib.settings import ApiSettings

logger = logging.getLogger("dqg.platform")

Result = TypeVar("Result")

#: With these the API says that it did not take the call, so it may be made again on the spot.
_ASKS_TO_WAIT = (425, 429)
_SHORT_WAITS = 2


@dataclass(frozen=True, slots=True)
class _Call(Generic[Result]):
    """One call: its request, and what its reply means.

    Attributes:
        interpret: turns a reply into a result; raises SyncError.
        lost: the error where the request left and no reply came.
    """

    action: Action
    request: httpx.Request
    interpret: Callable[[Reply], Result]
    lost: type[SyncError]


class DqgPlatform:
    """Builds, submits and looks up documents; implements `lib.platforms.platform.Platform`.

    Args:
        client: opened and closed by the caller.
        clock: gives the time of the calls and today's date.
        sleep: waits out a short Retry-After.
    """

    spec_version = "dqg-2018"

    def __init__(
        self,
        client: NationalApiClient,
        settings: ApiSettings,
        *,
        clock: Clock = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._sleep = sleep

    def build(self, document: Document) -> Payload:
        """See `Platform.build`."""
        today = pharmacy_date(self._clock())
        return build_payload(document, self._settings, today)

    async def log_in(self, account: Account) -> None:
        """See `Platform.log_in`."""
        await self._client.ensure_logged_in(account)

    async def submit(self, payload: Payload, account: Account, context: CallContext) -> Acceptance:
        """See `Platform.submit`.

        Where the API only says that it has the document already, one look-up fetches the code.
        """

        def interpret(reply: Reply) -> Acceptance:
            return parse_submit(
                payload.resource,
                payload.local_id,
                reply.status,
                reply.headers,
                reply.body,
                self._settings,
                names=_names(payload),
            )

        request = self._client.create(payload.resource, payload.body)
        call = _Call(Action.SUBMIT, request, interpret, lost=OutcomeUnknown)
        acceptance = await self._perform(call, account, context)
        if acceptance.duplicate and acceptance.national_id is None and self._settings.lookup:
            return await self._complete(acceptance, payload, account, context)
        return acceptance

    async def look_up(
        self, payload: Payload, account: Account, context: CallContext
    ) -> Acceptance | Lookup:
        """See `Platform.look_up`. Makes no call where look-ups are switched off.

        Raises:
            WrongEndpoint: by the login, besides the errors of `Platform.look_up`.
        """
        if not self._settings.lookup:
            return Lookup.UNSUPPORTED

        def interpret(reply: Reply) -> Acceptance | Lookup:
            return parse_lookup(
                payload.resource,
                payload.local_id,
                reply.status,
                reply.headers,
                reply.body,
                self._settings,
                names=_names(payload),
            )

        request = self._client.read(payload.resource, payload.pharmacy_code, payload.local_id)
        call = _Call(Action.LOOK_UP, request, interpret, lost=Unavailable)
        return await self._perform(call, account, context)

    async def _perform(self, call: _Call[Result], account: Account, context: CallContext) -> Result:
        """The result of a call: a stale token is replaced once, a short Retry-After waited out."""
        token, is_new = await self._client.token(account)
        waits, said_wait = 0, None
        while True:
            async with self._client.slot(account):
                try:
                    await context.permit(call.action)
                except SyncError:
                    if said_wait is None:
                        raise
                    # What the API said of the first try is what is known of this document.
                    raise said_wait from None
                result = await self._attempt(call, token, context)
            if not isinstance(result, SyncError):
                return result
            if isinstance(result, AccountRefused) and result.http_status == 401:
                await self._client.drop_token(account, token)
                if is_new:  # another login would change nothing
                    raise result
                (token, _), is_new = await self._client.token(account), True
            elif waits < _SHORT_WAITS and (wait := self._short_wait(result)) is not None:
                waits, said_wait = waits + 1, result
                await self._sleep(wait)
            else:
                raise result

    async def _attempt(
        self, call: _Call[Result], token: str, context: CallContext
    ) -> Result | SyncError:
        """One request, noted with what its reply means."""
        at, started = self._clock(), time.perf_counter()
        status: int | None = None
        error_class: str | None = "cancelled"
        try:
            reply = await self._client.send(call.request, token, lost=call.lost)
            status, error_class = reply.status, "unexpected"
            result = call.interpret(reply)
        except SyncError as error:
            error_class = error.error_class
            return error
        else:
            error_class = None
            return result
        finally:
            took = (time.perf_counter() - started) * 1000
            context.note(Attempt(at, call.action, took, status, error_class, self.spec_version))

    def _short_wait(self, error: SyncError) -> float | None:
        """Seconds to wait before the same call is made again, None if it should not be."""
        if not isinstance(error, Unavailable) or error.http_status not in _ASKS_TO_WAIT:
            return None
        wait = error.retry_after
        return wait if wait is not None and wait <= self._settings.short_retry_after else None

    async def _complete(
        self, acceptance: Acceptance, payload: Payload, account: Account, context: CallContext
    ) -> Acceptance:
        """A duplicate with its national code, as far as the API gives it.

        Raises:
            Rejected: a text was read as "already there", and the API says that it is not.
        """
        try:
            found = await self.look_up(payload, account, context)
        except SyncError as error:
            # The document is there whether or not its code can be fetched now.
            logger.warning(
                "%s is accepted, its national code could not be fetched: %s",
                payload.local_id,
                error.message,
                extra={"action": "national_code_missing", "local_id": payload.local_id},
            )
            return acceptance
        if isinstance(found, Acceptance):
            return replace(acceptance, national_id=found.national_id)
        if found is Lookup.ABSENT and acceptance.http_status != 409:
            raise Rejected(
                f"{acceptance.message} (but the API does not know the document)",
                http_status=acceptance.http_status,
                answer=acceptance.answer,
            )
        return acceptance


def _names(payload: Payload) -> tuple[str, ...]:
    """Persons named in the document, kept out of every text."""
    return tuple(str(payload.body[name]) for name in PERSONAL_FIELDS if payload.body.get(name))
