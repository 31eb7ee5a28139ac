"""Client of the admin API, for tests and the launcher."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self, TypedDict

import httpx

from deployments.local.sandbox.store import DocumentCounters

_POLL_SECONDS = 0.02
_MATCH_FIELDS = ("operation", "resource", "ma_co_so", "usr", "code")


class Summary(TypedDict):
    """Totals; `posts` and `calls` count received calls, `documents` the documents stored now."""

    documents: int
    accepted_total: int
    accepted_twice: list[dict[str, Any]]
    duplicates: int
    refused: int
    posts: int
    logins: dict[str, dict[str, int]]
    calls: dict[str, int]
    statuses: dict[str, int]
    in_flight: int
    max_in_flight: int
    faults_fired: dict[str, int]
    by_resource: dict[str, dict[str, int]]


class SandboxAdmin:
    """Synchronous client of `/_sandbox/`.

    Every method raises `httpx.HTTPError` when the sandbox is unavailable or refuses the call.

    Args:
        base_url: of the sandbox, without a path: `http://127.0.0.1:8123`.
    """

    def __init__(self, base_url: str, *, timeout: float = 10) -> None:
        self.base_url = base_url.rstrip("/")
        # A proxy from the environment must not be used between two processes of one machine.
        self._http = httpx.Client(
            base_url=f"{self.base_url}/_sandbox", timeout=timeout, trust_env=False
        )

    @property
    def api_url(self) -> str:
        """Base URL for a client of the national API."""
        return f"{self.base_url}/api"

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_healthy(self) -> bool:
        """Whether the sandbox answers."""
        try:
            return self._http.get("/health").is_success
        except httpx.TransportError:
            return False

    def wait_until(
        self, condition: Callable[[], bool], *, timeout: float = 20, description: str
    ) -> None:
        """Poll until a condition holds.

        Raises:
            TimeoutError: it does not hold in time; the text has the description.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout:g} s: {description}")
            time.sleep(_POLL_SECONDS)

    def summary(self) -> Summary:
        summary: Summary = self._call("GET", "/summary")
        return summary

    def documents(
        self,
        *,
        resource: str | None = None,
        ma_co_so: str | None = None,
        code: str | None = None,
        refused: bool = False,
    ) -> list[DocumentCounters]:
        """Documents that were ever accepted; with `refused`, also those that never were."""
        found: list[DocumentCounters] = self._call(
            "GET", "/documents", params=_filter(resource, ma_co_so, code, refused=refused)
        )
        return found

    def body(self, resource: str, ma_co_so: str, code: str) -> dict[str, Any]:
        """The last accepted body of a document.

        Raises:
            LookupError: the document was never accepted.
        """
        params = {**_filter(resource, ma_co_so, code), "body": "true"}
        found = self._call("GET", "/documents", params=params)
        if not found:
            raise LookupError(f"{resource} {code} was never accepted")
        body: dict[str, Any] = found[0]["body"]
        return body

    def bodies(self, resource: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Bodies of the documents of a resource that are stored now, by facility and code."""
        params = {**_filter(resource, None, None), "body": "true"}
        found = self._call("GET", "/documents", params=params)
        return {
            (item["ma_co_so"], item["code"]): item["body"]
            for item in found
            if item["stored"] and item["body"] is not None
        }

    def calls(self, since: int = 0) -> list[dict[str, Any]]:
        """The calls after a number, in the order of arrival; see `calls.Call`."""
        found: list[dict[str, Any]] = self._call("GET", "/calls", params={"since": since})["calls"]
        return found

    def last_call(self) -> int:
        """Number of the latest call, for `calls(since=...)`."""
        return int(self._call("GET", "/calls", params={"since": 2**62})["last"])

    def add_fault(self, effect: str, *, match: dict[str, Any] | None = None, **fields: Any) -> str:
        """Add a fault (`faults.Fault`) and return its id.

        The conditions `operation`, `resource`, `ma_co_so` and `usr` may be given as fields
        as well; a document's code only in `match`, since `code` is also a field of the effect.
        """
        conditions = {name: fields.pop(name) for name in _MATCH_FIELDS[:-1] if name in fields}
        rule = {"effect": effect, "match": {**conditions, **(match or {})}, **fields}
        return str(self._call("POST", "/faults", json=rule)["id"])

    def faults(self) -> list[dict[str, Any]]:
        """The active rules, each with `fired` and `left`."""
        rules: list[dict[str, Any]] = self._call("GET", "/faults")
        return rules

    def clear_faults(self, fault_id: str | None = None) -> None:
        """Remove one fault, or all."""
        self._call("DELETE", "/faults" if fault_id is None else f"/faults/{fault_id}")

    def options(self) -> dict[str, Any]:
        options: dict[str, Any] = self._call("GET", "/options")
        return options

    def set_options(self, **changes: Any) -> None:
        """Change options (`options.Options`) from now on."""
        self._call("PUT", "/options", json=changes)

    def forget_tokens(self, usr: str | None = None) -> int:
        """Revoke the tokens of one account, or of all; returns their number."""
        return int(self._call("POST", "/tokens/forget", json={"usr": usr})["forgotten"])

    def set_password(self, usr: str, pwd: str) -> None:
        """Change a password; tokens stay valid."""
        self._call("PUT", f"/accounts/{usr}", json={"pwd": pwd})

    def add_account(self, usr: str, pwd: str, ma_co_so: str) -> None:
        self._call("PUT", f"/accounts/{usr}", json={"pwd": pwd, "ma_co_so": ma_co_so})

    def reset(self) -> None:
        """Reset documents, counts, faults, tokens, options and accounts to the start."""
        self._call("POST", "/reset")

    def take_snapshot(self) -> int:
        """Keep a copy of the sandbox's whole state; returns its number for `restore`."""
        return int(self._call("POST", "/snapshots")["number"])

    def restore(self, snapshot: int) -> None:
        """Restore the state of the snapshot."""
        self._call("POST", f"/snapshots/{snapshot}/restore")

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        response = self._http.request(method, path, **arguments)
        if response.is_client_error:
            raise httpx.HTTPStatusError(
                f"the sandbox refused {method} {path}: {response.text}",
                request=response.request,
                response=response,
            )
        return response.raise_for_status().json()


def _filter(
    resource: str | None, ma_co_so: str | None, code: str | None, *, refused: bool = False
) -> dict[str, str]:
    given = {"resource": resource, "ma_co_so": ma_co_so, "code": code}
    conditions = {name: value for name, value in given.items() if value is not None}
    return {**conditions, "refused": "true"} if refused else conditions
