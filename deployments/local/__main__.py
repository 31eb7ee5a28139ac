"""`python -m deployments.local`, the command of `make run`."""

from __future__ import annotations

import sys

from deployments.local.launcher import main

if __name__ == "__main__":
    sys.exit(main())
