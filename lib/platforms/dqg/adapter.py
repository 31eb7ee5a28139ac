"""The national platform of 2018 (Dược Quốc gia) as a `lib.platforms.platform.Platform`."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

import httpx

from lib.errors import (
    Forbidden,
    OutcomeUnknown,
    PossibleDuplicateUnknown,
    Rejected,
    SyncError,
    Unavailable,
)
from lib.models import Acceptance, Account, Attempt, Document, Payload
from lib.pipelines import pharmacy_date
from lib.platforms.dqg.client import NationalApiClient
from lib.platforms.dqg.interpret import PossibleDuplicate, parse_lookup, parse_submit
from lib.platforms.dqg.payloads import build_payload
from lib.platforms.dqg.response import Reply
from lib.platforms.platform import Action, CallContext, Lookup
from lib.sanitize import PERSONAL_FIELDS
from lib.settings import ApiSettings, Language
from lib.words.language import Phrase

logger = logging.getLogger("dqg.platform")

Result = TypeVar("Result")

#: With these the API states that it did not process the call, so it may be retried at once.
_ASKS_TO_WAIT = (425, 429)
_SHORT_WAITS = 2
#: Delay before the single retry of a call that was refused right after its login.
_APART_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Call(Generic[Result]):
    """One call: its request, and what its reply means.

    Attributes:
        interpret: turns a reply into a result; raises SyncError.
        lost: the error if the request was sent and no reply arrived.
    """

    action: Action
    request: httpx.Request
    interpret: Callable[[Reply], Result]
    lost: type[SyncError]


class DqgPlatform:
    """Builds, submits and looks up documents; implements `lib.platforms.platform.Platform`.

    Args:
        client: opened and closed by the caller.
        language: of the findings of our own validation.
        clock: gives the time of the calls and today's date.
        sleep: waits out a short Retry-After.
    """

    spec_version = "dqg-2018"

    def __init__(
        self,
        client: NationalApiClient,
        settings: ApiSettings,
        *,
        language: Language = Language.VIETNAMESE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._settings = settings
        self._language = language
        self._clock = clock
        self._sleep = sleep
        #: Resources whose look-ups were answered, and those without a route for look-ups.
        self._answered: set[str] = set()
        self._without_look_up: set[str] = set()

    def build(self, document: Document) -> Payload:
        """See `Platform.build`."""
        today = pharmacy_date(self._clock())
        return build_payload(document, self._settings, today, language=self._language)

    async def log_in(self, account: Account) -> None:
        """See `Platform.log_in`."""
        await self._client.ensure_logged_in(account)

    async def submit(
        self,
        payload: Payload,
        account: Account,
        context: CallContext,
        *,
        unconfirmed: bool = False,
    ) -> Acceptance:
        """See `Platform.submit`.

        If the API only reports that it already has the document, a look-up fetches the code.
        """

        def interpret(reply: Reply) -> Acceptance:
            has_look_up = self._can_be_asked(payload.resource)
            return self._acceptance(payload, reply, has_look_up, unconfirmed)

        request = self._client.create(payload.resource, payload.body)
        call = _Call(Action.SUBMIT, request, interpret, lost=OutcomeUnknown)
        try:
            acceptance = await self._perform(call, account, context)
        except PossibleDuplicate as doubt:
            return await self._verified(doubt, payload, account, context)
        is_known = not acceptance.duplicate or acceptance.national_id is not None
        if is_known or not self._can_be_asked(payload.resource):
            return acceptance
        return await self._verified(acceptance, payload, account, context)

    async def update(self, payload: Payload, account: Account, context: CallContext) -> Acceptance:
        """See `Platform.update`."""

        def interpret(reply: Reply) -> Acceptance:
            answer = self._acceptance(payload, reply, has_look_up=False)
            if answer.duplicate:
                raise Rejected(
                    Phrase("the API does not accept the update: {text}", text=answer.message),
                    http_status=answer.http_status,
                    answer=answer.answer,
                )
            return answer

        request = self._client.replace(payload.resource, payload.body)
        call = _Call(Action.UPDATE, request, interpret, lost=OutcomeUnknown)
        return await self._perform(call, account, context)

    def _acceptance(
        self, payload: Payload, reply: Reply, has_look_up: bool, unconfirmed: bool = False
    ) -> Acceptance:
        """The meaning of the reply to a POST or PUT; raises SyncError."""
        return parse_submit(
            reply,
            payload.resource,
            payload.local_id,
            self._settings,
            names=_names(payload),
            has_look_up=has_look_up,
            unconfirmed=unconfirmed,
        )

    async def look_up(
        self, payload: Payload, account: Account, context: CallContext
    ) -> Acceptance | Lookup:
        """See `Platform.look_up`. Makes no call if look-ups are switched off.

        Raises:
            WrongEndpoint: from the login, in addition to the errors of `Platform.look_up`.
        """
        if not self._settings.lookup:
            return Lookup.UNSUPPORTED

        def interpret(reply: Reply) -> Acceptance | Lookup:
            found = parse_lookup(
                reply,
                payload.resource,
                payload.local_id,
                self._settings,
                names=_names(payload),
                payload=payload,
            )
            self._remember(payload.resource, found, reply.status)
            return found

        request = self._client.read(payload.resource, payload.pharmacy_code, payload.local_id)
        call = _Call(Action.LOOK_UP, request, interpret, lost=Unavailable)
        return await self._perform(call, account, context)

    async def _perform(self, call: _Call[Result], account: Account, context: CallContext) -> Result:
        """The result of a call; replaces a stale token and waits for a short Retry-After."""
        token, is_new = await self._client.token(account)
        waits, said_wait, tried_again = 0, None, False
        while True:
            async with self._client.slot(account):
                try:
                    await context.permit(call.action)
                except SyncError:
                    if said_wait is None:
                        raise
                    # The API's answer to the earlier attempt is what is known of this document.
                    raise said_wait from None
                result = await self._attempt(call, token, context)
            if not isinstance(result, SyncError):
                return result
            if isinstance(result, Forbidden) and result.of_token:
                await self._client.drop_token(account, token)
                if is_new:
                    if tried_again:
                        raise result
                    # An API with one session per account ends it when another process logs in,
                    # as happens while Redis is unavailable. A random delay lets one of them pass.
                    tried_again = True
                    await self._sleep(_APART_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
                (token, _), is_new = await self._client.token(account), True
            elif waits < _SHORT_WAITS and (wait := self._short_wait(result)) is not None:
                waits, said_wait = waits + 1, result
                await self._sleep(wait)
            else:
                raise result

    async def _attempt(
        self, call: _Call[Result], token: str, context: CallContext
    ) -> Result | SyncError:
        """One request, noted together with the meaning of its reply."""
        at, started = self._clock(), time.perf_counter()
        status: int | None = None
        error_class: str | None = "cancelled"
        call.request.extensions["trace"] = _at_the_first_byte(context.ensure_held)
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
        """Seconds to wait before the call is retried, None if it should not be retried here."""
        if not isinstance(error, Unavailable) or error.http_status not in _ASKS_TO_WAIT:
            return None
        wait = error.retry_after
        return wait if wait is not None and wait <= self._settings.short_retry_after else None

    def _can_be_asked(self, resource: str) -> bool:
        return self._settings.lookup and resource not in self._without_look_up

    def _remember(self, resource: str, found: Acceptance | Lookup, status: int) -> None:
        """Notes whether the API answers look-ups of a resource.

        Raises:
            Unavailable: it answered one before, so the missing route is a transient fault.
        """
        if found is not Lookup.UNSUPPORTED:
            self._answered.add(resource)
            self._without_look_up.discard(resource)
        elif resource in self._answered:
            raise Unavailable(
                Phrase(
                    "HTTP {status} for a look-up of {resource}, although earlier look-ups were "
                    "answered; if the API no longer supports look-ups, set DQG_API__LOOKUP=false",
                    status=status,
                    resource=resource,
                ),
                http_status=status,
            )
        else:
            self._without_look_up.add(resource)

    async def _verified(
        self,
        claimed: Acceptance | PossibleDuplicate,
        payload: Payload,
        account: Account,
        context: CallContext,
    ) -> Acceptance:
        """A duplicate after a look-up has checked it, with its national code.

        Args:
            claimed: an acceptance if the API's text is about the document itself.

        Raises:
            Rejected: the look-up shows that the API does not have the document.
            OutcomeUnknown: it may be a duplicate, and the look-up gives no answer now.
        """
        sure = isinstance(claimed, Acceptance)
        acceptance = claimed if isinstance(claimed, Acceptance) else claimed.acceptance
        try:
            found = await self.look_up(payload, account, context)
        except SyncError as error:
            logger.warning(
                "%s may be a duplicate, but cannot be looked up: %s",
                payload.local_id,
                error.message,
                extra={"action": "duplicate_not_looked_up", "local_id": payload.local_id},
            )
            if sure:
                return acceptance
            raise PossibleDuplicateUnknown(
                Phrase(
                    "{text} (may be a duplicate; the look-up: {why})",
                    text=claimed.message,
                    why=error.message,
                ),
                http_status=acceptance.http_status,
                answer=acceptance.answer,
            ) from None
        if isinstance(found, Acceptance):
            national_id = found.national_id or acceptance.national_id
            return replace(acceptance, national_id=national_id, compared=found.compared)
        if found is Lookup.ABSENT:
            raise Rejected(
                Phrase("{text} (the API does not have the document)", text=claimed.message),
                http_status=acceptance.http_status,
                answer=acceptance.answer,
            )
        without_look_up = acceptance if isinstance(claimed, Acceptance) else claimed.without_look_up
        if isinstance(without_look_up, SyncError):
            raise without_look_up
        return without_look_up


def _at_the_first_byte(check: Callable[[], None]) -> Callable[[str, object], Awaitable[None]]:
    """A "trace" extension of an httpx request that calls `check` when its connection is ready."""

    async def trace(event: str, _: object) -> None:
        if event.endswith("send_request_headers.started"):
            check()

    return trace


def _names(payload: Payload) -> tuple[str, ...]:
    """Names of persons in the document, to be removed from every text."""
    return tuple(str(payload.body[name]) for name in PERSONAL_FIELDS if payload.body.get(name))
