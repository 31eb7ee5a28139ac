"""What is not complete yet, or may still be under way, is neither sent nor sent again."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update

from flows.pipelines import sale
from lib.models import DocumentRef
from lib.pipelines import SALE
from lib.source.dialects import local_in, utc_in
from lib.source.store import open_source
from tests.support.source import LEASE, Database
from tests.support.system import System

#: Longer than any test.
SETTLE = 600
LONG_AGO = {"settles_at": datetime(2020, 1, 1)}  # noqa: DTZ001 - as the column keeps it


class TestACallWithoutAClearEnd:
    """A look-up that does not find the document proves something only once the call is over."""

    pytestmark = pytest.mark.anyio

    @pytest.mark.settings(api={"settle_seconds": SETTLE})
    async def test_what_is_found_late_was_not_sent_again_before(self, system: System) -> None:
        """The API takes the document, and a look-up does not find it for a while."""
        system.add("sale", "HD-1")
        system.admin.add_fault("reset", operation="create", after_store=True, times=1)
        absent = system.admin.add_fault(
            "status",
            operation="lookup",
            status=404,
            body={"code": 404, "mess": "Không tìm thấy hóa đơn HD-1"},
        )
        await _send(system)
        assert _claim(system) == ()
        await sale(local_invoice_id="HD-1", return_state=True)
        assert system.admin.summary()["faults_fired"][absent] == 1
        assert (_posts(system), system.document("sale", "HD-1").attempts) == (1, 1)

        system.admin.clear_faults(absent)
        await sale(local_invoice_id="HD-1", return_state=True)
        assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"
        assert (_posts(system), system.accepted("sale", "HD-1")) == (1, 1)

    @pytest.mark.settings(api={"settle_seconds": SETTLE})
    @pytest.mark.parametrize("lookup", ["on", "off"])
    async def test_a_gateway_that_gives_up_is_not_asked_to_store_it_again_at_once(
        self, system: System, lookup: str
    ) -> None:
        system.admin.set_options(lookup=lookup)
        system.add("sale", "HD-1")
        system.admin.add_fault("status", operation="create", status=504, times=1)
        await _send(system)
        document = system.document("sale", "HD-1")
        assert (document.status, document.unconfirmed) == ("PENDING_SYNC", True)
        assert (document.attempts, _posts(system)) == (1, 1)
        assert document.delivery.unsettled > SETTLE / 2
        assert _claim(system) == ()  # nor is it claimed in vain

        system.change("sale", "HD-1", **LONG_AGO)
        await _send(system)
        assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"
        assert (_posts(system), system.accepted("sale", "HD-1")) == (2, 1)

    @pytest.mark.settings(api={"settle_seconds": SETTLE})
    async def test_a_vanished_holders_call_is_waited_for_as_well(self, system: System) -> None:
        record_id = system.add("sale", "HD-1")
        (ref,) = _claim(system, "gone")
        call = timedelta(seconds=SETTLE)
        assert system.source.claims.mark_sending(SALE, "gone", {record_id: None}, call)

        await sale(claim_token="gone", return_state=True)  # the same run once more
        assert (_posts(system), system.document("sale", ref.local_id).attempts) == (0, 0)

        state = await sale(local_invoice_id="HD-1", return_state=True)
        assert (state.name, state.is_completed()) == ("Waiting", True)
        assert "vẫn đang được xử lý" in (state.message or "")
        assert _posts(system) == 0

    @pytest.mark.settings(api={"settle_seconds": SETTLE})
    async def test_a_call_that_is_refused_needs_no_settling(self, system: System) -> None:
        system.add("sale", "HD-1")
        system.admin.add_fault("status", operation="create", status=429, times=1)
        await _send(system)
        assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"
        assert _posts(system) == 2


@pytest.mark.parametrize("seconds", [0, -30])
def test_a_row_that_was_just_written_is_left_for_the_next_claim(db: Database, seconds: int) -> None:
    written, old, ahead = db.add(SALE, "HD-1", lines=0), db.add(SALE, "HD-2"), db.add(SALE, "HD-3")
    _touch(db, written, seconds)
    # By a clock that is ahead: it may be so for hours.
    _touch(db, ahead, 3600)
    source = open_source(db.engine, db.tables, settle=timedelta(minutes=5))

    claim = source.claims.claim(SALE, token="token-1", limit=10, lease=LEASE)
    assert [ref.record_id for ref in claim.documents] == [old, ahead]

    _touch(db, written, -301)
    claim = source.claims.claim(SALE, token="token-2", limit=10, lease=LEASE)
    assert [ref.record_id for ref in claim.documents] == [written]


def _touch(db: Database, record_id: int, seconds: int) -> None:
    header = db.tables.header(SALE)
    with db.engine.begin() as connection:
        connection.execute(
            update(header).where(header.c.id == record_id).values(updated_at=local_in(seconds))
        )


def _claim(system: System, token: str = "") -> tuple[DocumentRef, ...]:
    claim = system.source.claims.claim(
        SALE, token=token or str(uuid4()), limit=10, lease=timedelta(seconds=60)
    )
    return claim.documents


async def _send(system: System) -> None:
    system.change("sale", "HD-1", next_attempt_at=utc_in(-1))
    token = str(uuid4())
    assert _claim(system, token)
    await sale(claim_token=token, return_state=True)


def _posts(system: System) -> int:
    return int(system.admin.summary()["posts"])
