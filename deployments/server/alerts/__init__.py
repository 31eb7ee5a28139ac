"""Alerts: Prefect automations kept as files, and the blocks that carry their messages."""
