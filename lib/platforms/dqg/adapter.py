"""The national platform of 2018 (Dược Quốc gia) as a `lib.platforms.platform.Platform`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lib.clock import Clock, pharmacy_date, utc_now
from lib.errors import Rejected, SyncError
from lib.models import Acceptance, Account, Attempt, Document, Payload
from lib.platforms.dqg.client import Call, CallObserver, NationalApiClient
from lib.platforms.dqg.interpret import parse_lookup, parse_submit
from lib.platforms.dqg.payloads import build_payload
from lib.platforms.dqg.response import Reply
from lib.platforms.platform import AttemptObserver, Gate, Lookup, open_gate
from lib.privacy import PERSONAL_FIELDS
from lib.settings import ApiSettings

logger = logging.getLogger("dqg.platform")

Parser = Callable[[Reply], Any]


class DqgPlatform:
    """Builds, submits and looks up documents; implements `lib.platforms.platform.Platform`.

    Args:
        client: opened and closed by the caller.
        clock: tells today's date.
    """

    spec_version = "dqg-2018"

    def __init__(
        self, client: NationalApiClient, settings: ApiSettings, *, clock: Clock = utc_now
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock

    def build(self, document: Document) -> Payload:
        """See `Platform.build`."""
        today = pharmacy_date(self._clock())
        return build_payload(document, self._settings, today)

    async def submit(
        self,
        payload: Payload,
        account: Account,
        observe: AttemptObserver,
        gate: Gate = open_gate,
    ) -> Acceptance:
        """See `Platform.submit`.

        Where the API only says that it has the document already, one look-up fetches the code.
        """

        def parse(reply: Reply) -> Acceptance:
            return parse_submit(
                payload.resource,
                payload.local_id,
                reply.status,
                reply.headers,
                reply.body,
                self._settings,
                names=_names(payload),
            )

        reply = await self._client.create(
            payload.resource, payload.body, account, self._observer("submit", parse, observe), gate
        )
        acceptance = parse(reply)
        if acceptance.duplicate and acceptance.national_id is None and self._settings.lookup:
            return await self._complete(acceptance, payload, account, observe)
        return acceptance

    async def look_up(
        self,
        payload: Payload,
        account: Account,
        observe: AttemptObserver,
        gate: Gate = open_gate,
    ) -> Acceptance | Lookup:
        """See `Platform.look_up`. Makes no call where look-ups are switched off.

        Raises:
            WrongEndpoint: by the login, besides the errors of `Platform.look_up`.
        """
        if not self._settings.lookup:
            return Lookup.UNSUPPORTED

        def parse(reply: Reply) -> Acceptance | Lookup:
            return parse_lookup(
                payload.resource,
                payload.local_id,
                reply.status,
                reply.headers,
                reply.body,
                self._settings,
                names=_names(payload),
            )

        reply = await self._client.read(
            payload.resource,
            payload.pharmacy_code,
            payload.local_id,
            account,
            self._observer("look_up", parse, observe),
            gate,
        )
        return parse(reply)

    async def _complete(
        self, acceptance: Acceptance, payload: Payload, account: Account, observe: AttemptObserver
    ) -> Acceptance:
        """A duplicate with its national code, as far as the API gives it.

        Raises:
            Rejected: a text was read as "already there", and the API says that it is not.
        """
        try:
            found = await self.look_up(payload, account, observe)
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

    def _observer(self, action: str, parse: Parser, observe: AttemptObserver) -> CallObserver:
        """Turns the client's calls into attempts, each with the class of its own error."""

        def report(call: Call) -> None:
            error_class = None if call.error is None else call.error.error_class
            if call.reply is not None:
                try:
                    parse(call.reply)
                except SyncError as error:
                    error_class = error.error_class
            elif call.error is None:
                error_class = "cancelled"
            observe(
                Attempt(
                    at=call.at,
                    action=action,
                    duration_ms=call.duration_ms,
                    http_status=None if call.reply is None else call.reply.status,
                    error_class=error_class,
                    spec_version=self.spec_version,
                )
            )

        return report


def _names(payload: Payload) -> tuple[str, ...]:
    """Persons named in the document, kept out of every text."""
    return tuple(str(payload.body[name]) for name in PERSONAL_FIELDS if payload.body.get(name))
