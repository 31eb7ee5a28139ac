"""Settings: one message names each wrong one, and none shows a secret."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from lib.errors import ConfigurationError
from lib.settings import as_environment, environment_name, load_settings
from lib.settings.secret_references import find_references

GOOD = {
    "DQG_SOURCE__URL": "postgresql+psycopg://localhost/x",
    "DQG_MONGO__URL": "mongodb://localhost",
    "DQG_REDIS__URL": "redis://localhost",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)

    def set_environment(values: Mapping[str, str]) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_environment


def test_the_least_that_is_needed(environment) -> None:
    environment(GOOD)
    assert load_settings().sync.batch_size == 100


def test_everything_missing_is_named_in_one_message(environment) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    for name in ("DQG_SOURCE__URL", "DQG_MONGO__URL", "DQG_REDIS__URL"):
        assert name in str(error.value)


def test_a_wrong_value_is_named_without_being_shown(environment) -> None:
    environment(GOOD | {"DQG_SYNC__BATCH_SIZE": "hunter2"})
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert "DQG_SYNC__BATCH_SIZE" in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_misspelt_setting_is_an_error(environment) -> None:
    environment(GOOD | {"DQG_SYNC__BATCHSIZE": "5"})
    with pytest.raises(ConfigurationError, match="DQG_SYNC__BATCHSIZE"):
        load_settings()


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("DQG_SINC__BATCH_SIZE", "DQG_SYNC__BATCH_SIZE"),
        ("DQG_SYNC__BATCHSIZE", "DQG_SYNC__BATCH_SIZE"),
        ("DQG_SYNC_BATCH_SIZE", "DQG_SYNC__BATCH_SIZE"),
        ("DQG_API__BASEURL", "DQG_API__BASE_URL"),
        ("DQG_MONGO_URL", "DQG_MONGO__URL"),
    ],
)
def test_a_misspelt_name_is_reported_as_written_with_the_nearest(
    environment, written: str, meant: str, in_file: bool
) -> None:
    environment(GOOD if in_file else GOOD | {written: "5"})
    Path(".env").write_text(f"{written}=5\n" if in_file else "", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"  {written}: did you mean {meant}"):
        load_settings()


def test_a_misspelt_pipeline_of_a_deadline_is_an_error(environment) -> None:
    environment(GOOD | {"DQG_ALERTS__DEADLINE_HOURS": '{"imports": 48}'})
    with pytest.raises(ConfigurationError, match=r"DEADLINE_HOURS.*import, sale, cancellation"):
        load_settings()


def test_a_part_of_a_setting_is_no_misspelt_name(environment) -> None:
    environment(GOOD | {"DQG_SOURCE__TABLES__AccountShop": "Accounts"})
    assert load_settings().source.tables


def test_a_file_of_settings_is_read_unless_it_is_switched_off(environment) -> None:
    environment(GOOD)
    Path(".env").write_text("DQG_SYNC__BATCH_SIZE=7\n", encoding="utf-8")
    assert load_settings().sync.batch_size == 7
    environment({"DQG_ENV_FILE": ""})
    assert load_settings().sync.batch_size == 100


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://example.test/api", True),
        ("http://127.0.0.1:8000/api", True),
        ("http://localhost:8000/api", True),
        ("http://example.test/api", False),
        ("http://127.0.0.1.example.test/api", False),
        ("ftp://example.test", False),
        ("https://example.test:70000/api", False),
        ("https://example.test:0/api", False),
        ("https://example.test:port/api", False),
        ("https://example.test:8443/api", True),
    ],
)
def test_the_api_is_reached_by_tls_unless_it_is_on_this_machine(
    environment,
    url: str,
    allowed: bool,
) -> None:
    environment(GOOD | {"DQG_API__BASE_URL": url})
    if allowed:
        assert load_settings().api.base_url == url
    else:
        with pytest.raises(ConfigurationError):
            load_settings()


@pytest.mark.parametrize(("grace", "allowed"), [("75", True), ("74", False)])
def test_a_claim_is_renewed_before_it_counts_as_never_dispatched(
    environment, grace: str, allowed: bool
) -> None:
    environment(GOOD | {"DQG_SYNC__LEASE_SECONDS": "300", "DQG_SYNC__DISPATCH_GRACE": grace})
    if allowed:
        assert load_settings().sync.dispatch_grace == float(grace)
    else:
        with pytest.raises(ConfigurationError, match="quarter of lease_seconds"):
            load_settings()


def test_plain_http_can_be_allowed_on_purpose(environment) -> None:
    environment(
        GOOD | {"DQG_API__BASE_URL": "http://example.test/api", "DQG_API__ALLOW_HTTP": "true"}
    )
    assert load_settings().api.base_url == "http://example.test/api"


def test_url_and_block_exclude_each_other(environment) -> None:
    environment(GOOD | {"DQG_SOURCE__BLOCK": "pharmacy"})
    with pytest.raises(ConfigurationError, match="exactly one"):
        load_settings()


def test_secrets_do_not_show_in_a_representation(environment) -> None:
    environment(
        GOOD
        | {
            "DQG_SOURCE__URL": "postgresql+psycopg://u:planted-secret@localhost/x",
            "DQG_API__USERNAME": "u",
            "DQG_API__PASSWORD": "planted-secret",
        }
    )
    assert "planted-secret" not in repr(load_settings())


@pytest.mark.parametrize("key", ["hunter2", ""])
def test_a_key_that_is_none_is_named_without_being_shown(environment, key: str) -> None:
    environment(GOOD | {"DQG_API__ACCOUNT_KEY": key})
    with pytest.raises(ConfigurationError, match="key 1 is not valid") as error:
        load_settings()
    assert "DQG_API__ACCOUNT_KEY" in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_secret_may_be_a_reference_to_where_it_is_kept(environment) -> None:
    environment(
        GOOD
        | {
            "DQG_API__ACCOUNT_KEY": "prefect-secret://dqg-account-key",
            "DQG_REDIS__URL": "prefect-secret://dqg-redis",
            "DQG_REDIS__PREFIX": "prefect-secret://is-no-secret",
        }
    )
    found = find_references(dict(load_settings()))
    assert {environment_name((r.section, r.field)): r.block for r in found} == {
        "DQG_API__ACCOUNT_KEY": "dqg-account-key",
        "DQG_REDIS__URL": "dqg-redis",
    }


def test_settings_survive_the_way_through_the_environment(environment) -> None:
    environment(as_environment({"sync": {"batch_size": 7}}) | GOOD)
    assert load_settings().sync.batch_size == 7
