"""Documents in the sandbox: answer shapes, looking up, changing, deleting, malformed requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deployments.local.sandbox.incoming import BODY_LIMIT
from tests.support.sandbox_examples import example, sale, slip
from tests.unit.sandbox_kit import HOASEN, Caller, national_field, with_line

pytestmark = pytest.mark.anyio

RESOURCES = ["hoa_don", "phieu_nhap", "phieu_xuat"]
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("resource", RESOURCES)
async def test_accepted_document_gets_a_national_code(resource: str) -> None:
    async with Caller() as caller:
        answer = (await caller.post(resource, example(resource, "A"))).json()
        counters = caller.counters(resource, "A")

    assert answer["code"] == 200
    assert answer["mess"]
    assert answer[national_field(resource)] == counters["national_id"]
    assert counters["national_id"] != "A"


@pytest.mark.parametrize(
    ("resource", "shape", "field"),
    [
        ("hoa_don", "H1", "ma_hoa_don"),
        ("hoa_don", "H3", "ma_hoa_don"),
        ("phieu_nhap", "N3", "ma_phieu_nhap"),
        ("phieu_xuat", "X3", "ma_phieu_xuat"),
    ],
)
async def test_answer_shape_names_the_code_otherwise(resource: str, shape: str, field: str) -> None:
    async with Caller(**{f"{resource}_answer": shape}) as caller:
        answer = (await caller.post(resource, example(resource, "A"))).json()

        assert answer[field] == caller.counters(resource, "A")["national_id"]
        assert answer.get("code") == (200 if shape == "H1" else None)
        assert answer.get("status") == (None if shape == "H1" else "success")


async def test_shape_h1_may_echo_the_local_code() -> None:
    async with Caller(hoa_don_answer="H1_ECHO") as caller:
        answer = (await caller.post("hoa_don", sale("A"))).json()

    assert (answer["ma_hoa_don"], answer["code"]) == ("A", 200)


@pytest.mark.parametrize(("resource", "shape"), [("phieu_nhap", "N1"), ("phieu_xuat", "X1")])
async def test_slip_answer_may_be_a_bare_string(resource: str, shape: str) -> None:
    async with Caller(**{f"{resource}_answer": shape}) as caller:
        answer = (await caller.post(resource, example(resource, "A"))).json()

        assert answer == caller.counters(resource, "A")["national_id"]


async def test_text_key_and_type_of_the_code_are_options() -> None:
    async with Caller(text_key="message", code_type="text") as caller:
        answer = (await caller.post("hoa_don", sale())).json()
        refused = (await caller.post("hoa_don", sale(ngay_ban=""))).json()

    assert (answer["code"], refused["code"]) == ("200", "400")
    assert answer.keys() & {"mess", "message"} == {"message"}
    assert refused.keys() == {"code", "message"}


async def test_refusal_names_field_and_line() -> None:
    async with Caller() as caller:
        response = await caller.post("hoa_don", with_line(sale("A"), so_lo=""))

        assert response.status_code == 400
        assert response.json()["code"] == 400
        assert "Dòng 1" in response.json()["mess"]
        assert "so_lo" in response.json()["mess"]
        assert caller.counters("hoa_don", "A")["refused"] == 1
        assert caller.sandbox.summary()["documents"] == 0


@pytest.mark.parametrize(
    ("shape", "status", "key"),
    [
        ("E1", 400, "mess"),
        ("E3", 400, "message"),
        ("E3_CAPITAL", 400, "Message"),
        ("E4", 200, "mess"),
    ],
)
async def test_refusal_in_a_json_shape(shape: str, status: int, key: str) -> None:
    async with Caller(error_shape=shape) as caller:
        response = await caller.post("phieu_xuat", slip(ngay_xuat="x"))

    assert response.status_code == status
    assert "ngay_xuat" in response.json()[key]
    assert response.json().get("code") == (400 if shape in ("E1", "E4") else None)


@pytest.mark.parametrize(("shape", "body"), [("E5", ""), ("E5_NULL", "null")])
async def test_refusal_without_content(shape: str, body: str) -> None:
    async with Caller(error_shape=shape) as caller:
        response = await caller.post("hoa_don", sale(ngay_ban="x"))

    assert (response.status_code, response.text) == (200, body)


@pytest.mark.parametrize(("shape", "media_type"), [("E6", "text/plain"), ("E6_HTML", "text/html")])
async def test_refusal_as_plain_text_or_html(shape: str, media_type: str) -> None:
    async with Caller(error_shape=shape) as caller:
        response = await caller.post("hoa_don", sale(ngay_ban="x"))

    assert response.status_code == 400
    assert response.headers["Content-Type"].startswith(media_type)
    assert "ngay_ban" in response.text


async def test_refusal_with_a_list_of_details() -> None:
    async with Caller(error_shape="E7") as caller:
        response = await caller.post("hoa_don", with_line(sale(), so_lo=""))
        await caller.post("hoa_don", sale("A"))
        duplicate = await caller.post("hoa_don", sale("A"))

    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", 1, "so_lo"]
    assert duplicate.status_code == 409
    assert isinstance(duplicate.json()["detail"], str)


async def test_long_list_of_problems_is_cut() -> None:
    async with Caller() as caller:
        mess = (await caller.post("hoa_don", {"ma_hoa_don": "A", "hoa_don_chi_tiet": [{}]})).json()

    assert mess["mess"].count(";") == 5
    assert "lỗi khác" in mess["mess"]


@pytest.mark.parametrize("resource", RESOURCES)
async def test_stored_document_is_found(resource: str) -> None:
    async with Caller() as caller:
        await caller.post(resource, example(resource, "A"))
        response = await caller.get(resource, "A")

        assert response.status_code == 200
        assert response.json()["code"] == 200
        counters = caller.counters(resource, "A")
        assert response.json()[national_field(resource)] == counters["national_id"]
        assert counters["lookups"] == 1


@pytest.mark.parametrize("method", ["get", "delete"])
async def test_absent_document_is_404_with_a_code(method: str) -> None:
    async with Caller() as caller:
        response = await getattr(caller, method)("hoa_don", "absent")

    assert response.status_code == 404
    assert response.json()["code"] == 404
    assert "absent" in response.json()["mess"]


@pytest.mark.parametrize(("option", "status"), [("off", 405), ("missing", 404)])
async def test_looking_up_can_be_switched_off(option: str, status: int) -> None:
    async with Caller(lookup=option) as caller:
        await caller.post("hoa_don", sale("A"))
        response = await caller.get("hoa_don", "A")

    assert response.status_code == status
    assert response.json().keys() == {"detail"}


async def test_looking_up_can_be_switched_off_for_one_resource() -> None:
    async with Caller(no_lookup_for=["hoa_don"]) as caller:
        await caller.post("hoa_don", sale("A"))
        await caller.post("phieu_xuat", slip("A"))
        answers = [await caller.get(name, "A") for name in ("hoa_don", "phieu_xuat")]

    assert [answer.status_code for answer in answers] == [405, 200]


@pytest.mark.parametrize("code", ["HD/S01 0009", "/leading", "50% off?x=1#y", "Hóa đơn/Đà Nẵng"])
async def test_code_with_odd_characters_is_the_same_in_body_and_path(code: str) -> None:
    async with Caller() as caller:
        await caller.post("hoa_don", sale(code))

        assert (await caller.get("hoa_don", code)).status_code == 200
        assert (await caller.delete("hoa_don", code)).status_code == 200
        assert (await caller.get("hoa_don", code)).status_code == 404


async def test_same_code_is_another_document_in_another_resource() -> None:
    async with Caller() as caller:
        await caller.post("phieu_nhap", example("phieu_nhap", "A"))

        assert (await caller.get("phieu_xuat", "A")).status_code == 404
        assert (await caller.post("phieu_xuat", slip("A"))).status_code == 200


@pytest.mark.parametrize("resource", RESOURCES)
async def test_update_replaces_the_body_and_keeps_the_national_code(resource: str) -> None:
    async with Caller() as caller:
        await caller.post(resource, example(resource, "A"))
        before = caller.counters(resource, "A")
        response = await caller.put(resource, with_line(example(resource, "A"), so_luong=7))
        after = caller.counters(resource, "A")
        (record,) = caller.sandbox.documents

    assert response.status_code == 200
    assert after["national_id"] == before["national_id"]
    assert (after["updates"], after["accepted"]) == (1, 1)
    assert record.body is not None
    assert with_line(example(resource, "A"), so_luong=7) == record.body


async def test_update_of_an_absent_document_is_404() -> None:
    async with Caller() as caller:
        assert (await caller.put("hoa_don", sale("A"))).status_code == 404


async def test_update_is_validated() -> None:
    async with Caller() as caller:
        await caller.post("hoa_don", sale("A"))

        assert (await caller.put("hoa_don", sale("A", ngay_ban="x"))).status_code == 400


async def test_drug_catalogue_is_an_option() -> None:
    document = with_line(sale("A"), ma_thuoc="MINE")
    async with Caller() as caller:
        assert (await caller.post("hoa_don", document)).status_code == 400
        await caller.admin("PUT", "/options", json={"extra_drug_codes": ["MINE"]})
        assert (await caller.post("hoa_don", document)).status_code == 200

        other = with_line(sale("B"), ma_thuoc="OTHER")
        assert (await caller.post("hoa_don", other)).status_code == 400
        await caller.admin("PUT", "/options", json={"drug_codes": "any"})
        assert (await caller.post("hoa_don", other)).status_code == 200


async def test_fractions_are_an_option() -> None:
    async with Caller(allow_fractions=True) as caller:
        response = await caller.post("hoa_don", with_line(sale(), so_luong=1.5))

    assert response.status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b'{"a": NaN}',
        b'{"a": "\xff"}',
        '{"a": "Hóa đơn"}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
    ],
)
async def test_body_that_is_no_json_object_in_utf8_is_400(content: bytes) -> None:
    async with Caller() as caller:
        response = await caller.http.post("/lien_thong/hoa_don", content=content, headers=JSON)

    assert response.status_code == 400
    assert "JSON" in response.json()["mess"]


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_other_content_type_is_415(media_type: str) -> None:
    async with Caller() as caller:
        response = await caller.http.post(
            "/lien_thong/hoa_don", content=b"{}", headers={"Content-Type": media_type}
        )

    assert response.status_code == 415


async def test_content_type_may_name_the_charset() -> None:
    async with Caller() as caller:
        response = await caller.post(
            "hoa_don", sale(), headers={"Content-Type": "application/json; charset=utf-8"}
        )

    assert response.status_code == 200


async def test_body_above_the_limit_is_413() -> None:
    async with Caller() as caller:
        fits = with_line(sale("A"), lieu_dung="x" * (BODY_LIMIT - 2000))
        too_large = with_line(sale("B"), lieu_dung="x" * BODY_LIMIT)

        assert (await caller.post("hoa_don", fits)).status_code == 200
        assert (await caller.post("hoa_don", too_large)).status_code == 413


@pytest.mark.parametrize("field", ["ma_hoa_don", "ma_co_so"])
@pytest.mark.parametrize("value", [None, 5, "", "x" * 51, "\ud83d"])
async def test_document_without_a_usable_key_is_refused(field: str, value: Any) -> None:
    content = json.dumps({**sale(), field: value})
    async with Caller() as caller:
        response = await caller.http.post("/lien_thong/hoa_don", content=content, headers=JSON)

        assert response.status_code == 400
        assert field in response.json()["mess"]
        assert list(caller.sandbox.documents) == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/lien_thong/don_thuoc", 404),
        ("GET", f"/lien_thong/don_thuoc/{HOASEN.ma_co_so}/A", 404),
        ("GET", f"/lien_thong/hoa_don/{HOASEN.ma_co_so}/", 404),
        ("POST", "/elsewhere", 404),
        ("PATCH", "/lien_thong/hoa_don", 405),
        ("GET", "/tai_khoan/dang_nhap", 405),
    ],
)
async def test_other_paths_and_verbs_do_not_exist(method: str, path: str, status: int) -> None:
    async with Caller() as caller:
        response = await caller.http.request(method, path, headers=JSON)

    assert response.status_code == status
