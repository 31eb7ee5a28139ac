"""Cần xử lý: why documents are not accepted, largest cause first, and sending them again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from starlette.responses import Response

from deployments.console.access import Right, Role, User
from deployments.console.web import Shops, Visitor, require
from lib.models import DocumentRef
from lib.operations.decision import Decision, preview
from lib.operations.operator import Operator
from lib.operations.requeue import read_documents, requeue
from lib.pipelines import get_pipeline
from lib.tracking.failures import FailureFilter, FailureGroup, failure_groups

router = APIRouter()

#: Maximum of failures that are read, newest first, and of documents listed per cause.
_FAILURES = 5000
_LISTED = 200
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason, and the documents that failed for it."""

    group: FailureGroup
    drug_name: str

    @property
    def key(self) -> str:
        return self.group.reason.key

    @property
    def refs(self) -> list[DocumentRef]:
        return sorted(self.group.refs, key=lambda ref: (ref.shop_pharmacy_code, ref.local_id))

    @property
    def shops(self) -> list[str]:
        return sorted({ref.shop_pharmacy_code for ref in self.group.refs})

    @property
    def pipelines(self) -> list[str]:
        return sorted({ref.pipeline for ref in self.group.refs})

    @property
    def examples(self) -> list[DocumentRef]:
        return self.refs[:_EXAMPLES]


@router.get("/causes")
async def causes(visitor: Annotated[Visitor, Depends(require(Right.CAUSES))]) -> Response:
    operator, shops = await visitor.console.operator()
    found = await read_causes(operator, visitor.user)
    documents = {ref for cause in found for ref in cause.group.refs}
    return visitor.page("causes.html", causes=found, shops=shops, documents=len(documents))


@router.get("/causes/{key}")
async def cause(key: str, visitor: Annotated[Visitor, Depends(require(Right.CAUSES))]) -> Response:
    operator, shops = await visitor.console.operator()
    found = await _one(operator, visitor.user, key)
    decisions = [preview(d) for d in await read_documents(operator, found.refs)]
    return _cause_page(visitor, found, shops, decisions)


@router.post("/causes/{key}/requeue")
async def send_again(
    key: str, visitor: Annotated[Visitor, Depends(require(Right.REQUEUE))]
) -> Response:
    operator, shops = await visitor.console.operator()
    found = await _one(operator, visitor.user, key)
    decisions = [preview(d) for d in await read_documents(operator, found.refs)]
    why = visitor.value("why")
    if visitor.value("scope") != "all":
        chosen = set(visitor.form.get("document", ()))
        decisions = [decision for decision in decisions if name_of(decision.ref) in chosen]
    if not why or not decisions:
        problem = "why" if not why else "none"
        everything = [preview(d) for d in await read_documents(operator, found.refs)]
        return _cause_page(visitor, found, shops, everything, problem=problem)
    await requeue(operator, decisions, by=visitor.user.name, why=why)
    return visitor.page(
        "requeued.html",
        decisions=decisions,
        shops=shops,
        done=sum(d.done is True for d in decisions),
    )


def _cause_page(
    visitor: Visitor,
    found: Cause,
    shops: Shops,
    decisions: list[Decision],
    problem: str | None = None,
) -> Response:
    return visitor.page(
        "cause.html",
        status=200 if problem is None else 422,
        cause=found,
        shops=shops,
        decisions=decisions[:_LISTED],
        total=len(decisions),
        possible=sum(decision.done is None for decision in decisions),
        name_of=name_of,
        problem=problem,
        why=visitor.value("why"),
    )


def name_of(ref: DocumentRef) -> str:
    """The key of a document in a form."""
    return f"{ref.pipeline}/{ref.record_id}"


async def read_causes(operator: Operator, user: User) -> list[Cause]:
    """The causes of open failures that a user sees, largest first.

    Raises:
        StoreUnavailable.
    """
    wanted = FailureFilter(shops=user.shops if user.role is Role.SHOP else None)
    groups = await failure_groups(operator.failures, operator.source, wanted, limit=_FAILURES)
    examples: dict[str, list[int]] = defaultdict(list)
    for group in groups:
        if group.reason.drug_code:
            examples[group.failures[0]["pipeline"]].append(group.failures[0]["record_id"])
    names: dict[str, str] = {}
    for pipeline, ids in examples.items():
        names |= await asyncio.to_thread(
            operator.source.documents.drug_names, get_pipeline(pipeline), ids
        )
    return [Cause(group, names.get(group.reason.drug_code, "")) for group in groups]


async def _one(operator: Operator, user: User, key: str) -> Cause:
    for found in await read_causes(operator, user):
        if found.key == key:
            return found
    raise HTTPException(404)
