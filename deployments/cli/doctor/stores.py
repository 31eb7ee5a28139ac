"""Checks of MongoDB and Redis."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from deployments.cli.doctor.clocks import note_clock
from deployments.cli.doctor.findings import Finding, Patient, ok
from deployments.cli.language import _
from lib.resilience.redis_fallback import open_redis, redis_errors
from lib.tracking.log_collections import TASK_LOGS
from lib.tracking.mongo import mongo_errors, open_client


async def check_mongo(patient: Patient) -> Sequence[Finding]:
    """MongoDB answers, and the logs can be read."""
    settings = patient.settings.mongo
    client = open_client(settings)
    patient.closing.push_async_callback(client.close)
    with mongo_errors():
        await client[settings.database][TASK_LOGS].find_one({}, {"_id": 1})
        before = time.time()
        told = await client.admin.command("hello")
    if isinstance(moment := told.get("localTime"), datetime):
        note_clock(patient, "MongoDB", moment.timestamp(), before)
    return [ok(_("it answers"))]


async def check_redis(patient: Patient) -> Sequence[Finding]:
    """Redis answers."""
    redis = open_redis(patient.settings.redis)
    patient.closing.push_async_callback(redis.aclose)
    with redis_errors():
        await redis.ping()
        before = time.time()
        seconds, microseconds = await redis.time()
    note_clock(patient, "Redis", seconds + microseconds / 1e6, before)
    patient.redis = redis
    return [ok(_("it answers"))]
