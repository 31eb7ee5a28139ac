"""The sandbox over real TCP: hanging up, hanging, the command, the admin client."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deployments.local.sandbox.accounts import DEMO_ACCOUNTS, load_accounts
from deployments.local.sandbox.app import create_app
from deployments.local.sandbox.client import SandboxAdmin
from deployments.local.sandbox.server import bind, serving
from tests.support.sandbox_examples import sale
from tests.unit.sandbox_kit import HOASEN, document_path

ROOT = Path(__file__).parents[2]


@pytest.fixture
def admin() -> Iterator[SandboxAdmin]:
    with serving(create_app()) as url, SandboxAdmin(url) as admin:
        yield admin


@contextmanager
def logged_in(admin: SandboxAdmin, *, timeout: float = 20) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=admin.api_url, timeout=timeout, trust_env=False) as http:
        body = {"usr": HOASEN.usr, "pwd": HOASEN.pwd}
        token = http.post("/tai_khoan/dang_nhap", json=body).json()["data"]["token"]
        http.headers["Authorization"] = f"bearer {token}"
        yield http


def post(http: httpx.Client, code: str) -> int:
    return http.post("/lien_thong/hoa_don", json=sale(code)).status_code


@pytest.mark.parametrize("after_store", [False, True])
@pytest.mark.parametrize(
    ("clean", "error"), [(False, httpx.ReadError), (True, httpx.RemoteProtocolError)]
)
def test_reset_ends_the_connection_without_an_answer(
    admin: SandboxAdmin, after_store: bool, clean: bool, error: type[Exception]
) -> None:
    with logged_in(admin) as http:
        admin.add_fault("reset", times=1, after_store=after_store, clean=clean)
        with pytest.raises(error):
            post(http, "A")

        assert admin.summary()["accepted_total"] == int(after_store)
        assert post(http, "A") == (409 if after_store else 200)


def test_accept_then_hang_stores_and_ends_when_the_client_goes(admin: SandboxAdmin) -> None:
    admin.add_fault("accept_then_hang", operation="create", seconds=300)
    with logged_in(admin) as http:
        with pytest.raises(httpx.ReadTimeout):
            http.post("/lien_thong/hoa_don", json=sale("A"), timeout=0.3)
        admin.wait_until(
            lambda: admin.summary()["in_flight"] == 0, description="the hung call has ended"
        )

        found = http.get(document_path("hoa_don", "A"))
        (document,) = admin.documents()
    assert document["accepted"] == 1
    assert found.json()["ma_hoa_don_quoc_gia"] == document["national_id"]


def test_accept_then_hang_resets_after_its_time(admin: SandboxAdmin) -> None:
    admin.add_fault("accept_then_hang", operation="create", seconds=0.05)
    with logged_in(admin) as http, pytest.raises(httpx.ReadError):
        post(http, "A")

    assert admin.summary()["accepted_total"] == 1


def test_server_stops_while_a_call_hangs() -> None:
    def send(admin: SandboxAdmin) -> int:
        with logged_in(admin, timeout=60) as http:
            return post(http, "A")

    with ThreadPoolExecutor(1) as pool:
        with serving(create_app()) as url, SandboxAdmin(url) as admin:
            admin.add_fault("accept_then_hang", operation="create", seconds=300)
            hanging = pool.submit(send, admin)
            admin.wait_until(
                lambda: admin.summary()["accepted_total"] == 1, description="one is accepted"
            )
        with pytest.raises(httpx.TransportError):
            hanging.result(timeout=20)


def test_concurrent_posts_over_tcp_are_accepted_once(admin: SandboxAdmin) -> None:
    with logged_in(admin) as http, ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(lambda _: post(http, "A"), range(50)))

    assert sorted(statuses) == [200] + [409] * 49
    (document,) = admin.documents(resource="hoa_don", code="A")
    assert (document["accepted"], document["posts"]) == (1, 50)
    assert admin.summary()["accepted_twice"] == []


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """Nagle's algorithm would hold every second packet of an answer back for some 40 ms."""
    with bind(0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_encoded_slash_in_the_path_belongs_to_the_code(admin: SandboxAdmin) -> None:
    with logged_in(admin) as http:
        assert post(http, "HD/S01 0009%") == 200
        assert http.get(document_path("hoa_don", "HD/S01 0009%")).status_code == 200


def test_too_large_body_is_told_so(admin: SandboxAdmin) -> None:
    with logged_in(admin) as http:
        body = sale("A", ho_ten_khach_hang="x" * 4_000_000)

        assert http.post("/lien_thong/hoa_don", json=body).status_code == 413


def test_admin_client_reaches_every_switch(admin: SandboxAdmin) -> None:
    with logged_in(admin) as http:
        mark = admin.last_call()
        assert post(http, "A") == 200
        assert [call["code"] for call in admin.calls(mark)] == ["A"]
        assert admin.body("hoa_don", HOASEN.ma_co_so, "A") == sale("A")

        admin.set_options(duplicates="same")
        assert admin.options()["duplicates"] == "same"
        assert post(http, "A") == 200

        fault = admin.add_fault("status", status=500, resource="hoa_don", match={"code": "B"})
        assert post(http, "B") == 500
        assert [rule["fired"] for rule in admin.faults()] == [1]
        admin.clear_faults(fault)
        assert post(http, "B") == 200
        admin.add_fault("status", status=500)
        admin.clear_faults()
        assert admin.faults() == []

        assert admin.forget_tokens(HOASEN.usr) == 1
        assert post(http, "C") == 401
        assert [d["code"] for d in admin.documents(refused=True)] == ["A", "B", "C"]

    admin.set_password(HOASEN.usr, "new")
    admin.add_account("new_shop", "secret", "999")
    for usr, pwd, status in [(HOASEN.usr, HOASEN.pwd, 400), ("new_shop", "secret", 200)]:
        body = {"usr": usr, "pwd": pwd}
        url = f"{admin.api_url}/tai_khoan/dang_nhap"
        assert httpx.post(url, json=body, trust_env=False).status_code == status
    admin.reset()
    assert admin.summary()["documents"] == 0


def test_admin_client_says_what_was_wrong(admin: SandboxAdmin) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="duplicate"):
        admin.set_options(duplicate="same")
    with pytest.raises(LookupError, match="never accepted"):
        admin.body("hoa_don", HOASEN.ma_co_so, "A")
    with pytest.raises(TimeoutError, match="the moon is full"):
        admin.wait_until(lambda: False, timeout=0, description="the moon is full")


