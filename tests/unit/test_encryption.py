"""Encrypted passwords: readable with the right key only, and rotated by a new first key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from lib.errors import PasswordUnreadable
from lib.settings.encryption import PasswordBox, check_keys, new_key
from lib.source.tables import ENCRYPTED_LENGTH

PASSWORD = SecretStr("mật khẩu 123")


def box(*keys: str) -> PasswordBox:
    return PasswordBox(SecretStr(",".join(keys)))


def test_a_password_comes_back_as_it_was() -> None:
    sealed = box(new_key())
    token = sealed.encrypt(PASSWORD)
    assert sealed.decrypt(token) == PASSWORD
    assert sealed.is_current(token)


def test_equal_passwords_do_not_look_alike() -> None:
    sealed = box(new_key())
    assert sealed.encrypt(PASSWORD) != sealed.encrypt(PASSWORD)


def test_a_new_first_key_still_reads_what_the_old_one_wrote() -> None:
    old, new = new_key(), new_key()
    token = box(old).encrypt(PASSWORD)
    both = box(new, old)
    assert both.decrypt(token) == PASSWORD
    assert not both.is_current(token)
    assert both.is_current(both.encrypt(PASSWORD))


@pytest.mark.parametrize("damage", [lambda t: t[:-4], lambda t: "x" + t[1:], lambda _: "plain"])
def test_what_was_changed_is_not_read_as_something_else(damage) -> None:
    sealed = box(new_key())
    with pytest.raises(PasswordUnreadable, match="no key in DQG_API__ACCOUNT_KEY decrypts it"):
        sealed.decrypt(damage(sealed.encrypt(PASSWORD)))


def test_another_key_and_no_key_are_told_apart_and_show_nothing() -> None:
    token = box(new_key()).encrypt(PASSWORD)
    for reader, reason in ((box(new_key()), "decrypts it"), (PasswordBox(None), "is not set")):
        with pytest.raises(PasswordUnreadable, match=reason) as error:
            reader.decrypt(token)
        assert token[:10] not in str(error.value)
        assert "mật khẩu" not in str(error.value)


def test_the_longest_password_fits_into_its_column() -> None:
    # 50 characters of NVARCHAR are at most 150 bytes of UTF-8.
    assert len(box(new_key()).encrypt(SecretStr("ặ" * 50))) <= ENCRYPTED_LENGTH


@pytest.mark.parametrize(
    "keys",
    ["", "hunter2", f"{new_key()},hunter2", new_key()[:-4], "é" * 44],
    ids=["nothing", "word", "key and word", "part of a key", "foreign letters"],
)
def test_what_is_no_key_is_refused_without_being_shown(keys: str) -> None:
    with pytest.raises(ValueError, match=r"key \d is not valid") as error:
        check_keys(SecretStr(keys))
    assert "hunter2" not in str(error.value)


def test_keys_may_be_parted_by_commas_and_blanks() -> None:
    keys = SecretStr(f"{new_key()}, {new_key()}")
    check_keys(keys)
    assert PasswordBox(keys).decrypt(PasswordBox(keys).encrypt(PASSWORD)) == PASSWORD


def test_who_stores_passwords_plain_does_not_load_the_library() -> None:
    code = (
        "import sys, lib.services\n"
        "from pydantic import SecretStr\n"
        "from lib.settings.encryption import PasswordBox\n"
        "from lib.settings import ApiSettings\n"
        f"ApiSettings(account_key='{new_key()}')\n"
        "sys.exit('cryptography.fernet' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)  # noqa: S603 - this test's
