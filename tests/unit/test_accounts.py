"""Accounts: the right login for a document, named without revealing it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from lib.accounts import AccountDirectory, account_key
from lib.errors import AccountRefused
from lib.settings import ApiSettings
from lib.settings.encryption import PasswordBox, new_key
from lib.source.accounts import ShopAccount

URL = "https://api.test"
PASSWORD = SecretStr("secret-1")


@dataclass(frozen=True, slots=True)
class Row(ShopAccount):
    shop_pharmacy_code: str = "SHOP01"
    pharmacy_code: str = "790760001234"
    username: str = "demo_hoasen"
    password: SecretStr = PASSWORD
    active: bool = True
    updated_at: datetime | None = datetime(2026, 1, 1, tzinfo=UTC)


def directory(*rows: Row, username: str | None = None) -> AccountDirectory:
    password = SecretStr("global-secret") if username else None
    settings = ApiSettings(base_url=URL, username=username, password=password)
    return AccountDirectory(rows, settings)


def test_a_shop_is_sent_with_its_own_account() -> None:
    account = directory(Row(), username="chain").account_for("SHOP01", "790760001234")
    assert account.username == "demo_hoasen"
    assert account.password.get_secret_value() == "secret-1"


@pytest.mark.parametrize("written", ["SHOP01", "shop01", "SHOP01  ", " Shop01"])
@pytest.mark.parametrize("asked", ["SHOP01", "shop01", "SHOP01 "])
def test_codes_are_compared_as_the_database_compares_them(written: str, asked: str) -> None:
    accounts = directory(Row(shop_pharmacy_code=written, pharmacy_code=" 79-a"))
    account = accounts.account_for(asked, "79-A ")
    assert account.username == "demo_hoasen"
    assert accounts.breaker_name(asked, "79-A ") == f"account:{account.key}"
    assert accounts.keys_of(asked) == {account.key}
    other = directory(Row(shop_pharmacy_code=written, pharmacy_code="79-b"))
    assert other.breaker_name(asked, "79-A") == directory().breaker_name("SHOP01", "79-A")


def test_two_spellings_of_a_shop_are_one() -> None:
    old = Row(username="old", updated_at=datetime(2025, 1, 1, tzinfo=UTC))
    new = Row(shop_pharmacy_code="shop01 ", username="new")
    accounts = directory(old, new, Row(shop_pharmacy_code="Shop01", pharmacy_code="whole"))
    assert accounts.account_for("SHOP01", "790760001234").username == "new"
    assert list(accounts.keys()) == ["SHOP01"]
    assert len(accounts.keys()["SHOP01"]) == 2
    assert [shops for _, shops in accounts.logins()] == [["SHOP01"], ["SHOP01"]]


def test_the_blanks_that_fill_a_column_are_no_part_of_a_login() -> None:
    padded = directory(Row(username="demo_hoasen    ")).account_for("SHOP01", "790760001234")
    assert padded == directory(Row()).account_for("SHOP01", "790760001234")


def test_of_several_rows_the_last_updated_counts() -> None:
    old = Row(username="old", updated_at=datetime(2025, 1, 1, tzinfo=UTC))
    new = Row(username="new", updated_at=datetime(2026, 6, 1, tzinfo=UTC))
    never = Row(username="never", updated_at=None)
    for rows in ((old, new, never), (never, new, old)):
        assert directory(*rows).account_for("SHOP01", "790760001234").username == "new"


def test_an_inactive_row_does_not_count_even_if_it_is_newer() -> None:
    off = Row(username="off", active=False, updated_at=datetime(2026, 6, 1, tzinfo=UTC))
    assert directory(Row(), off).account_for("SHOP01", "790760001234").username == "demo_hoasen"
    assert (
        directory(off, username="chain").account_for("SHOP01", "790760001234").username == "chain"
    )


def test_a_row_of_the_pharmacy_beats_a_newer_one_for_the_whole_shop() -> None:
    whole_shop = Row(pharmacy_code="", username="shop", updated_at=datetime(2026, 6, 1, tzinfo=UTC))
    accounts = directory(whole_shop, Row())
    assert accounts.account_for("SHOP01", "790760001234").username == "demo_hoasen"
    assert accounts.account_for("SHOP01", "other").username == "shop"


def test_a_row_of_another_pharmacy_is_never_used() -> None:
    with pytest.raises(AccountRefused):
        directory(Row()).account_for("SHOP01", "010010005678")
    accounts = directory(Row(), username="chain")
    assert accounts.account_for("SHOP01", "010010005678").username == "chain"


def test_a_shop_without_an_account_is_named() -> None:
    with pytest.raises(AccountRefused, match="SHOP09"):
        directory(Row()).account_for("SHOP09", "790760001234")


def test_a_key_reveals_neither_login_nor_password() -> None:
    key = account_key(URL, "demo_hoasen", SecretStr("secret-1"))
    assert "demo" not in key
    assert "secret" not in key
    account = directory(Row()).account_for("SHOP01", "790760001234")
    assert account.key == key
    assert "secret-1" not in repr(account)


def test_a_corrected_password_is_a_new_key_of_the_same_login() -> None:
    wrong, right = (account_key(URL, "demo", SecretStr(p)) for p in ("wrong", "right"))
    assert wrong != right
    assert wrong.partition("-")[0] == right.partition("-")[0]


@pytest.mark.parametrize(
    ("url", "username"), [("https://other.test", "demo"), (URL, "demo2")], ids=["api", "login"]
)
def test_another_api_or_login_is_another_key(url: str, username: str) -> None:
    key = account_key(URL, "demo", SecretStr("p"))
    assert account_key(url, username, SecretStr("p")).partition("-")[0] != key.partition("-")[0]


def test_keys_are_those_that_can_be_used() -> None:
    second = Row(pharmacy_code="010010005678", username="second")
    off = Row(shop_pharmacy_code="SHOP02", active=False)
    accounts = directory(Row(), second, off, username="chain")
    assert accounts.keys() == {
        "SHOP01": {
            accounts.account_for("SHOP01", "790760001234").key,
            accounts.account_for("SHOP01", "010010005678").key,
        }
    }


def test_a_breaker_is_named_by_the_account_so_shops_that_share_one_pause_together() -> None:
    accounts = directory(Row(), Row(shop_pharmacy_code="SHOP02"))
    name = accounts.breaker_name("SHOP01", "790760001234")
    assert name == f"account:{accounts.account_for('SHOP01', '790760001234').key}"
    assert accounts.breaker_name("SHOP02", "790760001234") == name


def test_a_shop_without_an_account_has_a_breaker_until_a_row_appears() -> None:
    assert directory().breaker_name("SHOP01", "790760001234") == "missing:shop01"
    assert directory(Row()).breaker_name("SHOP01", "790760001234").startswith("account:")


KEY, OTHER_KEY = new_key(), new_key()
SEALED = PasswordBox(SecretStr(KEY)).encrypt(PASSWORD)
ENCRYPTED = Row(password=SecretStr(""), encrypted_password=SEALED)


def keyed(*rows: Row, key: str | None = KEY, username: str | None = None) -> AccountDirectory:
    settings = ApiSettings(
        base_url=URL,
        account_key=key and SecretStr(key),
        username=username,
        password=SecretStr("global-secret") if username else None,
    )
    return AccountDirectory(rows, settings)


def test_an_encrypted_password_is_the_same_account_as_the_plain_one() -> None:
    account = keyed(ENCRYPTED).account_for("SHOP01", "790760001234")
    assert account == directory(Row()).account_for("SHOP01", "790760001234")


def test_a_plain_password_counts_because_it_was_written_later() -> None:
    row = replace(ENCRYPTED, password=SecretStr("corrected"))
    account = keyed(row, key=None).account_for("SHOP01", "790760001234")
    assert account.password.get_secret_value() == "corrected"


@pytest.mark.parametrize(
    ("key", "reason"), [(OTHER_KEY, "decrypts it"), (None, "is not set")], ids=["other", "none"]
)
def test_a_password_without_its_key_stops_its_shop_alone(key: str | None, reason: str) -> None:
    second = Row(shop_pharmacy_code="SHOP02")
    # The installation's account would file the documents under another login.
    accounts = keyed(ENCRYPTED, second, key=key, username="chain")
    with pytest.raises(AccountRefused, match=f"shop SHOP01 .*{reason}") as error:
        accounts.account_for("SHOP01", "790760001234")
    assert "secret-1" not in str(error.value)
    assert SEALED[:10] not in str(error.value)
    assert accounts.account_for("SHOP02", "790760001234").username == "demo_hoasen"
    assert set(accounts.keys()) == {"SHOP02"}


def test_a_shop_pauses_until_the_key_is_right_and_not_longer() -> None:
    name = keyed(ENCRYPTED, key=OTHER_KEY).breaker_name("SHOP01", "790760001234")
    assert name == "unreadable:shop01"
    assert keyed(ENCRYPTED).breaker_name("SHOP01", "790760001234").startswith("account:")


def test_the_representation_of_a_stored_row_hides_both_forms() -> None:
    row = ShopAccount("SHOP01", "79", "demo", PASSWORD, True, None, SEALED)
    assert "secret-1" not in repr(row)
    assert SEALED not in repr(row)