def test_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    accounts, port_file = tmp_path / "accounts.json", tmp_path / "port"
    entry = {"usr": "shop", "pwd": "secret", "ma_co_so": "999"}
    accounts.write_text(json.dumps([entry]), encoding="utf-8")
    command = [sys.executable, "-m", "deployments.local.sandbox", "--port-file", str(port_file)]
    options = ["--accounts", str(accounts), "--login-shape", "L1", "--extra-drug-codes", "X,Y"]
    process = subprocess.Popen(  # noqa: S603
        [*command, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        announced = process.stdout.readline()
        url = f"http://127.0.0.1:{int(port_file.read_text())}"
        with SandboxAdmin(url) as admin:
            admin.wait_until(admin.is_healthy, description="the sandbox answers")
            answer = httpx.post(
                f"{admin.api_url}/tai_khoan/dang_nhap",
                json={"usr": "shop", "pwd": "secret"},
                trust_env=False,
            )
            assert admin.options()["extra_drug_codes"] == ["X", "Y"]
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=20)

    assert f"{url}/api" in announced
    assert answer.json().keys() == {"token", "token_type"}
    assert "secret" not in announced + rest
    assert "Traceback" not in rest


@pytest.mark.parametrize(
    "arguments", [["--login-shape", "L9"], ["--latency-ms", "-1"], ["--accounts", "absent.json"]]
)
def test_command_refuses_wrong_arguments(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "deployments.local.sandbox", *arguments]
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_accounts_file_is_a_list_of_complete_accounts(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    path.write_text('[{"usr": "a", "pwd": "b", "ma_co_so": "c"}]', encoding="utf-8")
    (account,) = load_accounts(path)
    assert (account.usr, account.pwd, account.ma_co_so) == ("a", "b", "c")

    for content in ("{}", '[{"usr": "a"}]', '[{"usr": "a", "pwd": 5, "ma_co_so": "c"}]', "["):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"\w"):
            load_accounts(path)


def test_password_is_not_shown_by_an_account() -> None:
    assert all(account.pwd not in repr(account) for account in DEMO_ACCOUNTS)
