"""Alerts: Prefect automations stored as files, and the blocks that deliver their messages."""
