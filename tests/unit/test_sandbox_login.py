"""The sandbox's login answers, tokens and rights."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.support.sandbox_examples import example, sale
from tests.unit.sandbox_kit import HOASEN, MINHTAM, Caller

pytestmark = pytest.mark.anyio


async def test_login_is_an_envelope_by_default() -> None:
    async with Caller() as caller:
        answer = (await caller.log_in()).json()

    assert answer["code"] == 200
    assert answer["data"]["token_type"] == "bearer"
    assert answer["data"]["token"]


async def test_login_is_flat_in_shape_l1() -> None:
    async with Caller(login_shape="L1") as caller:
        answer = (await caller.log_in()).json()

    assert answer.keys() == {"token", "token_type"}


async def test_login_names_an_access_token_in_shape_l3() -> None:
    async with Caller(login_shape="L3") as caller:
        answer = (await caller.log_in()).json()

    assert answer.keys() == {"access_token", "token_type"}


async def test_login_code_may_be_a_text() -> None:
    async with Caller(code_type="text") as caller:
        assert (await caller.log_in()).json()["code"] == "200"


@pytest.mark.parametrize(("option", "status"), [("http400", 400), ("body400", 200)])
async def test_wrong_password_is_refused(option: str, status: int) -> None:
    async with Caller(login_failure=option) as caller:
        response = await caller.log_in(pwd="wrong")

        assert response.status_code == status
        assert response.json()["code"] == 400
        assert caller.sandbox.summary()["logins"][HOASEN.usr]["refused"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"pwd": "x"}, "usr"),
        ({"usr": "x"}, "pwd"),
        ({"usr": "", "pwd": "x"}, "usr"),
        ({"usr": 5, "pwd": "x"}, "usr"),
        ({"usr": "u" * 51, "pwd": "x"}, "usr"),
        ({"usr": "u", "pwd": "x" * 31}, "pwd"),
    ],
)
async def test_malformed_login_names_the_field(body: dict[str, Any], field: str) -> None:
    async with Caller() as caller:
        response = await caller.http.post("/tai_khoan/dang_nhap", json=body)

    assert response.status_code == 400
    assert field in response.json()["message"]


async def test_login_that_is_not_json_is_refused() -> None:
    async with Caller(error_shape="E5") as caller:
        response = await caller.http.post(
            "/tai_khoan/dang_nhap", content=b"{", headers={"Content-Type": "application/json"}
        )

    assert response.status_code == 400
    assert response.json()["code"] == 400


async def test_unknown_account_is_refused() -> None:
    async with Caller() as caller:
        assert (await caller.log_in(usr="nobody")).status_code == 400


@pytest.mark.parametrize("scheme", ["bearer", "Bearer", "BEARER"])
async def test_scheme_of_the_token_ignores_case(scheme: str) -> None:
    async with Caller() as caller:
        token = (await caller.log_in()).json()["data"]["token"]
        response = await caller.post(
            "hoa_don", sale(), headers={"Authorization": f"{scheme} {token}"}
        )

    assert response.status_code == 200


@pytest.mark.parametrize("header", [None, "", "bearer", "bearer ", "bearer unknown", "Basic abc"])
async def test_call_without_a_known_token_is_401(header: str | None) -> None:
    async with Caller() as caller:
        caller.use_token(None)
        headers = {} if header is None else {"Authorization": header}
        response = await caller.post("hoa_don", sale(), headers=headers)

        assert response.status_code == 401
        assert response.json()["code"] == 401
        assert caller.sandbox.summary()["documents"] == 0


async def test_token_expires_at_the_end_of_its_lifetime() -> None:
    async with Caller(token_seconds=60) as caller:
        caller.clock.advance(59)
        assert (await caller.post("hoa_don", sale("A"))).status_code == 200

        caller.clock.advance(1)
        assert (await caller.post("hoa_don", sale("B"))).status_code == 401

        caller.use_token(caller.new_token())
        assert (await caller.post("hoa_don", sale("B"))).status_code == 200


async def test_jwt_tells_when_it_expires_and_is_accepted() -> None:
    async with Caller(token_format="jwt", token_seconds=90) as caller:
        token = caller.new_token()
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))

        assert claims["exp"] == int(caller.clock.now) + 90
        caller.use_token(token)
        assert (await caller.post("hoa_don", sale())).status_code == 200


async def test_forgotten_tokens_are_401_for_the_named_account_only() -> None:
    async with Caller() as caller:
        other = caller.new_token(MINHTAM)
        await caller.admin("POST", "/tokens/forget", json={"usr": HOASEN.usr})

        assert (await caller.post("hoa_don", sale())).status_code == 401
        caller.use_token(other)
        theirs = sale(ma_co_so=MINHTAM.ma_co_so)
        assert (await caller.post("hoa_don", theirs)).status_code == 200


async def test_all_tokens_are_forgotten_without_a_name() -> None:
    async with Caller() as caller:
        assert (await caller.admin("POST", "/tokens/forget")).json() == {"forgotten": 1}
        assert (await caller.post("hoa_don", sale())).status_code == 401


async def test_earlier_token_survives_a_login_unless_told_otherwise() -> None:
    async with Caller() as caller:
        caller.new_token()
        assert (await caller.post("hoa_don", sale("A"))).status_code == 200

        caller.sandbox.set_options({"one_token_per_account": True})
        caller.new_token()
        assert (await caller.post("hoa_don", sale("B"))).status_code == 401


async def test_changed_password_replaces_the_old_one() -> None:
    async with Caller() as caller:
        await caller.admin("PUT", f"/accounts/{HOASEN.usr}", json={"pwd": "new"})

        assert (await caller.log_in()).status_code == 400
        assert (await caller.log_in(pwd="new")).status_code == 200


async def test_added_account_may_send_for_its_facility() -> None:
    async with Caller() as caller:
        change = {"pwd": "secret", "ma_co_so": "999"}
        await caller.admin("PUT", "/accounts/new_shop", json=change)

        token = (await caller.log_in("new_shop", "secret")).json()["data"]["token"]
        caller.use_token(token)
        assert (await caller.post("hoa_don", sale(ma_co_so="999"))).status_code == 200


async def test_password_of_an_unknown_account_is_not_changed() -> None:
    async with Caller() as caller:
        response = await caller.admin("PUT", "/accounts/nobody", json={"pwd": "x"})

    assert response.status_code == 404


@pytest.mark.parametrize("resource", ["hoa_don", "phieu_nhap", "phieu_xuat"])
async def test_other_facilities_are_403(resource: str) -> None:
    async with Caller() as caller:
        theirs = example(resource, "A", ma_co_so=MINHTAM.ma_co_so)

        assert (await caller.post(resource, theirs)).status_code == 403
        assert (await caller.put(resource, theirs)).status_code == 403
        assert (await caller.get(resource, "A", MINHTAM.ma_co_so)).status_code == 403
        assert (await caller.delete(resource, "A", MINHTAM.ma_co_so)).status_code == 403
        assert caller.sandbox.summary()["documents"] == 0


async def test_facility_is_not_checked_when_switched_off() -> None:
    async with Caller(check_facility=False) as caller:
        response = await caller.post("hoa_don", sale(ma_co_so=MINHTAM.ma_co_so))

    assert response.status_code == 200


async def test_rate_limit_is_per_account_and_refills() -> None:
    async with Caller(rate_limit=2) as caller:
        statuses = [(await caller.get("hoa_don", "A")).status_code for _ in range(3)]
        assert statuses == [404, 404, 429]
        refused = await caller.get("hoa_don", "A")
        assert refused.headers["Retry-After"] == "1"

        mine = caller.http.headers["Authorization"]
        caller.use_token(caller.new_token(MINHTAM))
        assert (await caller.get("hoa_don", "A", MINHTAM.ma_co_so)).status_code == 404

        caller.http.headers["Authorization"] = mine
        caller.clock.advance(0.5)
        statuses = [(await caller.get("hoa_don", "A")).status_code for _ in range(2)]
        assert statuses == [404, 429]
