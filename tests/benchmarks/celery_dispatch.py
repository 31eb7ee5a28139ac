"""Sends every pending document to Celery; with an argument, polls again after that many seconds."""

from __future__ import annotations

import sys
import time

from tests.benchmarks.celery_app import app, send
from tests.benchmarks.job import current_job

CHUNK = 500


def main() -> None:
    period = float(sys.argv[1]) if len(sys.argv) > 1 else None
    job = current_job()
    newest: dict[str, int] = {}
    with app.connection_for_write() as connection:
        while True:
            pending = job.pending(newest)
            for start in range(0, len(pending), CHUNK):
                refs = pending[start : start + CHUNK]
                job.log_dispatch(refs)
                for ref in refs:
                    send.apply_async((ref.pipeline, ref.record_id), connection=connection)
                    newest[ref.pipeline] = ref.record_id
            if period is None:
                return
            time.sleep(period)


if __name__ == "__main__":
    main()
