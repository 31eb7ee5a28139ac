"""The benchmark: compares this project with stock dispatch, Celery and a bare loop, on real parts.

`make bench`, or `python -m tests.benchmarks`; docs/performance.md describes the measurements.
"""
