"""Opening the services: where the connection comes from, and what is said when it is missing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_sqlalchemy import SqlAlchemyConnector
from pydantic import SecretStr

from flows.orchestrate import orchestrate
from flows.pipelines import sale
from lib.errors import ConfigurationError, StoreUnavailable
from lib.pipelines import SALE
from tasks.configuration import read_settings
from tests.support.system import System

pytestmark = pytest.mark.anyio


async def test_the_connection_may_come_from_a_block(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "HD-1")
    block = SqlAlchemyConnector(connection_info=system.environment["DQG_SOURCE__URL"])
    await block.save("pharmacy", overwrite=True)
    monkeypatch.delenv("DQG_SOURCE__URL")
    monkeypatch.setenv("DQG_SOURCE__BLOCK", "pharmacy")
    state = await sale(local_invoice_id="HD-1", return_state=True)
    assert state.is_completed()
    assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"


async def test_a_block_that_does_not_exist_is_named(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DQG_SOURCE__URL")
    monkeypatch.setenv("DQG_SOURCE__BLOCK", "nowhere")
    state = await sale(local_invoice_id="HD-1", return_state=True)
    assert state.is_failed()
    assert "DQG_SOURCE__BLOCK" in (state.message or "")
    assert "nowhere" in (state.message or "")


@pytest.mark.parametrize("password", ["demo_password", "0123456789", '"quoted"', "null"])
async def test_a_secret_may_come_from_a_block_as_it_was_written(
    system: System, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    await Secret(value=password).save("dqg-password", overwrite=True)
    monkeypatch.setenv("DQG_API__USERNAME", "chain")
    monkeypatch.setenv("DQG_API__PASSWORD", "prefect-secret://dqg-password")
    settings = await read_settings()
    assert settings.api.password == SecretStr(password)


async def test_documents_are_sent_with_what_a_secret_block_holds(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "HD-1")
    for name in ("MONGO", "REDIS", "SOURCE"):
        variable = f"DQG_{name}__URL"
        block = f"dqg-{name.lower()}"
        await Secret(value=system.environment[variable]).save(block, overwrite=True)
        monkeypatch.setenv(variable, f"prefect-secret://{block}")
    state = await sale(local_invoice_id="HD-1", return_state=True)
    assert state.is_completed()
    assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"


async def test_a_secret_block_that_does_not_exist_is_named(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "HD-1")
    monkeypatch.setenv("DQG_MONGO__URL", "prefect-secret://nowhere")
    state = await sale(local_invoice_id="HD-1", return_state=True)
    assert state.is_failed()
    assert "DQG_MONGO__URL: there is no Secret block 'nowhere'" in (state.message or "")
    assert system.document("sale", "HD-1").status == "PENDING_SYNC"


async def test_a_secret_block_is_checked_like_a_setting(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Secret(value="hunter2").save("dqg-key", overwrite=True)
    monkeypatch.setenv("DQG_API__ACCOUNT_KEY", "prefect-secret://dqg-key")
    with pytest.raises(ConfigurationError, match="DQG_API__ACCOUNT_KEY") as error:
        await read_settings()
    assert "hunter2" not in str(error.value)
    await Secret(value={"no": "text"}).save("dqg-key", overwrite=True)
    with pytest.raises(ConfigurationError, match="does not contain a text"):
        await read_settings()


@pytest.mark.usefixtures("system")
async def test_secret_blocks_without_a_prefect_server_are_a_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DQG_MONGO__URL", "prefect-secret://dqg-mongo")
    for url, problem in (
        ("http://127.0.0.1:9/api", StoreUnavailable),
        (None, ConfigurationError),
    ):
        with temporary_settings({PREFECT_API_URL: url}), pytest.raises(problem) as error:
            await read_settings()
        assert "DQG_MONGO__URL" in str(error.value)


async def test_wrong_settings_are_named_before_anything_is_claimed(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "HD-1")
    monkeypatch.setenv("DQG_SYNC__BATCH_SIZE", "none")
    state = await orchestrate(return_state=True)
    assert state.is_failed()
    assert "DQG_SYNC__BATCH_SIZE" in (state.message or "")
    assert system.document("sale", "HD-1").claim_token is None


async def test_an_unreachable_source_database_is_a_clear_error(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DQG_SOURCE__URL", "postgresql+psycopg://u:secret@127.0.0.1:1/x")
    monkeypatch.setenv("DQG_SOURCE__CONNECT_TIMEOUT", "2")
    state = await orchestrate(return_state=True)
    assert state.is_failed()
    assert "source database" in (state.message or "")
    assert "secret" not in (state.message or "")


@pytest.mark.settings(mongo={"timeout": 0.3})
async def test_without_mongodb_documents_are_sent_all_the_same(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "HD-1")
    monkeypatch.setenv("DQG_MONGO__URL", "mongodb://127.0.0.1:1")
    state = await sale(local_invoice_id="HD-1", return_state=True)
    assert state.is_completed()
    assert system.document("sale", "HD-1").status == "SYNC_SUCCESS"


@pytest.mark.settings(redis={"timeout": 0.3})
async def test_without_redis_documents_are_sent_all_the_same(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        system.add("sale", f"HD-{number}")
    monkeypatch.setenv("DQG_REDIS__URL", "redis://127.0.0.1:1")
    claim = system.source.claims.claim(SALE, token="batch", limit=5, lease=timedelta(seconds=60))
    state = await sale(claim_token=claim.token, return_state=True)
    assert state.message == "5 accepted"
    assert system.admin.summary()["logins"]["demo_hoasen"]["ok"] == 1


async def test_without_the_api_nothing_is_marked_failed(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.add("sale", "HD-1")
    monkeypatch.setenv("DQG_API__BASE_URL", "http://127.0.0.1:1/api")
    state = await sale(local_invoice_id="HD-1", return_state=True)
    assert state.is_failed()
    document = system.document("sale", "HD-1")
    assert (document.status, document.claim_token) == ("PENDING_SYNC", None)
