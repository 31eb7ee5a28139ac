"""Finds an ODBC driver for SQL Server: configured, installed, or the one in a Python package."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lib.errors import ConfigurationError

PACKAGE = "mssql_python_odbc"

_REGISTERED = re.compile(r"ODBC Driver (\d+) for SQL Server")
_ARCHITECTURES = {"amd64": "x86_64", "aarch64": "arm64"}
#: Folders of the package by the values of ID and ID_LIKE in /etc/os-release.
_FLAVOURS = {
    "debian": "debian_ubuntu",
    "ubuntu": "debian_ubuntu",
    "rhel": "rhel",
    "fedora": "rhel",
    "centos": "rhel",
    "suse": "suse",
    "sles": "suse",
    "alpine": "alpine",
}


def registered_drivers() -> list[str]:
    """Names of the drivers that the system's driver manager knows.

    Raises:
        ConfigurationError: the driver manager itself is missing.
    """
    try:
        # Not imported at the top: it loads the system's libodbc, which only SQL Server needs.
        pyodbc = importlib.import_module("pyodbc")
    except ImportError as error:
        raise ConfigurationError(
            f"SQL Server needs the ODBC driver manager (package unixodbc, on Debian libodbc2): "
            f"{error}"
        ) from error
    return list(pyodbc.drivers())


def find_odbc_driver(
    configured: str | None = None,
    *,
    registered: Callable[[], Sequence[str]] = registered_drivers,
    packaged: Callable[[], Path | None] | None = None,
) -> str:
    """Name or path of the driver to connect with.

    Args:
        configured: a registered name or a path; takes precedence over everything else.

    Raises:
        ConfigurationError: the configured driver does not exist, or no driver is found.
    """
    if configured:
        return _check_configured(configured, registered)
    versions = {
        int(match[1]): name for name in registered() if (match := _REGISTERED.fullmatch(name))
    }
    if versions:
        return versions[max(versions)]
    path = (packaged or packaged_driver)()
    if path is None:
        raise ConfigurationError(
            "no ODBC driver for SQL Server: install one, or the Python package mssql-python-odbc, "
            "or set DQG_SOURCE__ODBC_DRIVER"
        )
    return str(path)


def _check_configured(driver: str, registered: Callable[[], Sequence[str]]) -> str:
    if "/" in driver or "\\" in driver:
        if not Path(driver).is_file():
            raise ConfigurationError(f"DQG_SOURCE__ODBC_DRIVER: no file {driver}")
        return driver
    names = registered()
    if driver not in names:
        raise ConfigurationError(
            f"DQG_SOURCE__ODBC_DRIVER: no driver {driver!r} is registered; "
            f"there are {', '.join(names) or 'none'}"
        )
    return driver


def packaged_driver() -> Path | None:
    """The driver inside the Python package, for this system and processor; None if there is none.

    Windows' driver manager accepts registered names only, so it cannot use the package.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return driver_in(
        Path(spec.origin).parent / "libs", platform.system(), platform.machine(), _os_release()
    )


def driver_in(
    libraries: Path, system: str, machine: str, os_release: Mapping[str, str]
) -> Path | None:
    """The driver in the package's `libs` folder that fits a system."""
    machine = machine.lower()
    architecture = _ARCHITECTURES.get(machine, machine)
    if system == "Darwin":
        folders, pattern = [libraries / "macos" / architecture / "lib"], "libmsodbcsql*.dylib"
    elif system == "Linux":
        # An unknown distribution gets the build that fits most of them: glibc, the usual paths.
        flavour = _flavour(os_release) or "debian_ubuntu"
        folders = [libraries / "linux" / flavour / name / "lib" for name in (architecture, machine)]
        pattern = "libmsodbcsql*.so*"
    else:
        return None
    return next((path for folder in folders for path in sorted(folder.glob(pattern))), None)


def _flavour(os_release: Mapping[str, str]) -> str | None:
    words = [os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()]
    return next((_FLAVOURS[word] for word in words if word in _FLAVOURS), None)


def _os_release() -> Mapping[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:  # no such file: not Linux, or a bare container
        return {}
