"""Whatever a server sends, its answer gets a meaning, never a success that it does not state."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lib.errors import Rejected, SyncError
from lib.models import Acceptance
from lib.platforms.dqg.interpret import PossibleDuplicate, parse_login, parse_lookup, parse_submit
from lib.platforms.dqg.response import Reply
from lib.platforms.dqg.wording import Duplicate, duplicate
from lib.platforms.platform import Lookup
from lib.sanitize import MASK
from lib.settings import ApiSettings

API = ApiSettings(answer_limit=200)
LOCAL = "HD-1"
NATIONAL_FIELDS = ("ma_hoa_don_quoc_gia", "ma_hoa_don", "ma_phieu")

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from([200, "200", LOCAL, "QG-1", "đã tồn tại", "success", 1e400, "401"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
names = st.sampled_from(
    (*NATIONAL_FIELDS, "code", "Code", "mess", "message", "Message", "detail", "status", "data")
)
objects = st.dictionaries(names | st.text(max_size=5), anything, max_size=6)
bodies = (
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.builds(lambda body: json.dumps(body).encode(), objects | anything)
)
statuses = st.sampled_from([200, 201, 204, 302, 400, 401, 404, 409, 429, 500, 503]) | st.integers()
headers = st.dictionaries(
    st.sampled_from(["Retry-After", "retry-after", "Date", "Content-Type"]),
    st.text(max_size=40)
    | st.sampled_from(["5", "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 99999 07:28:00 GMT"]),
)


def loaded(text: str | bytes) -> object:
    """JSON as Python finds it; bytes that are no text are read with a sign in their place."""
    try:
        return json.loads(text)
    except UnicodeDecodeError:
        return loaded(text.decode("utf-8-sig", "replace")) if isinstance(text, bytes) else None
    except (ValueError, RecursionError):
        return None


def states_acceptance(status: int, body: bytes) -> bool:
    """Whether an answer holds anything that may count as accepted, read in the simplest way."""
    text = body.decode("utf-8", "replace")
    data = loaded(body)
    members = (
        {name.lower(): value for name, value in data.items()} if isinstance(data, dict) else {}
    )
    inner = members.get("data")
    inner = loaded(inner) if isinstance(inner, str) else inner
    inner = inner[0] if isinstance(inner, list) and inner else inner
    nested = {name.lower() for name in inner} if isinstance(inner, dict) else set()
    return (
        status == 409
        or (isinstance(data, str) and data.strip() != "")
        or str(members.get("code")).strip().removesuffix(".0") in ("200", "409", str(status))
        or str(members.get("status")).strip().casefold() == "success"
        or any(name in members or name in nested for name in NATIONAL_FIELDS)
        or duplicate(text, API) is not Duplicate.NOT_SAID
        or duplicate(json.dumps(data, ensure_ascii=False), API) is not Duplicate.NOT_SAID
    )


def contradicts(body: bytes) -> bool:
    """Whether an object says in one member that it succeeded, and in another that it did not."""
    data = loaded(body)
    members = {k.lower(): v for k, v in data.items()} if isinstance(data, dict) else {}
    failed = members.get("success") is False or members.get("status") in ("error", "failed")
    return failed and str(members.get("code")).strip() in ("200", "0")


contradictions = st.builds(
    lambda body, more: json.dumps(body | more).encode(),
    objects,
    st.fixed_dictionaries(
        {"code": st.sampled_from([200, "200", 0]), "ma_hoa_don_quoc_gia": st.just("QG-1")},
        optional={
            "success": st.sampled_from([True, False, None]),
            "status": st.sampled_from(["success", "error", "failed", 1]),
        },
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([200, 201, 400, 401, 403, 404, 422]), contradictions)
def test_an_answer_that_contradicts_itself_is_neither_accepted_nor_refused(
    status: int, body: bytes
) -> None:
    try:
        result = parse_submit(Reply(status, {}, body), "hoa_don", LOCAL, API)
    except PossibleDuplicate:
        return
    except Rejected:
        pytest.fail("refused for good")
    except SyncError:
        return
    else:
        assert result.duplicate or (status < 300 and not contradicts(body))


@settings(max_examples=400, deadline=None)
@given(statuses, headers, bodies, st.lists(st.text(max_size=10), max_size=2))
def test_every_answer_to_a_post_is_an_acceptance_or_an_error_of_ours(
    status: int, headers: dict[str, str], body: bytes, persons: list[str]
) -> None:
    try:
        result = parse_submit(
            Reply(status, headers, body), "hoa_don", LOCAL, API, names=tuple(persons)
        )
    except SyncError as error:
        texts = [error.message, error.answer or ""]
    else:
        assert isinstance(result, Acceptance)
        assert 200 <= status < 300 or 400 <= status < 500
        assert result.duplicate or 200 <= status < 300
        assert states_acceptance(status, body)
        assert result.duplicate or not contradicts(body)
        assert result.national_id is None or result.national_id.casefold() != LOCAL.casefold()
        texts = [result.message, result.answer or "", result.national_id or ""]
    for text in texts:
        text.encode()
        assert len(text) < 500
        assert "\x00" not in text


@settings(max_examples=300, deadline=None)
@given(statuses, headers, bodies)
def test_every_answer_to_a_look_up_has_a_meaning(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    try:
        result = parse_lookup(Reply(status, headers, body), "hoa_don", LOCAL, API)
    except SyncError:
        return
    if isinstance(result, Acceptance):
        assert 200 <= status < 300
        assert result.national_id != LOCAL
    elif result is Lookup.ABSENT:
        assert status in (404, *range(200, 300))
        assert isinstance(json.loads(body), dict)


@settings(max_examples=300, deadline=None)
@given(statuses, headers, bodies, st.text(max_size=10))
def test_every_answer_to_a_login_is_a_token_or_an_error_of_ours(
    status: int, headers: dict[str, str], body: bytes, password: str
) -> None:
    try:
        token = parse_login(Reply(status, headers, body), secrets=(password,))
    except SyncError as error:
        kept = error.answer
    else:
        kept = None
        assert 200 <= status < 300
        assert token.value.isascii()
        assert token.value == token.value.strip() != ""
        assert token.expires_in is None or token.expires_in > 0
    assert kept is None


person_names = st.text(alphabet="ABĐEÊGHNguyễnThịMai '-\"\\", min_size=4, max_size=20).filter(
    lambda name: len(name.strip()) >= 4 and any(map(str.isalpha, name))
)


@settings(max_examples=200, deadline=None)
@given(person_names, st.text(alphabet="0123456789 .,;", max_size=20), st.booleans())
@example(name="\\uAAAA", around="", escaped=False)
def test_a_persons_name_never_comes_out_of_an_answer(name: str, around: str, escaped: bool) -> None:
    body = {"code": 400, "mess": f"{around} {name} {around}", "data": [{"echo": name}]}

    with pytest.raises(Rejected) as caught:
        parse_submit(
            Reply(400, {}, json.dumps(body, ensure_ascii=escaped).encode()),
            "hoa_don",
            LOCAL,
            ApiSettings(),
            names=(name,),
        )

    for text in (caught.value.message, caught.value.answer or ""):
        assert name.strip() not in text
        assert json.dumps(name.strip(), ensure_ascii=False)[1:-1] not in text
        assert MASK in text
