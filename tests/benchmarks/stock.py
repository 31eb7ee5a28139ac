"""A stock dispatch: one deployment run per document, with one task in it."""

from __future__ import annotations

from prefect import flow, task

from tests.benchmarks.job import current_job


@task(retries=3, retry_delay_seconds=2)
def send(pipeline: str, record_id: int) -> str:
    """Send one document."""
    return current_job().send(pipeline, record_id)


@flow(name="stock")
def stock(pipeline: str, record_id: int) -> str:
    """Send one document."""
    return send(pipeline, record_id)
