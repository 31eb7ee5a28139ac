"""Tables with a number as status: the recipe that gives the service views of the standard shape."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from deployments.local.supervisor.stack import ROOT
from deployments.migrations import SYNC, migrate
from lib.models import Outcome, OutcomeKind
from lib.pipelines import PIPELINES, SALE
from lib.settings import SourceSettings
from lib.source import inspection
from lib.source.engine import create_source_engine
from lib.source.store import Source, open_source
from lib.source.tables import build_tables

RECIPE = ROOT / "deployments" / "migrations" / "recipes" / "integer_status_postgresql.sql"
SETTINGS = SourceSettings(db_schema="dqg")
TABLES = build_tables(SETTINGS)

_SHARED = """
    ma_co_so varchar(50) NOT NULL, ma_cua_hang varchar(50) NOT NULL,
    trang_thai integer NOT NULL DEFAULT 0, thong_bao text,
    ngay_tao timestamp NOT NULL DEFAULT LOCALTIMESTAMP, ngay_cap_nhat timestamp"""
_LINE = """
    so_dong integer NOT NULL, ma_thuoc varchar(50) NOT NULL, ten_thuoc varchar(500) NOT NULL,
    so_lo varchar(50) NOT NULL, ngay_san_xuat date, han_dung date NOT NULL,
    so_dang_ky varchar(50), so_luong numeric(18, 2) NOT NULL, don_gia numeric(18, 2) NOT NULL,
    don_vi_tinh varchar(50) NOT NULL"""
#: What such a chain's database looks like before the recipe.
THEIR_TABLES = f"""
CREATE TABLE "HoaDonHeader" (ma_hoa_don varchar(50) PRIMARY KEY, {_SHARED},
    ma_don_thuoc_quoc_gia varchar(50), ngay_ban timestamp NOT NULL, ten_nguoi_ban varchar(50),
    ten_khach_hang varchar(50), ma_hoa_don_quoc_gia varchar(100));
CREATE TABLE "HoaDonDetail" (ma_hoa_don varchar(50) NOT NULL, {_LINE},
    ham_luong varchar(500) NOT NULL, lieu_dung text NOT NULL, duong_dung varchar(200),
    thanh_tien numeric(18, 2) NOT NULL, ty_le_quy_doi numeric(18, 2) NOT NULL);
CREATE TABLE "PhieuNhapHeader" (ma_phieu_nhap varchar(50) PRIMARY KEY, {_SHARED},
    ngay_nhap timestamp NOT NULL, loai_phieu_nhap integer NOT NULL, ten_nha_cung_cap varchar(500),
    ghi_chu text, ma_phieu_nhap_quoc_gia varchar(100));
CREATE TABLE "PhieuNhapDetail" (ma_phieu_nhap varchar(50) NOT NULL, {_LINE});
CREATE TABLE "PhieuXuatHeader" (ma_phieu_xuat varchar(50) PRIMARY KEY, {_SHARED},
    ngay_xuat timestamp NOT NULL, loai_phieu_xuat integer NOT NULL, ten_co_so_nhan varchar(500),
    ghi_chu text NOT NULL, ma_phieu_xuat_quoc_gia varchar(100));
CREATE TABLE "PhieuXuatDetail" (ma_phieu_xuat varchar(50) NOT NULL, {_LINE});
CREATE TABLE "AccountShop" (shop_pharmacy_code varchar(50), pharmacy_code varchar(50),
    account varchar(50), password varchar(50), shop_name varchar(100), address varchar(200),
    phone_number varchar(20), email varchar(100), status integer, created_at timestamp,
    updated_at timestamp);
"""


def _sell(connection: Connection, code: str, status: int = 0) -> None:
    """What the till does, in its own tables."""
    connection.execute(
        text(
            'INSERT INTO "HoaDonHeader" (ma_hoa_don, ma_co_so, ma_cua_hang, ngay_ban, trang_thai) '
            "VALUES (:code, '79-001', 'SHOP01', '2026-11-02 08:15', :status)"
        ),
        {"code": code, "status": status},
    )
    connection.execute(
        text(
            """INSERT INTO "HoaDonDetail" VALUES (:code, 1, 'DQG00010421', 'Paracetamol 500mg',
            'SK240815', NULL, '2028-08-15', 'VD-31422-19', 20, 500, 'Viên', '500mg', '1 viên/lần',
            NULL, 10000, 1)"""
        ),
        {"code": code},
    )


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A database with documents from before the recipe, and some from after it."""
    engine = create_source_engine(database_url, SETTINGS)
    with engine.begin() as connection:
        connection.exec_driver_sql(THEIR_TABLES)
        _sell(connection, "HD-1")
        _sell(connection, "HD-DONE", 1)
        _sell(connection, "HD-RETRY", 2)
        connection.exec_driver_sql(RECIPE.read_text(encoding="utf-8"))
        _sell(connection, "HD-2")
        _sell(connection, "HD-ODD", 9)
    migrate(database_url, SYNC, settings=SETTINGS)
    yield engine
    engine.dispose()


