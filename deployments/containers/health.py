"""Health check of a container's program: exit status 0 or 1, and one line with the reason.

    python -m deployments.containers.health http http://127.0.0.1:4200/api/health
    python -m deployments.containers.health services

`http` requests an address and expects success. `services` expects a recent heartbeat, in Redis,
of the Prefect background services of this host: they listen on no port, and a running process may
still be stuck.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

TIMEOUT_SECONDS = 5.0
#: Maximum age of a heartbeat; the services write one every two seconds.
HEARTBEAT_SECONDS = 30.0
DOCKET_URL_VARIABLE = "PREFECT_SERVER_DOCKET_URL"
DOCKET_NAME_VARIABLE = "PREFECT_SERVER_DOCKET_NAME"


class Unhealthy(Exception):
    """The program is not healthy; the message states what was found."""


def check_http(url: str) -> None:
    """Request an address on this machine, without any proxy.

    Raises:
        Unhealthy: no answer, or an error status.
    """
    if not url.startswith("http://"):
        raise Unhealthy(f"{url}: not an http address")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError as error:
        raise Unhealthy(f"{url}: HTTP {error.code}") from error
    except OSError as error:
        raise Unhealthy(f"{url}: {error}") from error


def check_services(url: str, name: str, host: str, now: float) -> None:
    """Look for the heartbeat of a host's background services.

    Args:
        url: URL of the Redis that holds Prefect's task queue.
        name: name of that queue.

    Raises:
        Unhealthy: Redis is unavailable, or there is no recent heartbeat.
    """
    import redis

    try:
        with redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        ) as client:
            beats = client.zrange(f"{name}:workers", 0, -1, withscores=True)
    except (redis.RedisError, OSError) as error:
        raise Unhealthy(f"Redis: {error}") from error
    ages = [now - seen for worker, seen in beats if worker.decode().split("#")[0] == host]
    if not ages:
        raise Unhealthy(f"no heartbeat of {host}")
    if min(ages) > HEARTBEAT_SECONDS:
        raise Unhealthy(f"the last heartbeat of {host} is {min(ages):.0f} s old")


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(prog="python -m deployments.containers.health")
    kinds = made.add_subparsers(dest="kind", required=True)
    kinds.add_parser("http", help="check that an address answers").add_argument("url")
    kinds.add_parser("services", help="check that Prefect's background services of this host work")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if the check failed."""
    options = parser().parse_args(arguments)
    try:
        if options.kind == "http":
            check_http(options.url)
        else:
            check_services(
                os.environ.get(DOCKET_URL_VARIABLE, ""),
                os.environ.get(DOCKET_NAME_VARIABLE, "prefect-server"),
                socket.gethostname(),
                time.time(),
            )
    except (Unhealthy, ValueError) as problem:
        print(f"unhealthy: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
