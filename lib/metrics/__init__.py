"""Metrics of runs: their definitions, their files, and the recorder."""
