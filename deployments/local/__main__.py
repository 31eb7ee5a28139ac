"""`python -m deployments.local`, which is what `make run` runs."""

from __future__ import annotations

import sys

from deployments.local.launcher import main

if __name__ == "__main__":
    sys.exit(main())
