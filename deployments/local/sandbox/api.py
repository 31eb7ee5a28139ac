"""The API's own endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deployments.local.sandbox import answers, effects
from deployments.local.sandbox.accounts import SandboxAccount
from deployments.local.sandbox.answers import Refusal
from deployments.local.sandbox.calls import Call
from deployments.local.sandbox.incoming import Incoming, read_json
from deployments.local.sandbox.resources import RESOURCES, Resource
from deployments.local.sandbox.rules import check_document
from deployments.local.sandbox.state import Sandbox
from deployments.local.sandbox.store import DocumentKey, DocumentRecord

_USR_LIMIT, _PWD_LIMIT = 50, 30


class NationalApi:
    """Handlers of one sandbox.

    Reading the body and waiting happen before; deciding on a call and storing its document is one
    synchronous step, so that two calls with the same code never both see it as missing.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        documents = "/api/lien_thong/{resource}"
        return [
            Route("/api/tai_khoan/dang_nhap", self.log_in, methods=["POST"]),
            Route(documents, self.create, methods=["POST"]),
            Route(documents, self.update, methods=["PUT"]),
            # The server decodes %2F before routing, so the code is the rest of the path.
            Route(documents + "/{ma_co_so}/{code:path}", self.look_up, methods=["GET"]),
            Route(documents + "/{ma_co_so}/{code:path}", self.delete, methods=["DELETE"]),
        ]

    async def log_in(self, request: Request) -> Response:
        incoming = await read_json(request)
        usr = incoming.text("usr")
        account = self._sandbox.sessions.account(usr) if usr else None
        ma_co_so = account.ma_co_so if account else None
        with self._sandbox.calls.record("login", usr=usr, ma_co_so=ma_co_so) as call:
            return await self._serve(request, call, lambda: self._log_in(incoming))

    async def create(self, request: Request) -> Response:
        resource = _resource(request)
        incoming = await read_json(request)
        ma_co_so, code = incoming.text("ma_co_so"), incoming.text(resource.code_field)
        with self._sandbox.calls.record(
            "create", resource=resource.name, ma_co_so=ma_co_so, code=code, usr=self._usr(request)
        ) as call:
            record = None
            if ma_co_so and code:
                record = self._sandbox.documents.record(DocumentKey(resource.name, ma_co_so, code))
                record.posts += 1
            return await self._serve(
                request, call, lambda: self._create(request, resource, incoming, record)
            )

    async def update(self, request: Request) -> Response:
        resource = _resource(request)
        incoming = await read_json(request)
        ma_co_so, code = incoming.text("ma_co_so"), incoming.text(resource.code_field)
        with self._sandbox.calls.record(
            "update", resource=resource.name, ma_co_so=ma_co_so, code=code, usr=self._usr(request)
        ) as call:
            return await self._serve(
                request, call, lambda: self._update(request, resource, incoming)
            )

    async def look_up(self, request: Request) -> Response:
        resource, key = _resource(request), _key(request)
        with self._sandbox.calls.record("lookup", **key._asdict(), usr=self._usr(request)) as call:
            self._sandbox.documents.record(key).lookups += 1
            return await self._serve(request, call, lambda: self._look_up(request, resource, key))

    async def delete(self, request: Request) -> Response:
        resource, key = _resource(request), _key(request)
        with self._sandbox.calls.record("delete", **key._asdict(), usr=self._usr(request)) as call:
            return await self._serve(request, call, lambda: self._delete(request, resource, key))

    async def _serve(
        self, request: Request, call: Call, handle: Callable[[], Response]
    ) -> Response:
        sandbox = self._sandbox
        applied = sandbox.faults.apply(call)
        call.faults = applied.ids
        delay = sandbox.options.latency_ms + applied.delay_ms
        if delay > 0:
            await asyncio.sleep(delay / 1000)
        fault = applied.effect
        if fault is None:
            response = self._answer(handle)
        else:
            if fault.happens_after_store:
                self._answer(handle)
            response = await effects.apply(fault, request)
        if not isinstance(response, effects.NoAnswer):
            call.status = response.status_code
        return response

    def _answer(self, handle: Callable[[], Response]) -> Response:
        try:
            return handle()
        except Refusal as refusal:
            return answers.refused(self._sandbox.options, refusal)

    def _log_in(self, incoming: Incoming) -> Response:
        options = self._sandbox.options
        if incoming.refusal is not None and incoming.refusal.status == 400:
            return answers.login_refused(options, incoming.refusal.text)
        body = incoming.require()
        for name, limit in (("usr", _USR_LIMIT), ("pwd", _PWD_LIMIT)):
            value = body.get(name)
            if not isinstance(value, str) or not value:
                return answers.login_refused(options, f"{name} không được để trống")
            if len(value) > limit:
                return answers.login_refused(options, f"{name} vượt quá {limit} ký tự")
        token = self._sandbox.sessions.log_in(body["usr"], body["pwd"], options)
        if token is None:
            return answers.login_refused(options, "Sai tên đăng nhập hoặc mật khẩu")
        return answers.login_succeeded(options, token)

    def _create(
        self,
        request: Request,
        resource: Resource,
        incoming: Incoming,
        record: DocumentRecord | None,
    ) -> Response:
        try:
            body = self._checked(request, resource, incoming)
        except Refusal:
            if record is not None:
                record.refused += 1
            raise
        if record is None:
            raise AssertionError("a document that passed the rules has a code")
        if record.stored and (answer := self._duplicate(resource, record)) is not None:
            return answer
        self._sandbox.documents.accept(record.key, body)
        return self._accepted(resource, record)

    def _duplicate(self, resource: Resource, record: DocumentRecord) -> Response | None:
        """The answer to a code that is already stored; None to store it again."""
        options = self._sandbox.options
        kind = "reject" if resource.name in options.reject_duplicates_for else options.duplicates
        if kind == "accept":
            return None
        record.duplicates += 1
        if kind == "same":
            return self._accepted(resource, record)
        text = f"Mã {resource.label} {record.key.code} đã tồn tại"
        if kind == "reject200":
            return answers.coded(options, 400, text)
        raise Refusal(409, text, about_document=True)

    def _update(self, request: Request, resource: Resource, incoming: Incoming) -> Response:
        body = self._checked(request, resource, incoming)
        key = DocumentKey(resource.name, body["ma_co_so"], body[resource.code_field])
        record = self._stored(resource, key)
        record.body = body
        record.updates += 1
        return self._accepted(resource, record)

    def _look_up(self, request: Request, resource: Resource, key: DocumentKey) -> Response:
        options = self._sandbox.options
        kind = "off" if resource.name in options.no_lookup_for else options.lookup
        if kind != "on":
            status, text = (405, "Method Not Allowed") if kind == "off" else (404, "Not Found")
            return answers.json_answer({"detail": text}, status)
        self._check_facility(self._authorised(request), key.ma_co_so)
        record = self._stored(resource, key)
        text = f"Tìm thấy {resource.label} {key.code}"
        return answers.coded(options, 200, text, {resource.national_field: record.national_id})

    def _delete(self, request: Request, resource: Resource, key: DocumentKey) -> Response:
        self._check_facility(self._authorised(request), key.ma_co_so)
        self._sandbox.documents.delete(self._stored(resource, key))
        return answers.coded(self._sandbox.options, 200, f"Đã xóa {resource.label} {key.code}")

    def _checked(self, request: Request, resource: Resource, incoming: Incoming) -> dict[str, Any]:
        account = self._authorised(request)
        body = incoming.require()
        if incoming.text("ma_co_so"):
            self._check_facility(account, body["ma_co_so"])
        problems = check_document(
            resource,
            body,
            known_drugs=self._sandbox.known_drugs,
            allow_fractions=self._sandbox.options.allow_fractions,
        )
        if problems:
            raise Refusal.of_problems(problems)
        return body

    def _account(self, request: Request) -> SandboxAccount | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        return self._sandbox.sessions.account_of(token.strip())

    def _usr(self, request: Request) -> str | None:
        account = self._account(request)
        return account.usr if account else None

    def _authorised(self, request: Request) -> SandboxAccount:
        account = self._account(request)
        if account is None:
            raise Refusal(401, "Token không hợp lệ hoặc đã hết hạn")
        limit = self._sandbox.options.rate_limit
        if limit and not self._sandbox.limiter.take(account.usr, limit):
            raise Refusal(429, "Gửi quá nhiều yêu cầu", headers={"Retry-After": "1"})
        return account

    def _check_facility(self, account: SandboxAccount, ma_co_so: str) -> None:
        if self._sandbox.options.check_facility and account.ma_co_so != ma_co_so:
            raise Refusal(403, f"Tài khoản không có quyền với cơ sở {ma_co_so}")

    def _stored(self, resource: Resource, key: DocumentKey) -> DocumentRecord:
        record = self._sandbox.documents.stored(key)
        if record is None:
            raise Refusal(404, f"Không tìm thấy {resource.label} {key.code}")
        return record

    def _accepted(self, resource: Resource, record: DocumentRecord) -> Response:
        return answers.document_accepted(
            self._sandbox.options,
            resource,
            code=record.key.code,
            national_id=str(record.national_id),
        )


def _resource(request: Request) -> Resource:
    resource = RESOURCES.get(request.path_params["resource"])
    if resource is None:
        raise HTTPException(404)
    return resource


def _key(request: Request) -> DocumentKey:
    key = DocumentKey(**request.path_params)
    if not key.code:
        raise HTTPException(404)
    return key
