"""`python -m deployments.faults`."""

from __future__ import annotations

import sys

from deployments.faults.suite import main

if __name__ == "__main__":
    sys.exit(main())
