"""The benchmark: this project beside a stock dispatch, Celery and a bare loop, on real parts.

`make bench`, or `python -m tests.benchmarks`; docs/performance.md says what is measured and how.
"""
