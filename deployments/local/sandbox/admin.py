"""The admin API under `/_sandbox/`: behaviour, faults, counters."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployments.local.sandbox.faults import Fault
from deployments.local.sandbox.state import Sandbox
from deployments.local.sandbox.store import DocumentCounters


class AccountChange(BaseModel):
    """A new password; a new account also needs a facility."""

    model_config = ConfigDict(extra="forbid")

    pwd: str = Field(min_length=1)
    ma_co_so: str | None = None


class WhoseTokens(BaseModel):
    """An account, or all of them."""

    model_config = ConfigDict(extra="forbid")

    usr: str | None = None


def admin_router(sandbox: Sandbox) -> APIRouter:
    """Routes of one sandbox. All handlers are coroutines, so that they run on its event loop."""
    router = APIRouter(prefix="/_sandbox")
    _add_behaviour(router, sandbox)
    _add_counters(router, sandbox)
    return router


def _add_behaviour(router: APIRouter, sandbox: Sandbox) -> None:
    @router.get("/options")
    async def options() -> dict[str, Any]:
        return sandbox.options.model_dump()

    @router.put("/options")
    async def set_options(changes: dict[str, Any]) -> dict[str, Any]:
        try:
            return sandbox.set_options(changes).model_dump()
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_context=False)) from None

    @router.get("/faults")
    async def faults() -> list[dict[str, Any]]:
        return list(sandbox.faults)

    @router.post("/faults", status_code=201)
    async def add_fault(fault: Fault) -> dict[str, str]:
        return {"id": sandbox.faults.add(fault)}

    @router.delete("/faults")
    async def clear_faults() -> dict[str, str]:
        sandbox.faults.clear()
        return {"status": "ok"}

    @router.delete("/faults/{fault_id}")
    async def remove_fault(fault_id: str) -> dict[str, str]:
        if not sandbox.faults.remove(fault_id):
            raise HTTPException(404, f"no fault {fault_id}")
        return {"status": "ok"}

    @router.post("/tokens/forget")
    async def forget_tokens(
        whose: WhoseTokens | None = None,
    ) -> dict[str, int]:
        return {"forgotten": sandbox.sessions.forget(whose.usr if whose else None)}

    @router.put("/accounts/{usr}")
    async def set_account(usr: str, change: AccountChange) -> dict[str, str]:
        try:
            sandbox.sessions.set_account(usr, change.pwd, change.ma_co_so)
        except KeyError:
            raise HTTPException(404, f"no account {usr}; a new one needs ma_co_so") from None
        return {"status": "ok"}

    @router.post("/reset")
    async def reset() -> dict[str, str]:
        sandbox.reset()
        return {"status": "ok"}

    @router.post("/snapshots", status_code=201)
    async def take_snapshot() -> dict[str, int]:
        return {"number": sandbox.take_snapshot()}

    @router.post("/snapshots/{number}/restore")
    async def restore(number: int) -> dict[str, str]:
        try:
            sandbox.restore(number)
        except IndexError:
            raise HTTPException(404, f"no snapshot {number}") from None
        return {"status": "ok"}


def _add_counters(router: APIRouter, sandbox: Sandbox) -> None:
    @router.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/summary")
    async def summary() -> dict[str, Any]:
        return sandbox.summary()

    @router.get("/documents", response_model=None)
    async def documents(
        resource: str | None = None,
        ma_co_so: str | None = None,
        code: str | None = None,
        refused: bool = False,
        body: bool = False,
    ) -> list[DocumentCounters | dict[str, Any]]:
        """Documents that were ever accepted; with `refused`, also those that never were."""
        return [
            {**record.counters(), "body": record.body} if body else record.counters()
            for record in sandbox.documents
            if (refused or record.accepted)
            and resource in (None, record.key.resource)
            and ma_co_so in (None, record.key.ma_co_so)
            and code in (None, record.key.code)
        ]

    @router.get("/calls", response_model=None)
    async def calls(since: int = 0) -> dict[str, Any]:
        return {
            "last": sandbox.calls.last,
            "calls": [call.as_dict() for call in sandbox.calls.since(since)],
        }