@pytest.fixture
def source(engine: Engine) -> Source:
    return open_source(engine, TABLES)


def _theirs(engine: Engine) -> dict[str, tuple[int, str | None, str | None]]:
    """Status, national id and message by code, as the till reads them."""
    query = text(
        'SELECT ma_hoa_don, trang_thai, ma_hoa_don_quoc_gia, thong_bao FROM "HoaDonHeader"'
    )
    with engine.connect() as connection:
        return {code: (status, id_, note) for code, status, id_, note in connection.execute(query)}


def _claim(source: Source, token: str) -> set[str]:
    lease = timedelta(minutes=5)
    claim = source.claims.claim(SALE, token=token, limit=10, lease=lease)
    return {ref.local_id for ref in claim.documents}


def test_documents_are_claimed_loaded_and_their_outcomes_arrive_as_numbers(
    engine: Engine, source: Source
) -> None:
    assert _claim(source, "t-1") == {"HD-1", "HD-2"}
    documents = {d.ref.local_id: d for d in source.documents.load(SALE, "t-1")}
    assert [len(document.lines) for document in documents.values()] == [1, 1]
    accepted = Outcome(
        ref=documents["HD-1"].ref,
        claim_token="t-1",
        kind=OutcomeKind.ACCEPTED,
        national_id="DQG-1",
        message="đã nhận",
    )
    refused = Outcome(
        ref=documents["HD-2"].ref,
        claim_token="t-1",
        kind=OutcomeKind.FAILED,
        message="thiếu số lô",
    )
    source.outcomes.save([accepted, refused])
    found = _theirs(engine)
    assert found["HD-1"] == (1, "DQG-1", "đã nhận")
    assert found["HD-2"] == (3, None, "thiếu số lô")
    assert {code: found[code][0] for code in ("HD-DONE", "HD-RETRY", "HD-ODD")} == {
        "HD-DONE": 1,
        "HD-RETRY": 2,
        "HD-ODD": 9,
    }
    assert _claim(source, "t-2") == set()


def test_a_number_that_the_till_writes_counts_at_once(engine: Engine, source: Source) -> None:
    with engine.begin() as till:
        till.execute(text('UPDATE "HoaDonHeader" SET trang_thai = 0 WHERE trang_thai = 2'))
        till.execute(
            text(
                "UPDATE \"HoaDonHeader\" SET trang_thai = 1, ma_hoa_don_quoc_gia = 'DQG-9' "
                "WHERE ma_hoa_don = 'HD-1'"
            )
        )
    assert _claim(source, "t-1") == {"HD-2", "HD-RETRY"}
    assert _theirs(engine)["HD-1"][:2] == (1, "DQG-9")
    (done,) = source.documents.find(SALE, "HD-1")
    assert (done.status, done.national_id) == ("SYNC_SUCCESS", "DQG-9")


def test_the_views_have_the_standard_shape_and_foreign_numbers_are_counted(engine: Engine) -> None:
    with engine.connect() as connection:
        ours = list(TABLES.metadata.tables.values())
        reflected = inspection.reflect_columns(connection, ours)
        problems = [
            problem
            for table in ours
            for problem in inspection.column_problems(
                table, reflected[table.fullname], connection.dialect
            )
        ]
        assert problems == []
        foreign = inspection.foreign_statuses(connection, TABLES, list(PIPELINES.values()))
        assert {item.status: item.count for item in foreign} == {"RETRYING": 1, "STATUS_9": 1}
        retry = next(item for item in foreign if item.status == "RETRYING")
    with engine.begin() as connection:
        connection.execute(text(retry.statement))
    assert _theirs(engine)["HD-RETRY"][0] == 0
