"""`dqg accounts` on the real parts: passwords change their form, and still send documents."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from flows.pipelines import sale
from lib.errors import ConfigurationError
from lib.settings.encryption import PasswordBox, new_key
from lib.source.accounts import ShopAccount, StoredPassword
from tests.support.cli import dqg, dqg_json
from tests.support.documents import SHOPS
from tests.support.system import System

KEY, NEW_KEY = new_key(), new_key()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_API__ACCOUNT_KEY", KEY)


def stored(system: System) -> dict[str, ShopAccount]:
    return {account.shop_pharmacy_code: account for account in system.source.accounts.all()}


def plain(system: System) -> dict[str, str]:
    return {shop: a.password.get_secret_value() for shop, a in stored(system).items()}


def test_a_new_key_can_be_used_at_once() -> None:
    key = dqg("accounts", "key").strip()
    assert key != dqg_json("accounts", "key")["key"]
    PasswordBox(SecretStr(key)).check()


def test_without_yes_nothing_is_encrypted(system: System) -> None:
    before = stored(system)
    result = dqg_json("accounts", "encrypt")
    assert (result["dry_run"], result["counts"]) == (True, {"plain": len(SHOPS)})
    assert f"With --yes, {len(SHOPS)} would be converted" in dqg("accounts", "encrypt")
    assert stored(system) == before


def test_passwords_are_encrypted_and_come_back(system: System) -> None:
    before = plain(system)
    result = dqg_json("accounts", "encrypt", "--yes")
    assert result["counts"] == {"encrypted": len(SHOPS)}
    assert set(plain(system).values()) == {""}
    for password in before.values():
        assert password not in str(result)
    dqg("accounts", "decrypt", "--yes")
    assert plain(system) == before
    assert {a.encrypted_password for a in stored(system).values()} == {None}


def test_encrypting_again_changes_nothing(system: System) -> None:
    dqg("accounts", "encrypt", "--yes")
    before = stored(system)
    assert "With --yes, 0 would be converted" in dqg("accounts", "encrypt")
    dqg("accounts", "encrypt", "--yes")
    assert stored(system) == before


def test_a_new_first_key_takes_the_place_of_the_old_one(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plain(system)
    dqg("accounts", "encrypt", "--yes")
    monkeypatch.setenv("DQG_API__ACCOUNT_KEY", f"{NEW_KEY},{KEY}")
    assert dqg_json("accounts", "encrypt")["counts"] == {"older key": len(SHOPS)}
    dqg("accounts", "encrypt", "--yes")
    monkeypatch.setenv("DQG_API__ACCOUNT_KEY", NEW_KEY)
    dqg("accounts", "decrypt", "--yes")
    assert plain(system) == before


def test_a_password_corrected_by_other_software_is_the_one_that_is_encrypted(
    system: System,
) -> None:
    dqg("accounts", "encrypt", "--yes")
    system.set_password("SHOP01", "corrected")
    assert dqg_json("accounts", "encrypt")["counts"] == {"plain": 1, "encrypted": len(SHOPS) - 1}
    dqg("accounts", "encrypt", "--yes")
    dqg("accounts", "decrypt", "--yes")
    assert plain(system)["SHOP01"] == "corrected"


def test_decrypting_leaves_no_old_password_beside_a_corrected_one(system: System) -> None:
    dqg("accounts", "encrypt", "--yes")
    system.set_password("SHOP01", "corrected")
    dqg("accounts", "decrypt", "--yes")
    assert plain(system)["SHOP01"] == "corrected"
    assert stored(system)["SHOP01"].encrypted_password is None


def test_what_no_key_opens_is_named_and_left_alone(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    dqg("accounts", "encrypt", "--yes")
    before = stored(system)
    monkeypatch.setenv("DQG_API__ACCOUNT_KEY", NEW_KEY)
    assert "shop SHOP01" in dqg("accounts", "decrypt", "--yes", status=1)
    result = dqg_json("accounts", "encrypt", "--yes", status=1)
    assert result["counts"] == {"unreadable": len(SHOPS)}
    assert stored(system) == before


def test_without_a_key_nothing_is_done(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DQG_API__ACCOUNT_KEY")
    assert "DQG_API__ACCOUNT_KEY is not set" in dqg("accounts", "encrypt", "--yes", status=1)


def test_a_failure_on_the_way_names_the_shop_and_changes_nothing_of_it(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored(system)

    def fail(*_: object) -> None:
        raise ConfigurationError("the password of shop SHOP01 was changed while it was stored")

    monkeypatch.setattr("lib.source.accounts._parts", fail)
    assert "SHOP01" in dqg("accounts", "encrypt", "--yes", status=1)
    assert stored(system) == before


@pytest.mark.anyio
async def test_documents_are_sent_with_an_encrypted_password(system: System) -> None:
    seal(system, KEY)
    system.add("sale", "HD-1")
    await sale(local_invoice_id="HD-1", return_state=True)
    assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"


@pytest.mark.anyio
async def test_without_the_key_documents_wait_and_the_shop_is_named(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(system, KEY)
    system.add("sale", "HD-1")
    monkeypatch.setenv("DQG_API__ACCOUNT_KEY", NEW_KEY)
    state = await sale(local_invoice_id="HD-1", return_state=True)
    document = system.document("sale", "HD-1")
    assert (document.status, document.claim_token) == ("PENDING_SYNC", None)
    assert "không giải mã được mật khẩu của nhà thuốc SHOP01" in (state.message or "")
    monkeypatch.setenv("DQG_API__ACCOUNT_KEY", f"{NEW_KEY},{KEY}")
    await sale(local_invoice_id="HD-1", return_state=True)
    assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"


def seal(system: System, key: str) -> None:
    """What the command does, from within a running event loop."""
    box = PasswordBox(SecretStr(key))
    for account in system.source.accounts.all():
        token = box.encrypt(account.password)
        system.source.accounts.change_password(
            account, lambda _, token=token: StoredPassword(SecretStr(""), token)
        )
