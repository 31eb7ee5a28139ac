"""The job on Celery: one task per document, the broker is the same Redis.

Settings come from the environment as for this project. No result backend: results are not read.
Late acknowledgement, because a document lost with its worker would never be sent.
"""

from __future__ import annotations

import os

from celery import Celery

from lib.errors import OutcomeUnknown, Unavailable
from tests.benchmarks.job import current_job

app = Celery("bench", broker=os.environ.get("DQG_REDIS__URL"))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)


@app.task(
    name="send",
    autoretry_for=(Unavailable, OutcomeUnknown),
    retry_backoff=2,
    retry_jitter=True,
    max_retries=3,
)
def send(pipeline: str, record_id: int) -> None:
    """Send one document."""
    current_job().send(pipeline, record_id)
