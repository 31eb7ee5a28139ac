"""Addresses without passwords: only the parts listed here are shown, all others are hidden."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

HIDDEN = "********"

_HOST = r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d+)?"
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*)://"
    r"(?:(?P<user>[^:/?#@]*)(?P<password>:[^@]*)?@)?"
    rf"(?P<place>(?:{_HOST}(?:,{_HOST})*)?(?:/[\w.%~-]*)*)"
    r"(?:\?(?P<query>.*))?",
    re.DOTALL,
)
#: Parameters of an address whose values are not secret.
_OPEN_PARAMETERS = frozenset(
    {
        *("driver", "encrypt", "trustservercertificate", "applicationintent", "app"),
        *("host", "port", "dbname", "db", "sslmode", "application_name", "connect_timeout"),
        *("authsource", "authmechanism", "replicaset", "tls", "ssl", "retrywrites", "w"),
        *("directconnection", "readpreference", "protocol"),
    }
)
#: Parts of an ODBC connection string that are not secret.
_OPEN_ODBC_KEYS = frozenset(
    {"driver", "server", "database", "uid", "port", "encrypt", "trustservercertificate"}
)
#: A value in braces may hold semicolons.
_ODBC_PART = re.compile(r"\s*([^=;{}]+)=(\{(?:[^}]|\}\})*\}|[^;{}]*)(?:;|$)")


def masked_url(url: str) -> str:
    """The address with user, hosts and database; passwords and unknown parameters are hidden.

    A text that does not look like an address is hidden completely.
    """
    match = _URL.fullmatch(url.strip())
    if match is None:
        return HIDDEN
    user, password, query = match["user"], match["password"], match["query"]
    login = "" if user is None else f"{user}{f':{HIDDEN}' if password else ''}@"
    shown = f"{match['scheme']}://{login}{match['place']}"
    return shown if not query else f"{shown}?{'&'.join(map(_parameter, query.split('&')))}"


def _parameter(text: str) -> str:
    name, separator, value = text.partition("=")
    if not separator:
        return HIDDEN
    if name.lower() == "odbc_connect":
        return f"{name}={_connection_string(unquote_plus(value))}"
    return text if name.lower() in _OPEN_PARAMETERS else f"{name}={HIDDEN}"


def _connection_string(text: str) -> str:
    parts = list(_ODBC_PART.finditer(text))
    # A part that was not understood may belong to a password.
    if "".join(part[0] for part in parts) != text:
        return HIDDEN
    return ";".join(
        f"{part[1]}={part[2] if part[1].lower() in _OPEN_ODBC_KEYS else HIDDEN}" for part in parts
    )
