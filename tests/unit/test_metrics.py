"""Metrics: nothing is lost, nothing counts twice, and the folder does not grow."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from deployments.containers.metrics import main, metrics_of, serving
from lib.metrics.families import FAMILIES, Key, Kind
from lib.metrics.files import TOTAL, ProcessFile, Reading, read
from lib.metrics.recorder import Metrics, open_metrics
from lib.models import Attempt, DocumentRef, Outcome, OutcomeKind, PipelineSummary
from lib.resilience.breaker_rules import BreakerState, Transition
from lib.settings import MetricsSettings

ROOT = Path(__file__).resolve().parents[2]
RETRIES = Key("counter", "dqg_retries_total", ("sale",))
REF = DocumentRef("sale", 1, "HD-1", "790760001234", "SHOP01")


@contextmanager
def process(folder: Path) -> Iterator[Metrics]:
    """What a run counts with; its end is the end of the run."""
    with open_metrics(MetricsSettings(dir=folder)) as metrics:
        yield metrics


def retry(folder: Path, times: int = 1) -> None:
    with process(folder) as metrics:
        for _ in range(times):
            metrics.retried("sale")


def retries(folder: Path) -> float:
    return read(folder).values.get(RETRIES, (0.0, 0.0))[0]


def samples(reading: Reading, now: float | None = None) -> dict[str, float]:
    """Values as Prometheus sees them, by name and labels."""
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for metric in metrics_of(reading, now or time.time())
        for sample in metric.samples
    }


# Files


def test_runs_that_have_ended_and_those_under_way_add_up(tmp_path: Path) -> None:
    retry(tmp_path, 2)
    retry(tmp_path, 3)
    with process(tmp_path) as metrics:
        metrics.retried("sale")
        assert retries(tmp_path) == 6
        metrics.retried("sale")
        assert (retries(tmp_path), read(tmp_path).live) == (7, 1)
    assert (retries(tmp_path), read(tmp_path).live) == (7, 0)


def test_the_files_of_runs_that_have_ended_are_removed(tmp_path: Path) -> None:
    for _ in range(5):
        retry(tmp_path)
    assert retries(tmp_path) == 5
    assert list(tmp_path.glob("*.db")) == []
    assert retries(tmp_path) == 5


def test_the_folder_does_not_grow_where_nobody_reads_it(tmp_path: Path) -> None:
    for _ in range(120):
        retry(tmp_path)
    assert len(list(tmp_path.iterdir())) < 60
    assert retries(tmp_path) == 120


def test_what_a_killed_process_counted_is_kept(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from lib.metrics.files import ProcessFile\n"
        "from lib.metrics.recorder import Metrics\n"
        f"metrics = Metrics(ProcessFile(Path({str(tmp_path)!r})))\n"
        "for _ in range(7): metrics.retried('sale')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)  # noqa: S603
    assert killed.returncode < 0
    assert retries(tmp_path) == 7
    assert list(tmp_path.glob("*.db")) == []


def test_a_reader_that_dies_before_it_has_removed_a_file_counts_it_once(tmp_path: Path) -> None:
    retry(tmp_path, 4)
    (file,) = tmp_path.glob("*.db")
    kept = tmp_path / "kept"
    shutil.copy(file, kept)
    assert retries(tmp_path) == 4
    # As after a kill between the new total and the removal.
    kept.rename(file)
    assert retries(tmp_path) == 4
    assert list(tmp_path.glob("*.db")) == []
    retry(tmp_path)
    assert retries(tmp_path) == 5


def test_many_processes_and_readers_at_once_lose_nothing(tmp_path: Path) -> None:
    done = threading.Event()

    def read_on() -> list[float]:
        seen = []
        while not done.is_set():
            seen.append(retries(tmp_path))
        return seen

    with ThreadPoolExecutor(10) as pool:
        readers = [pool.submit(read_on) for _ in range(2)]
        writers = [pool.submit(retry, tmp_path, 3) for _ in range(60)]
        for writer in writers:
            writer.result()
        done.set()
        seen = [reader.result() for reader in readers]
    assert retries(tmp_path) == 180
    assert all(values == sorted(values) for values in seen), "a counter went backwards"


def test_a_total_that_cannot_be_read_is_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    retry(tmp_path)
    assert retries(tmp_path) == 1
    (tmp_path / TOTAL).write_text('{"values": [[', encoding="utf-8")
    retry(tmp_path, 2)
    assert retries(tmp_path) == 2
    assert "all counters restart at 0" in caplog.text
    assert (tmp_path / f"{TOTAL}.broken").exists()


def test_a_file_that_makes_no_sense_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "1-broken.db").write_bytes(b"\x3c\0\0\0" + b"\x7f" * 60)
    (tmp_path / "2-empty.db").write_bytes(b"")
    retry(tmp_path)
    assert retries(tmp_path) == 1
    assert "1-broken.db cannot be read" in caplog.text
    assert list(tmp_path.glob("*.db")) == []


def test_a_folder_that_cannot_be_used_stops_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taken = tmp_path / "file"
    taken.write_text("", encoding="utf-8")
    retry(taken)
    assert "DQG_METRICS__DIR" in caplog.text


def test_labels_without_bound_do_not_fill_the_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with process(tmp_path) as metrics:
        for number in range(1500):
            metrics.retried(f"pipeline {number}")
        (file,) = tmp_path.glob("*.db")
        assert file.stat().st_size == 64 * 1024
    assert caplog.text.count("are not recorded") == 1


def test_after_its_end_a_run_counts_no_more(tmp_path: Path) -> None:
    file = ProcessFile(tmp_path)
    metrics = Metrics(file)
    metrics.retried("sale")
    file.close()
    file.close()
    metrics.retried("sale")
    assert retries(tmp_path) == 1


def test_without_a_folder_nothing_is_counted_and_nothing_is_loaded() -> None:
    code = (
        "import sys, lib.services\n"
        "from lib.metrics.recorder import open_metrics\n"
        "from lib.settings import MetricsSettings\n"
        "with open_metrics(MetricsSettings()) as metrics: metrics.retried('sale')\n"
        "sys.exit(any(name.startswith('prometheus_client') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)  # noqa: S603


# What is counted


def attempt(**changes: object) -> Attempt:
    fields = {"action": "submit", "duration_ms": 300.0, "http_status": 200, "error_class": None}
    return Attempt(at=datetime.now(UTC), **(fields | changes))  # type: ignore[arg-type]


def test_calls_are_counted_by_what_they_meant_and_how_long_they_took(tmp_path: Path) -> None:
    with process(tmp_path) as metrics:
        metrics.called("sale", attempt())
        metrics.called("sale", attempt(error_class="rejected", duration_ms=700.0))
        metrics.called("sale", attempt(http_status=503, error_class="unavailable"))
        metrics.called("sale", attempt(http_status=None, error_class="outcome_unknown"))
    found = samples(read(tmp_path))
    assert found["dqg_api_calls_total['2xx', 'ok', 'sale', 'submit']"] == 1
    assert found["dqg_api_calls_total['2xx', 'rejected', 'sale', 'submit']"] == 1
    assert found["dqg_api_calls_total['5xx', 'sale', 'submit', 'unavailable']"] == 1
    assert found["dqg_api_calls_total['none', 'outcome_unknown', 'sale', 'submit']"] == 1
    assert found["dqg_api_call_seconds_bucket['0.25', 'sale', 'submit']"] == 0
    assert found["dqg_api_call_seconds_bucket['0.5', 'sale', 'submit']"] == 3
    assert found["dqg_api_call_seconds_bucket['+Inf', 'sale', 'submit']"] == 4
    assert found["dqg_api_call_seconds_count['sale', 'submit']"] == 4
    assert found["dqg_api_call_seconds_sum['sale', 'submit']"] == pytest.approx(1.6)


def test_outcomes_claims_and_breakers_are_counted(tmp_path: Path) -> None:
    with process(tmp_path) as metrics:
        metrics.document_ended(Outcome(REF, "token", OutcomeKind.ACCEPTED))
        metrics.document_ended(Outcome(REF, "token", OutcomeKind.FAILED, error_class="invalid"))
        metrics.accepted_with_warnings("sale")
        metrics.claim_lost("sale")
        metrics.saved(30, 0.02)
        metrics.save_failed()
        metrics.breakers_changed(
            None,
            Transition("account:1", BreakerState.CLOSED, BreakerState.OPEN, "refused"),
            Transition("pipeline:sale", BreakerState.OPEN, BreakerState.CLOSED, "busy"),
        )
    found = samples(read(tmp_path))
    assert found["dqg_documents_total['accepted', 'none', 'sale']"] == 1
    assert found["dqg_documents_total['failed', 'invalid', 'sale']"] == 1
    assert found["dqg_warnings_total['sale']"] == 1
    assert found["dqg_claims_lost_total['sale']"] == 1
    assert found["dqg_write_batch_size_sum[]"] == 30
    assert found["dqg_save_failures_total[]"] == 1
    assert found["dqg_breaker_changes_total['account', 'open']"] == 1
    assert found["dqg_breaker_changes_total['closed', 'pipeline']"] == 1


def test_of_a_gauge_the_last_value_counts_until_it_is_old(tmp_path: Path) -> None:
    with process(tmp_path) as early:
        early.backlog_read([PipelineSummary("sale", pending=5, waiting=2)])
        with process(tmp_path) as late:
            late.backlog_read([PipelineSummary("sale", pending=3, oldest_pending_seconds=9.0)])
            late.breakers_read("sale", "half_open", 2)
    reading = read(tmp_path)
    found = samples(reading)
    assert found["dqg_queue_documents['ready', 'sale']"] == 3
    assert found["dqg_queue_documents['sale', 'waiting']"] == 0
    assert found["dqg_queue_oldest_seconds['sale']"] == 9
    assert found["dqg_breaker_state['sale']"] == 1
    assert found["dqg_paused_shops['sale']"] == 2
    old = samples(reading, now=time.time() + 3600)
    assert [name for name in old if name.startswith(("dqg_queue", "dqg_breaker_state"))] == [
        "dqg_queue_read_timestamp_seconds[]"
    ]


def test_what_another_version_counted_is_left_out() -> None:
    reading = Reading()
    reading.add(
        [
            (Key("counter", "dqg_gone_total"), 1.0, 0.0),
            (Key("counter", "dqg_retries_total", ("sale", "one label more")), 1.0, 0.0),
            (RETRIES, 2.0, 0.0),
        ]
    )
    assert samples(reading) == {"dqg_retries_total['sale']": 2}


def test_no_label_can_take_the_place_of_a_document_or_a_person() -> None:
    bounded = {"pipeline", "outcome", "reason", "action", "status", "result", "kind", "state"}
    assert {label for family in FAMILIES.values() for label in family.labels} <= bounded
    for name, family in FAMILIES.items():
        assert name.endswith("_total") == (family.kind is Kind.COUNTER)


# Served


def test_the_exporter_answers_in_prometheus_own_format(tmp_path: Path) -> None:
    folder = tmp_path / "made by the exporter"
    with serving(folder, "127.0.0.1", 0) as port:
        retry(folder, 3)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (sample,) = families["dqg_retries"].samples
    assert (sample.labels, sample.value) == ({"pipeline": "sale"}, 3)
    assert families["dqg_runs"].samples[0].value == 0
    # Nothing of this process itself, only what the runs counted.
    assert all(name.startswith("dqg_") for name in families)
    missing = {name.removesuffix("_total") for name in FAMILIES} - set(families)
    assert missing == set()


def test_the_exporter_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1
    assert "DQG_SOURCE__URL" in capsys.readouterr().err
    for name in ("SOURCE", "MONGO", "REDIS"):
        monkeypatch.setenv(f"DQG_{name}__URL", "postgresql+psycopg://x")
    assert main([]) == 1
    assert "DQG_METRICS__DIR is not set" in capsys.readouterr().err
    with serving(tmp_path, "127.0.0.1", 0) as port:
        monkeypatch.setenv("DQG_METRICS__DIR", str(tmp_path))
        monkeypatch.setenv("DQG_METRICS__PORT", str(port))
        assert main([]) == 1
    assert "in use" in capsys.readouterr().err


# Documented


def test_the_page_names_every_metric_with_its_labels_and_no_other() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(dqg_\w+)` \| (\w+)(?:: ([\w, ]+))? \|", page, re.MULTILINE)
    documented = {
        name: (kind, tuple(filter(None, labels.split(", ")))) for name, kind, labels in rows
    }
    assert documented.pop("dqg_runs") == ("gauge", ())
    assert documented == {
        name: (family.kind.value, family.labels) for name, family in FAMILIES.items()
    }


def test_the_rules_of_the_page_use_metrics_and_labels_that_exist() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    (rules,) = [block["groups"][0]["rules"] for block in blocks if "groups" in block]
    assert len(rules) > 5
    for rule in rules:
        for name, labels in re.findall(r"(dqg_\w+)(?:\{(\w+)=)?", rule["expr"]):
            family = FAMILIES[name.removesuffix("_bucket")]
            assert not labels or labels in family.labels, rule
