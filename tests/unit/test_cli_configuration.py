"""`dqg config show`: every value with its origin, and never a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from deployments.cli.configuration import as_text
from deployments.cli.masking import HIDDEN, masked_url
from tests.maintenance.settings_docs import sections
from tests.support.cli import dqg, dqg_json

SECRET = "hunter2"
GOOD = {
    "DQG_SOURCE__URL": f"mssql+pyodbc://dqg:{SECRET}@sql.example:1433/Pharmacy?driver=FreeTDS",
    "DQG_MONGO__URL": f"mongodb://u:{SECRET}@m1:27017,m2:27017/dqg?authSource=admin",
    "DQG_REDIS__URL": f"redis://:{SECRET}@redis.example:6379/0",
}


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def shown(*words: str) -> dict[str, tuple[str | None, str]]:
    found = dqg_json("config", "show", *words)["settings"]
    return {s["variable"]: (s["value"], s["origin"]) for s in found}


def test_every_setting_is_shown() -> None:
    assert set(shown()) == {s.variable for _name, _purpose, group in sections() for s in group}


def test_each_value_is_named_with_its_origin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = "DQG_SYNC__BATCH_SIZE=7\nDQG_SYNC__TASK_RETRIES=1\n"
    (tmp_path / ".env").write_text(lines, encoding="utf-8")
    monkeypatch.setenv("DQG_SYNC__TASK_RETRIES", "2")
    found = shown()
    assert found["DQG_SYNC__BATCH_SIZE"] == ("7", "file")
    assert found["DQG_SYNC__TASK_RETRIES"] == ("2", "environment")
    assert found["DQG_SYNC__WRITE_BATCH_SIZE"] == ("200", "default")
    assert set(shown("--changed")) == {*GOOD, "DQG_SYNC__BATCH_SIZE", "DQG_SYNC__TASK_RETRIES"}
    assert dqg_json("config", "show")["file"] == str(tmp_path / ".env")


def test_passwords_are_hidden_and_places_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_API__USERNAME", "chain")
    monkeypatch.setenv("DQG_API__PASSWORD", SECRET)
    text = dqg("config", "show")
    assert SECRET not in text
    found = shown()
    assert SECRET not in str(found)
    assert found["DQG_API__PASSWORD"] == (HIDDEN, "environment")
    for name, place in {
        "DQG_SOURCE__URL": "@sql.example:1433/Pharmacy?driver=FreeTDS",
        "DQG_MONGO__URL": "@m1:27017,m2:27017/dqg?authSource=admin",
        "DQG_REDIS__URL": "@redis.example:6379/0",
    }.items():
        assert place in (found[name][0] or "")


def test_wrong_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DQG_SYNC__BATCH_SIZE", "none")
    assert "DQG_SYNC__BATCH_SIZE" in dqg_json("config", "show", status=1)["error"]


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("rediss://:s3cret@[::1]:6379", f"rediss://:{HIDDEN}@[::1]:6379"),
        ("http://u:s3/cr?et@proxy:3128", f"http://u:{HIDDEN}@proxy:3128"),
        # An @ that is not escaped: nobody knows where the password ends.
        ("mongodb://u:s3@cret@m1/db", HIDDEN),
        ("redis://s3cret:x", HIDDEN),
        (
            "mongodb://m1/db?tls=true&tlsCertificateKeyFilePassword=s3cret",
            f"mongodb://m1/db?tls=true&tlsCertificateKeyFilePassword={HIDDEN}",
        ),
        (
            "mssql+pyodbc:///?odbc_connect=SERVER%3Dsql%3BDATABASE%3DP%3BUID%3Du%3BPWD%3Ds3cret",
            f"mssql+pyodbc:///?odbc_connect=SERVER=sql;DATABASE=P;UID=u;PWD={HIDDEN}",
        ),
        (
            "mssql+pyodbc:///?odbc_connect=PWD={s3;SERVER=cret};DATABASE=P",
            f"mssql+pyodbc:///?odbc_connect=PWD={HIDDEN};DATABASE=P",
        ),
        (
            "mssql+pyodbc:///?odbc_connect=PWD=s3}cret;SERVER=x",
            f"mssql+pyodbc:///?odbc_connect={HIDDEN}",
        ),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, masked: str) -> None:
    assert masked_url(url) == masked


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (True, "true"),
        (60.0, "60"),
        ("https://api.example/a/b", "https://api.example/a/b"),
        ("https://u:s3cret@api.example/a/b", f"https://u:{HIDDEN}@api.example/a/b"),
        ({"A": "b"}, '{"A": "b"}'),
    ],
)
def test_values_look_as_in_the_environment(value: object, text: str | None) -> None:
    assert as_text("setting", value) == text


@pytest.mark.parametrize(
    ("name", "secret", "text"),
    [
        ("url", "redis://:s3cret@redis.example:6379/0", f"redis://:{HIDDEN}@redis.example:6379/0"),
        ("proxy", "http://u:s3cret@proxy.example", f"http://u:{HIDDEN}@proxy.example"),
        ("password", "a://s3cret", HIDDEN),
        ("webhook_url", "https://chat.example/hooks/s3cret", HIDDEN),
        ("password", "prefect-secret://dqg-password", "prefect-secret://dqg-password"),
    ],
)
def test_of_a_secret_only_an_address_is_shown_without_its_password(
    name: str, secret: str, text: str
) -> None:
    assert as_text(name, SecretStr(secret)) == text


def test_secrets_within_a_value_are_hidden() -> None:
    assert "s3cret" not in (as_text("webhook_headers", {"X-Token": SecretStr("s3cret")}) or "")
