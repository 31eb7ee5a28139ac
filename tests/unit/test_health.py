"""A container's health check says well, or what it has seen."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from deployments.containers.health import Unhealthy, check_http, check_services, main
from deployments.local.supervisor.stack import free_port


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keeps the output of the tests readable."""


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_success_is_well_even_where_a_proxy_is_set(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    check_http(f"{address}/well")
    assert main(["http", f"{address}/well"]) == 0


def test_an_error_is_unwell(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http", f"{address}/ill"]) == 1
    assert "HTTP 503" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", [f"http://127.0.0.1:{free_port()}/", "file:///etc/hostname"], ids=["nobody", "file"]
)
def test_no_answer_and_no_address_are_unwell(url: str) -> None:
    with pytest.raises(Unhealthy):
        check_http(url)


def test_services_without_redis_are_unwell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Unhealthy, match="Redis"):
        check_services(f"redis://127.0.0.1:{free_port()}/0", "prefect-server", "here", 0)
    monkeypatch.delenv("PREFECT_SERVER_DOCKET_URL", raising=False)
    assert main(["services"]) == 1
    assert "unhealthy" in capsys.readouterr().err
