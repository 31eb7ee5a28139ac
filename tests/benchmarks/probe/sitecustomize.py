"""Records every call to the Prefect API, and on request a CPU profile.

Python imports this module automatically in each process that has this folder on its path. One
short line per call is appended to a file, so nothing is lost when a process is killed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def _count_calls() -> None:
    import httpx

    original = httpx.AsyncClient.send
    original_sync = httpx.Client.send
    descriptors: dict[str, int] = {}

    def note(request: httpx.Request) -> None:
        # Read at each call: a forked run gets its environment after this module is imported.
        path, api_url = os.environ.get("BENCH_CALLS_FILE"), os.environ.get("PREFECT_API_URL")
        if not path or not api_url or request.url.netloc != httpx.URL(api_url).netloc:
            return
        if path not in descriptors:
            descriptors[path] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptors[path], f"{request.method} {request.url.path}\n".encode())

    async def send(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> Any:
        note(request)
        return await original(self, request, **options)

    def send_sync(self: httpx.Client, request: httpx.Request, **options: Any) -> Any:
        note(request)
        return original_sync(self, request, **options)

    httpx.AsyncClient.send = send  # type: ignore[method-assign]
    httpx.Client.send = send_sync  # type: ignore[method-assign]


def _sample(folder: str) -> None:
    # The folder of this file is on the path, so the sampler in it needs no package.
    import sampler  # type: ignore[import-not-found]

    sampler.start(Path(folder))


def _sample_forked() -> None:
    """Sample forked runs: they get their environment after this import, and start with `runpy`."""
    import runpy

    original = runpy.run_module

    def run_module(name: str, *arguments: Any, **options: Any) -> Any:
        if os.environ.get("BENCH_SAMPLED_COMMAND") == name:
            _sample(os.environ["BENCH_SAMPLES"])
        return original(name, *arguments, **options)

    runpy.run_module = run_module


if "PREFECT_API_URL" in os.environ:
    _count_calls()
if sys.platform == "linux":
    wanted = os.environ.get("BENCH_SAMPLED_COMMAND")
    if wanted and wanted in " ".join(sys.orig_argv):
        _sample(os.environ["BENCH_SAMPLES"])
    _sample_forked()
