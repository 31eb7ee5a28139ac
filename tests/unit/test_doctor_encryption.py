"""Connections that `dqg doctor` finds unencrypted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.cli.doctor.encryption import check_encryption, is_local_host
from deployments.cli.doctor.findings import DoctorContext, Finding, Verdict
from lib.settings import load_settings
from lib.source.engine import create_source_engine


async def _check(monkeypatch: pytest.MonkeyPatch, **urls: str) -> Sequence[Finding]:
    addresses = {"source": "postgresql://localhost/x", "mongo": "mongodb://127.0.0.1"}
    for section, url in (addresses | {"redis": "redis://[::1]"} | urls).items():
        monkeypatch.setenv(f"DQG_{section.upper()}__URL", url)
    monkeypatch.setenv("DQG_ENV_FILE", "")
    settings = load_settings()
    async with AsyncExitStack() as closing:
        context = DoctorContext(closing)
        context.settings = settings
        assert settings.source.url is not None
        url = settings.source.url.get_secret_value()
        context.engine = create_source_engine(url, settings.source)
        with temporary_settings({PREFECT_API_URL: None}):
            return await check_encryption(context)


@pytest.mark.anyio
async def test_stores_on_this_machine_need_no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = await _check(monkeypatch)
    assert found.verdict is Verdict.OK


@pytest.mark.parametrize(
    ("section", "plain", "encrypted"),
    [
        ("source", "postgresql://db.example/x", "postgresql://db.example/x?sslmode=verify-full"),
        ("mongo", "mongodb://u:p@db.example/x", "mongodb://u:p@db.example/x?tls=true"),
        ("redis", "redis://db.example", "rediss://db.example"),
    ],
)
@pytest.mark.anyio
async def test_a_store_elsewhere_without_tls_is_named(
    monkeypatch: pytest.MonkeyPatch, section: str, plain: str, encrypted: str
) -> None:
    (found,) = await _check(monkeypatch, **{section: plain})
    assert found.verdict is Verdict.NOTE
    assert f"DQG_{section.upper()}__URL: the connection to db.example" in found.what
    (found,) = await _check(monkeypatch, **{section: encrypted})
    assert found.verdict is Verdict.OK


def test_only_loopback_is_this_machine() -> None:
    assert is_local_host("127.0.0.9")
    assert is_local_host("localhost")
    assert not is_local_host("10.0.0.1")
    assert not is_local_host("localhost.example")
