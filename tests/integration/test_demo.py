"""The demo documents: what the plan promises is what our own rules and the sandbox's say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from deployments.local.demo.chain import SHOPS, UNKNOWN_DRUG
from deployments.local.demo.documents import DemoPlan, seed_demo
from deployments.local.sandbox.resources import RESOURCES
from deployments.local.sandbox.rules import KNOWN_DRUGS, check_document
from lib.errors import ConfigurationError, InvalidDocument
from lib.models import Document
from lib.pipelines import PIPELINES
from lib.platforms.dqg.payloads import build_payload
from lib.settings import ApiSettings, SourceSettings
from lib.source.engine import create_source_engine
from lib.source.store import Source, open_source
from lib.source.tables import SourceTables, build_tables

PASSWORDS = {shop.account: f"password-{shop.account}" for shop in SHOPS}


@pytest.fixture
def tables() -> SourceTables:
    return build_tables(SourceSettings())


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    engine = create_source_engine(migrated_url, SourceSettings())
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine, tables: SourceTables) -> Source:
    return open_source(engine, tables)


def _load_all(store: Source) -> list[Document]:
    documents = []
    for pipeline in PIPELINES.values():
        store.claims.claim(pipeline, token="all", limit=10_000, lease=timedelta(minutes=5))
        documents += store.documents.load(pipeline, "all")
    return documents


def _is_acceptable(document: Document) -> bool:
    try:
        payload = build_payload(document, ApiSettings())
    except InvalidDocument:
        return False
    return not check_document(RESOURCES[payload.resource], dict(payload.body))


def _keys(plan: DemoPlan) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
    return (
        {(ref.pipeline, ref.record_id) for ref in plan.succeed},
        {(ref.pipeline, ref.record_id) for ref in plan.fail},
    )


@pytest.mark.parametrize("documents", [None, 400])
def test_the_plan_is_what_the_rules_say(
    engine: Engine, tables: SourceTables, store: Source, documents: int | None
) -> None:
    plan = seed_demo(engine, tables, documents=documents, passwords=PASSWORDS, faulty_share=0.2)
    loaded = _load_all(store)
    acceptable = {(d.ref.pipeline, d.ref.record_id) for d in loaded if _is_acceptable(d)}
    refused = {(d.ref.pipeline, d.ref.record_id) for d in loaded} - acceptable
    assert (acceptable, refused) == _keys(plan)
    assert set(plan.documents) == {document.ref for document in loaded}
    if documents is not None:
        assert len(loaded) == documents


def test_seeding_again_adds_nothing_and_gives_the_same_plan(
    engine: Engine, tables: SourceTables, store: Source
) -> None:
    first = seed_demo(engine, tables, documents=60, seed=7, passwords=PASSWORDS)
    assert seed_demo(engine, tables, documents=60, seed=7, passwords=PASSWORDS) == first
    more = seed_demo(engine, tables, documents=90, seed=7, passwords=PASSWORDS)
    assert set(first.documents) < set(more.documents)
    assert sum(summary.pending for summary in store.counts.summary(list(PIPELINES.values()))) == 90


def test_generated_documents_have_the_shares_that_were_asked_for(
    engine: Engine, tables: SourceTables
) -> None:
    plan = seed_demo(engine, tables, documents=2000, passwords=PASSWORDS, faulty_share=0.03)
    pipelines = Counter(ref.pipeline for ref in plan.documents)
    assert pipelines["sale"] > pipelines["import"] > pipelines["cancellation"] > 100
    assert {ref.shop_pharmacy_code for ref in plan.documents} == {shop.code for shop in SHOPS}
    assert 20 < len(plan.fail) < 120


def test_fewer_documents_than_the_hand_made_ones_may_be_asked_for(
    engine: Engine, tables: SourceTables
) -> None:
    assert len(seed_demo(engine, tables, documents=5, passwords=PASSWORDS).documents) == 5


def test_shops_get_the_passwords_they_were_given(
    engine: Engine, tables: SourceTables, store: Source
) -> None:
    seed_demo(engine, tables, passwords=PASSWORDS)
    accounts = {a.username: a.password.get_secret_value() for a in store.accounts.all()}
    assert accounts == PASSWORDS
    with pytest.raises(ConfigurationError, match="demo_hoasen"):
        seed_demo(engine, tables, passwords={})


def test_the_unknown_drug_is_one_the_sandbox_lacks() -> None:
    assert UNKNOWN_DRUG not in KNOWN_DRUGS
