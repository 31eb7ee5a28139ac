"""Checks of MongoDB and Redis."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from deployments.cli.doctor.clocks import note_clock
from deployments.cli.doctor.findings import DoctorContext, Finding, ok
from deployments.cli.language import _
from lib.resilience.redis_fallback import open_redis, redis_errors
from lib.tracking.log_collections import TASK_LOGS
from lib.tracking.mongo import mongo_errors, open_client


async def check_mongo(context: DoctorContext) -> Sequence[Finding]:
    """MongoDB answers, and the logs can be read."""
    settings = context.settings.mongo
    client = open_client(settings)
    context.closing.push_async_callback(client.close)
    with mongo_errors():
        await client[settings.database][TASK_LOGS].find_one({}, {"_id": 1})
        before = time.time()
        shown = await client.admin.command("hello")
    if isinstance(moment := shown.get("localTime"), datetime):
        note_clock(context, "MongoDB", moment.timestamp(), before)
    return [ok(_("it answers"))]


async def check_redis(context: DoctorContext) -> Sequence[Finding]:
    """Redis answers."""
    redis = open_redis(context.settings.redis)
    context.closing.push_async_callback(redis.aclose)
    with redis_errors():
        await redis.ping()
        before = time.time()
        seconds, microseconds = await redis.time()
    note_clock(context, "Redis", seconds + microseconds / 1e6, before)
    context.redis = redis
    return [ok(_("it answers"))]
