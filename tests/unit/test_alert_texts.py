"""What people are sent, when it is repeated, who gets it, and until when documents are in time."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from pydantic import ValidationError

from lib.alerts.conditions import (
    EVERYBODY,
    AlertKind,
    AlertState,
    Change,
    Condition,
    compare,
    deadline_conditions,
    digest_due,
)
from lib.alerts.messages import Facts, message_of
from lib.settings import AlertRoute, AlertSettings, Language
from lib.source.counts import ShopSummary
from lib.source.deadlines import DeadlineCount, bounds_of

MORNING = datetime(2026, 11, 27, 0, 5, tzinfo=UTC)  # 07:05 in Vietnam
NORTH = AlertRoute.model_validate({"shops": ["HN*"], "urls": "json://north.example/x"})
ROUTES = {"north": NORTH}
HOUR = 3600.0
FACTS = Facts(
    names={"hn01": "Nhà thuốc Minh Tâm 0912345678"},
    counts=[
        ShopSummary("sale", "HN01", pending=3, in_flight=1, succeeded=40),
        ShopSummary("sale", "SG01", pending=7, succeeded=60),
    ],
    failures={("sale", "HN01"): 2, ("sale", "SG01"): 5},
    console="https://dqg.example/",
)


def account(*shops: str, raised: bool = True) -> Condition:
    places = tuple((shop, "1") for shop in shops)
    return Condition(AlertKind.ACCOUNT, "ab", ", ".join(shops), raised, "HTTP 401", places)


def test_a_message_says_what_where_since_when_how_many_and_what_to_do() -> None:
    begin = MORNING - timedelta(hours=1)
    alert_state = AlertState(True, 1, since=begin.timestamp(), reported=begin.timestamp())
    change = Change(account("HN01"), alert_state, MORNING.timestamp())
    message = message_of(change, FACTS, Language.VIETNAMESE, None)
    assert message.subject == (
        "[dqg] VẪN CÒN: CSDL quốc gia từ chối đăng nhập: Nhà thuốc Minh Tâm 0912345678 (HN01)"
    )
    assert message.body.splitlines() == [
        "CSDL quốc gia từ chối tài khoản. Chứng từ của nhà thuốc chờ; các nhà thuốc khác vẫn gửi.",
        "Chi tiết: HTTP 401",
        "Từ: 06:05",
        "Chứng từ đang chờ: 4",
        "Việc cần làm: Sửa tài khoản CSDL quốc gia của nhà thuốc, rồi gửi lại.",
        "https://dqg.example/pauses",
    ]


@pytest.mark.parametrize("kind", [kind for kind in AlertKind if kind is not AlertKind.DIGEST])
@pytest.mark.parametrize("raised", [True, False])
def test_every_kind_has_its_message_without_a_word_of_english(
    kind: AlertKind, raised: bool
) -> None:
    change = Change(Condition(kind, "sale", "sale", raised, ""), AlertState(), MORNING.timestamp())
    vietnamese = message_of(change, FACTS, Language.VIETNAMESE, None)
    english = message_of(change, FACTS, Language.ENGLISH, None)
    shared = {*vietnamese.body.splitlines()} & {*english.body.splitlines()}
    assert [line for line in shared if not line.startswith("https://")] == []
    assert vietnamese.subject != english.subject


def test_a_state_that_lasts_is_repeated_after_some_hours() -> None:
    known: dict[str, AlertState] = {}
    told = []
    for hours in (0.0, 0.1, 3.9, 4.0, 4.1, 8.5):
        changes = compare([account("HN01")], known, hours * HOUR, reminder_seconds=4 * HOUR)
        known |= {change.key: change.after for change in changes}
        told += [(hours, change.event) for change in changes]
    assert told == [
        (0.0, "dqg.account.refused"),
        (4.0, "dqg.account.still-refused"),
        (8.5, "dqg.account.still-refused"),
    ]
    assert known["account:ab"].since == 0.0
    (end,) = compare([account("HN01", raised=False)], known, 9 * HOUR, reminder_seconds=4 * HOUR)
    assert end.event == "dqg.account.accepted"
    assert compare([account("HN01")], {}, HOUR, reminder_seconds=0.0)


def test_a_route_gets_what_is_about_its_shops_alone() -> None:
    both = Change(account("HN01", "SG01"), AlertState())
    assert both.routes(ROUTES) == [EVERYBODY, "north"]
    assert "SG01" not in message_of(both, FACTS, Language.ENGLISH, NORTH).subject
    assert Change(account("SG01"), AlertState()).routes(ROUTES) == [EVERYBODY]
    pipeline = Condition(AlertKind.BREAKER, "sale", "sale", True, "503")
    assert Change(pipeline, AlertState()).routes(ROUTES) == [EVERYBODY]
    assert both.event_id("a") != both.event_id("a", "north")
    with pytest.raises(ValidationError, match="everybody"):
        AlertSettings(routes={EVERYBODY: NORTH})


def test_the_digest_is_sent_once_each_morning_and_to_each_route() -> None:
    at = time(7, 0)
    due = digest_due({}, ROUTES, at, MORNING)
    assert [change.routes(ROUTES) for change in due] == [[EVERYBODY], ["north"]]
    sent = {change.key: change.after for change in due}
    assert digest_due(sent, ROUTES, at, MORNING + timedelta(minutes=1)) == []
    assert len(digest_due(sent, ROUTES, at, MORNING + timedelta(days=1))) == 2
    assert digest_due({}, ROUTES, at, MORNING - timedelta(minutes=10)) == []
    # An installation that starts at noon sends no morning's digest.
    assert digest_due({}, ROUTES, at, MORNING + timedelta(hours=5)) == []
    assert digest_due({}, ROUTES, AlertSettings(digest_at="").digest_at, MORNING) == []

    everybody, north = (
        message_of(change, FACTS, Language.VIETNAMESE, ROUTES.get(change.condition.route)).body
        for change in due
    )
    assert "Hóa đơn bán: 100 đã nhận, 11 đang chờ, 7 cần xử lý" in everybody
    assert "Hóa đơn bán: 40 đã nhận, 4 đang chờ, 2 cần xử lý" in north
    assert "SG01" not in north


@pytest.mark.parametrize(
    ("local", "late", "soon"),
    [
        ("2026-11-27 12:00", "2026-11-27 00:00", "2026-11-27 00:00"),
        ("2026-11-27 21:00", "2026-11-27 00:00", "2026-11-28 00:00"),
        ("2026-11-28 00:10", "2026-11-28 00:00", "2026-11-28 00:00"),
    ],
)
def test_a_document_is_due_before_the_end_of_its_day(local: str, late: str, soon: str) -> None:
    now = datetime.fromisoformat(f"{local}+07:00")
    found = bounds_of("sale", AlertSettings(), now)
    assert (f"{found.late:%F %H:%M}", f"{found.soon:%F %H:%M}") == (late, soon)


def test_a_limit_in_hours_counts_from_the_document() -> None:
    now = datetime.fromisoformat("2026-11-27T12:00+07:00")
    found = bounds_of("import", AlertSettings(deadline_hours={"import": 48}), now)
    assert f"{found.late:%F %H:%M}" == "2026-11-25 12:00"
    assert f"{found.soon:%F %H:%M}" == "2026-11-25 15:00"


def test_a_deadline_is_one_message_for_everybody_and_one_for_each_route() -> None:
    counts = [DeadlineCount("sale", "HN01", 1, 2, 1), DeadlineCount("sale", "SG01", 0, 5, 0)]
    deadlines = {"sale": datetime(2026, 11, 28), "import": datetime(2026, 11, 28)}  # noqa: DTZ001
    found = deadline_conditions(counts, deadlines, ROUTES, Language.VIETNAMESE)
    raised = {condition.key: condition for condition in found if condition.raised}
    assert set(raised) == {"deadline:sale", "deadline:north/sale"}
    assert raised["deadline:north/sale"].why == (
        "2 chứng từ phải được nhận trước 00:00 28/11, 1 đã trễ hạn; 1 trong số đó cần xử lý"
    )
    assert raised["deadline:north/sale"].shops == ["HN01"]
    message = message_of(
        Change(raised["deadline:north/sale"], AlertState(), 0.0), FACTS, Language.VIETNAMESE, NORTH
    )
    assert message.subject == "[dqg] CẢNH BÁO: Hóa đơn bán: chứng từ chưa được nhận đúng hạn"
    assert "Nhà thuốc Minh Tâm 0912345678 (HN01)" in message.body
