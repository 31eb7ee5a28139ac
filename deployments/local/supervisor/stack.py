"""Starts, watches, signals and stops the services of a local stack.

Used by the launcher of `make run` and by the tests. Everything that was started is stopped when
the `with` block ends, and also when the process that entered it is killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from deployments.local.supervisor.control import Control, main_config, service_config, service_spec
from deployments.local.supervisor.service import NotReady, Service, ServiceFailed, Stage

ROOT = Path(__file__).resolve().parents[3]
POLL_SECONDS = 0.1
SOCKET_PATH_LIMIT = 90
PORT_ATTEMPTS = 5
LOG_LINK = "logs"

_RUNNING = ("STARTING", "RUNNING", "STOPPING")


class Stack:
    """A set of running services. More may be added at any time, also by several threads at once.

    Attributes:
        state_dir: logs and data; kept afterwards, unlike `private_dir`.
        private_dir: secrets and sockets, in the system's temporary folder; removed at the end.
        environment: common to all services; each service adds its own variables.

    Args:
        keep_open: file descriptors (of a lock) that stay open until every service has ended, even
            if this process is killed.
    """

    def __init__(self, state_dir: Path, *, keep_open: Sequence[int] = ()) -> None:
        self.state_dir = state_dir.resolve()
        self.environment = _base_environment()
        self._keep_open = keep_open
        self._given_up = threading.Event()
        self.log_dir = self.state_dir / "logs"
        self._services: dict[str, Service] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self.private_dir = _private_folder()
        control_dir = self.private_dir / "control"
        control_dir.mkdir(mode=0o700)
        self._config_dir = control_dir
        password = secrets.token_urlsafe(24)
        self._control = Control(control_dir / "socket", password)
        config = control_dir / "supervisord.conf"
        # supervisord can't write to a file with a percent sign in its path, except through a link.
        (control_dir / LOG_LINK).symlink_to(self.log_dir)
        log_file = control_dir / LOG_LINK / "supervisor.log"
        write_private(
            config,
            main_config(control_dir, control_dir / "socket", password, log_file, os.geteuid() == 0),
        )
        with (self.log_dir / "reaper.log").open("wb") as reaper_log:
            self._reaper = subprocess.Popen(  # noqa: S603
                [
                    sys.executable,
                    "-m",
                    "deployments.local.supervisor.reaper",
                    self.private_dir,
                    config,
                ],
                stdin=subprocess.PIPE,
                stdout=reaper_log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=self.environment,
                pass_fds=self._keep_open,
                start_new_session=True,
            )
        try:
            self._wait_for_control()
        except BaseException:
            self._release_reaper()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stop_all()
        finally:
            self._release_reaper()

    def add(self, service: Service) -> None:
        """Start a new service and wait until it is ready.

        Raises:
            ServiceFailed: it stopped or did not become ready in time; it is no longer running.
        """
        with self._lock:
            spec = self._config_dir / f"{service.name}.json"
            config = self._config_dir / f"{service.name}.ini"
            write_private(spec, service_spec(service, self.environment))
            log_file = self._config_dir / LOG_LINK / f"{service.name}.log"
            write_private(config, service_config(service, spec, log_file))
            self._control.call("reloadConfig")
            self._control.call("addProcessGroup", service.name)
            self._services[service.name] = service
        self.start(service.name)

    def add_on_free_port(self, make_service: Callable[[int], Service]) -> int:
        """Start a service on a free port and return that port.

        If another process takes the port before the service binds it, another free port is tried.

        Raises:
            ServiceFailed: as `add`.
        """
        attempt = 1
        while True:
            port = free_port()
            service = make_service(port)
            try:
                self.add(service)
            except ServiceFailed as failure:
                if not failure.port_taken or attempt == PORT_ATTEMPTS:
                    raise
                self.remove(service.name)
                attempt += 1
            else:
                return port

    def give_up(self) -> None:
        """Make every `add` and `start` that waits for a service fail at once; cannot be undone."""
        self._given_up.set()

    def remove(self, name: str) -> None:
        """Stop a service and remove it, so that another one with its name can be added."""
        self.stop(name)
        with self._lock:
            self._control.call("removeProcessGroup", name)
            for suffix in (".ini", ".json"):
                (self._config_dir / f"{name}{suffix}").unlink()
            del self._services[name]

    def start(self, name: str) -> None:
        """Start a stopped service and wait until it is ready.

        Raises:
            ServiceFailed: it stopped or did not become ready in time; it is no longer running.
        """
        service = self._services[name]
        log_start = self._log_size(name)
        try:
            self._control.call("startProcess", name, False)
            self._wait_until_ready(service, log_start)
        except xmlrpc.client.Fault as fault:
            raise self._failure(
                service, f"cannot be started ({fault.faultString})", log_start
            ) from None
        except ServiceFailed:
            self.stop(name)
            raise

    def stop(self, name: str) -> None:
        """Stop a service and wait until it has ended. Idempotent."""
        self._ask_to_stop(name)
        self._wait_for_end([name])

    def restart(self, name: str) -> None:
        """Stop and start a service.

        Raises:
            ServiceFailed: as `start`.
        """
        self.stop(name)
        self.start(name)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the service's own process, not to its children; does not wait.

        Raises:
            ProcessLookupError: the service is not running.
        """
        pid = self.pid(name)
        if pid is None:
            raise ProcessLookupError(f"{name} is not running")
        os.kill(pid, number)

    def pid(self, name: str) -> int | None:
        """Process id of a service, None when it is not running."""
        return self._control.state(name)["pid"] or None

    def is_running(self, name: str) -> bool:
        return self._control.state(name)["statename"] in _RUNNING

    def stopped_services(self) -> list[str]:
        """Names of services that are not running now, in the order they were added."""
        return [name for name in self._services if not self.is_running(name)]

    def log_file(self, name: str) -> Path:
        return self.log_dir / f"{name}.log"

    def log_tail(self, name: str, lines: int = 15, start: int = 0) -> str:
        """The last lines that a service wrote to its log after byte `start`."""
        path = self.log_file(name)
        if not path.exists():
            return ""
        content = path.read_bytes()[start:].decode(errors="replace")
        return "\n".join(content.splitlines()[-lines:])

    def failure(self, name: str) -> ServiceFailed:
        """The error for a service that is no longer running, with the end of its log."""
        return self._failure(self._services[name], "has stopped unexpectedly", 0)

    def _wait_until_ready(self, service: Service, log_start: int) -> None:
        deadline = time.monotonic() + service.ready_seconds
        while True:
            seen = "not checked yet"
            try:
                service.ready()
                ready = True
            except NotReady as reason:
                ready, seen = False, str(reason)
            if not self.is_running(service.name):
                raise self._failure(service, "stopped while starting", log_start)
            if ready:
                return
            if self._given_up.wait(POLL_SECONDS):
                raise self._failure(service, "was not ready when the wait was cancelled", log_start)
            if time.monotonic() > deadline:
                message = f"was not ready after {service.ready_seconds:.0f} s ({seen})"
                raise self._failure(service, message, log_start)

    def _failure(self, service: Service, reason: str, log_start: int) -> ServiceFailed:
        tail = self.log_tail(service.name, start=log_start)
        return ServiceFailed(service.name, reason, self.log_file(service.name), tail)

    def _log_size(self, name: str) -> int:
        path = self.log_file(name)
        return path.stat().st_size if path.exists() else 0

    def _ask_to_stop(self, name: str) -> None:
        with contextlib.suppress(xmlrpc.client.Fault):  # it is not running
            self._control.call("stopProcess", name, False)

    def _wait_for_end(self, names: list[str]) -> None:
        # The supervisor kills services that do not stop in time, so this loop ends.
        while any(self.is_running(name) for name in names):
            time.sleep(POLL_SECONDS)

    def _stop_all(self) -> None:
        try:
            for stage in sorted(Stage, reverse=True):
                names = [name for name, service in self._services.items() if service.stage == stage]
                for name in names:
                    self._ask_to_stop(name)
                self._wait_for_end(names)
        except (OSError, xmlrpc.client.Error):
            return  # the supervisor has ended: the reaper kills the remaining services

    def _wait_for_control(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self._control.call("getState")
            except (OSError, xmlrpc.client.Error) as error:
                if self._reaper.poll() is not None or time.monotonic() > deadline:
                    tail = (self.log_dir / "reaper.log").read_text(errors="replace")
                    raise ServiceFailed(
                        "supervisor", f"did not start ({error})", self.log_dir / "reaper.log", tail
                    ) from error
                time.sleep(POLL_SECONDS)
            else:
                return

    def _release_reaper(self) -> None:
        assert self._reaper.stdin is not None  # noqa: S101 - it was opened with a pipe
        self._reaper.stdin.close()
        self._reaper.wait()


def free_port() -> int:
    """A port of 127.0.0.1 that is free now and was not returned before."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.add(port)
            return port


_given_ports: set[int] = set()


def _private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="dqg-"))
    if len(os.fsencode(folder)) > SOCKET_PATH_LIMIT - len("/control/socket"):
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="dqg-", dir="/tmp"))  # nosec B108
    if os.geteuid() == 0:
        # PostgreSQL then runs as another user, which must be able to reach its folder in here.
        folder.chmod(0o711)
    return folder


def write_private(path: Path, content: str) -> None:
    """Write a file that only this user may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(content)


def _base_environment() -> dict[str, str]:
    """This process's environment without variables that would point services to other servers."""
    foreign = ("PREFECT_", "DQG_", "PG", "SUPERVISOR_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    local = "127.0.0.1,localhost"
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(filter(None, (kept.get(name), local)))
    return {**kept, "PYTHONUNBUFFERED": "1", "DO_NOT_TRACK": "1"}
