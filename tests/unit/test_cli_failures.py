"""Failures folded into groups of those alike, and the filters by which they are chosen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer

from deployments.cli.output import duration
from deployments.cli.selection import parse_age
from lib.tracking.failures import FailureFilter, group_failures, normalised
from lib.words.documents import reason
from lib.words.language import Language


def failure(record_id: int, **values: Any) -> dict[str, Any]:
    return {
        "pipeline": "sale",
        "record_id": record_id,
        "local_id": f"HD-{record_id}",
        "pharmacy_code": "790760001234",
        "shop_pharmacy_code": "SHOP01",
        "error_class": "rejected",
        "drug_codes": [],
    } | values


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("drug 'DQG1' is unknown", "drug 'DQG22' is unknown"),
        ("HD-S01-000101 already exists", "HD-S02-000999 already exists"),
        ("must be at most 50", "must be  at most 400"),
        ('"Thuốc A" không tồn tại', '"Thuốc B" không tồn tại'),
    ],
)
def test_what_differs_from_document_to_document_is_left_out(text: str, other: str) -> None:
    assert normalised(text) == normalised(other)


def test_different_reasons_stay_different() -> None:
    assert normalised("so_lo: is blank") != normalised("so_lo: is too long")


def test_one_missing_drug_code_makes_one_group_the_largest_first() -> None:
    rows = [
        failure(1, error="so_lo: is blank"),
        *(
            failure(n, error=f"HD-{n}: ma_thuoc DQG9 is unknown", drug_codes=["DQG1", "DQG9"])
            for n in (2, 3, 4)
        ),
        failure(5, error="HD-5: ma_thuoc DQG8 is unknown", drug_codes=["DQG8"]),
    ]
    groups = group_failures(rows)
    assert [len(group.failures) for group in groups] == [3, 1, 1]
    assert (groups[0].reason.field, groups[0].reason.drug_code) == ("ma_thuoc", "DQG9")
    assert groups[0].failures[0]["local_id"] == "HD-2"


def test_an_answer_may_name_the_drug_by_its_line_only() -> None:
    text = "HTTP 400: Dòng 2: ma_thuoc không có trong danh mục thuốc quốc gia"
    (group,) = group_failures([failure(1, error=text, drug_codes=["DQG1", "DQG9"])])
    assert (group.reason.field, group.reason.drug_code) == ("ma_thuoc", "DQG9")


def test_field_errors_name_field_and_drug_code_of_their_line() -> None:
    blank = {"field": "so_lo", "line": 2, "reason": "is blank"}
    header = {"field": "ngay_ban", "line": None, "reason": "is blank"}
    rows = [failure(1, field_errors=[blank, header]), failure(2, field_errors=[blank])]
    groups = group_failures(rows, {("sale", 1): ["A", "B"], ("sale", 2): ["C", "B"]})
    found = {(g.reason.field, g.reason.drug_code): len(g.refs) for g in groups}
    assert found == {("so_lo", "B"): 2, ("ngay_ban", ""): 1}


def test_what_our_own_check_finds_keeps_its_numbers_in_every_language() -> None:
    found = {"field": "loai_phieu_xuat", "line": None, "reason": "must be one of 1, 2"}
    (group,) = group_failures([failure(1, error_class="invalid", field_errors=[found])])
    said = reason(group.reason.text, Language.VIETNAMESE)
    assert said == "phải là một trong các số 1, 2"


def test_a_group_keeps_its_name_when_others_come_and_go() -> None:
    rows = [failure(1, error="a b"), failure(2, error="c d")]
    keys = {group.reason.text: group.reason.key for group in group_failures(rows)}
    assert group_failures(rows[1:])[0].reason.key == keys["c d"]


def test_a_filter_asks_only_for_what_it_was_given() -> None:
    since = datetime(2026, 11, 1, tzinfo=UTC)
    assert FailureFilter(states=None).query() == {}
    assert FailureFilter(shop="S", reason="a.b", since=since).query() == {
        "state": {"$in": ["open"]},
        "shop_pharmacy_code": {"$regex": r"^\s*(?:S)\s*$", "$options": "i"},
        "error": {"$regex": r"a\.b", "$options": "i"},
        "created_at": {"$gte": since},
    }


@pytest.mark.parametrize(
    ("text", "age"),
    [("30m", timedelta(minutes=30)), ("24h", timedelta(hours=24)), ("7d", timedelta(days=7))],
)
def test_ages_are_read(text: str, age: timedelta) -> None:
    assert parse_age(text) == age


def test_what_is_no_age_is_refused() -> None:
    with pytest.raises(typer.BadParameter):
        parse_age("yesterday")


def test_durations_are_short() -> None:
    shown = [duration(seconds) for seconds in (None, 90, 600, 7200, 200_000)]
    assert shown == [None, "90 s", "10 min", "2 h", "2 d"]
