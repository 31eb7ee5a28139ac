"""Metrics of runs: what is counted, the files it is counted in, and what records it."""
