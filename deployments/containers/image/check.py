"""Runs during the build of the image: checks the ODBC driver and the imports of all flows.

python -m deployments.containers.image.check
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import yaml

from lib.errors import ConfigurationError
from lib.source.odbc import find_odbc_driver

FILE = Path(__file__).resolve().parents[3] / "prefect.yaml"


def problems() -> list[str]:
    """What is wrong, one message per problem."""
    found = []
    try:
        driver = find_odbc_driver()
        if "/" in driver:
            ctypes.CDLL(driver)
    except (ConfigurationError, OSError) as error:
        found.append(f"SQL Server cannot be reached: {error}")
    from prefect.utilities.importtools import import_object

    for deployment in yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]:
        try:
            import_object(deployment["entrypoint"])
        except (ImportError, AttributeError) as error:
            found.append(f"{deployment['entrypoint']} cannot be imported: {error}")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems()) or 0)
