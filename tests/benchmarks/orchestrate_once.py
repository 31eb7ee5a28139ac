"""One run of the orchestrator; prints its peak memory."""

from __future__ import annotations

import asyncio
import json
import resource
import sys

from flows.orchestrate import orchestrate


def main() -> None:
    state = asyncio.run(orchestrate(return_state=True))
    if not state.is_completed():
        sys.exit(f"{state.name}: {state.message}")
    # In kilobytes on Linux, in bytes on macOS.
    unit = 1_024 if sys.platform == "linux" else 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    print(json.dumps({"peak_mb": peak}))


if __name__ == "__main__":
    main()
