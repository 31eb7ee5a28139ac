"""Names under which runs appear in the UI."""

from __future__ import annotations

from prefect.runtime import flow_run

from lib.daily_close.collect import yesterday


def pipeline_run_name() -> str:
    """`sale HD-S01-000101` for a document, `sale batch 1f0c93ab` for a batch."""
    parameters = flow_run.parameters
    local_id = next((v for k, v in parameters.items() if k.startswith("local_") and v), None)
    claim = f"batch {str(parameters.get('claim_token'))[:8]}"
    return f"{flow_run.flow_name} {local_id or claim}"


def scheduler_run_name() -> str:
    """`orchestrate 2026-11-02 08:15:00` (UTC)."""
    return f"{flow_run.flow_name} {flow_run.scheduled_start_time:%Y-%m-%d %H:%M:%S}"


def daily_close_run_name() -> str:
    """`daily-close 2026-11-02`."""
    return f"{flow_run.flow_name} {flow_run.parameters.get('day') or yesterday()}"
