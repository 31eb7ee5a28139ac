"""Starts one flow run in a process forked from a preloaded one; saves seconds of imports per run.

The `command` of the process pools; a worker runs it in place of `python -m prefect.engine`:

    python -I -S deployments/server/warm_start/launcher.py [MODULE]

It hands its environment, working folder and standard streams to the fork server
(`fork_server.py`), which it starts if there is none yet. It then forwards signals, and ends with
the status of the run. If it dies, the fork server kills the run. If a warm start is not possible,
the run starts cold, and one line on standard error gives the reason.

Every run waits for this module's imports, so it uses the standard library only, without `site`.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Mapping

MODULE = "prefect.engine"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
#: Project folders that the fork server imports; a change in them makes it out of date.
SOURCES = ("flows", "tasks", "lib", "deployments/server/warm_start")

#: Standard input, output, error, and the file that holds the request.
REQUEST_FDS = 4
#: The fork server's first byte: the run has started, so it must not be started again.
STARTED = b"s"
#: Its last message: the wait status of the run's process.
STATUS = struct.Struct("i")
#: The fork server answers only after its imports, which take long on a slow machine.
START_SECONDS = 120.0
#: After that time a fork server answers at once, unless it hangs.
ANSWER_SECONDS = 15.0
FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")

#: Variables that programs read at start or import: a fork server and its runs have the same values.
#: All other variables belong to the run and are set after the fork.
_SHARED_VARIABLES = (
    *("PYTHON", "PREFECT_", "LD_", "GLIBC_", "MALLOC_", "LC_", "LANG", "TZ", "OTEL_", "OPENSSL_"),
    *("HOME", "PATH", "SSL_", "PYDANTIC_", "SQLALCHEMY_", "DQG_WARM_START__", "DQG_ENV_FILE"),
)
#: Exceptions: variables that differ between runs and between workers.
_OWN_VARIABLES = ("PREFECT__", "PREFECT_WORKER_WEBSERVER_")


class ColdStart(Exception):
    """A warm start is not possible; the text says why."""


def main(arguments: list[str]) -> int:
    """Run the module; returns its exit status, or ends with the signal that ended the module."""
    module = arguments[0] if arguments else MODULE
    try:
        connection = request_run(module)
    except (ColdStart, OSError) as reason:
        print(f"dqg-sync: cold start of this run: {reason}", file=sys.stderr, flush=True)
        return run_cold(module)
    with connection:
        return follow(connection)


def run_cold(module: str) -> int:
    """Replace this process by an ordinary interpreter that runs the module."""
    paths = (ROOT, os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", module]
    if os.name == "posix":
        os.execve(command[0], command, environment)  # noqa: S606 - the interpreter itself
    import subprocess

    return subprocess.call(command, env=environment)  # noqa: S603 - the interpreter itself


def request_run(module: str) -> socket.socket:
    """Request the run; returns the connection to the fork server, and forwards signals from now on.

    Raises:
        ColdStart, OSError: the run has not been started.
    """
    if sys.platform != "linux":
        raise ColdStart(f"warm starts are not supported on {sys.platform}")
    if os.environ.get("LD_PRELOAD"):
        raise ColdStart("LD_PRELOAD is set, and its library may read variables of the run")
    request = os.memfd_create("request")
    os.write(request, encode_request(module, os.getcwdb(), os.environb))
    version = source_version()
    path = socket_path(version)
    for _ in range(3):
        connection = connect(path) or start_fork_server(path, version)
        # A signal must not arrive after the run has started and before signals are forwarded.
        numbers = [getattr(signal, name) for name in FORWARDED]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        try:
            socket.send_fds(connection, [b"r"], [0, 1, 2, request])
            connection.settimeout(answer_timeout(path))
            if connection.recv(1) == STARTED:
                connection.settimeout(None)
                _forward(numbers, connection)
                return connection
        except ConnectionError:
            pass  # it has just ended, because it was not used or could not import
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        connection.close()
    raise ColdStart(f"the fork server ended; see {log_path(path)}")


def _forward(numbers: list[signal.Signals], connection: socket.socket) -> None:
    def forward(number: int, _frame: object) -> None:
        connection.send(bytes([number]))

    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)


def follow(connection: socket.socket) -> int:
    """Wait until the run has ended; returns its exit status, or ends with the same signal."""
    message = connection.recv(STATUS.size)
    # Without a message the fork server was killed, and the run with it.
    ended = os.waitstatus_to_exitcode(STATUS.unpack(message)[0]) if message else -signal.SIGKILL
    if ended < 0:
        if -ended not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-ended, signal.SIG_DFL)
        os.kill(os.getpid(), -ended)
    return ended


def connect(path: str) -> socket.socket | None:
    """A connection to the fork server at that path, None if there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            return None
        raise
    return connection


def start_fork_server(path: str, version: str) -> socket.socket:
    """Start a fork server, unless another launcher just started one; returns a connection to it.

    Connections are accepted from the beginning, and answered once it has imported everything.
    """
    import fcntl

    with open(os.path.join(os.path.dirname(path), "lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if connection := connect(path):
            return connection
        if os.path.exists(path):
            os.unlink(path)  # left by a fork server that was killed
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen(512)
            if os.fork() == 0:
                _become_fork_server(listener, path, version)
        return connect(path) or _no_fork_server(path)


def _no_fork_server(path: str) -> socket.socket:
    raise ColdStart(f"the fork server did not start; see {log_path(path)}")


def _become_fork_server(listener: socket.socket, path: str, version: str) -> None:
    try:
        os.setsid()
        os.chdir(ROOT)
        nothing = os.open(os.devnull, os.O_RDONLY)
        log = os.open(log_path(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for here, there in ((nothing, 0), (log, 1), (log, 2), (listener.fileno(), 3)):
            os.dup2(here, there, inheritable=True)
        if listener.fileno() != 3:
            listener.close()
        server = [sys.executable, "-m", "deployments.server.warm_start.fork_server", version]
        os.execve(server[0], server, shared_environment())  # noqa: S606 - the interpreter itself
    finally:
        os._exit(1)


def answer_timeout(path: str) -> float:
    """Seconds to wait for the fork server of that socket; the socket is as old as the server."""
    try:
        age = time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return ANSWER_SECONDS  # it has just ended, and the connection shows it
    return min(max(ANSWER_SECONDS, START_SECONDS - age), START_SECONDS)


def log_path(path: str) -> str:
    """The log file of the fork server of that socket, for its errors."""
    return path.removesuffix(".socket") + ".log"


def socket_path(version: str) -> str:
    """The socket of this user's fork server for this code, environment and control group.

    One per control group, so that its limits and its end apply only to the runs of its workers.

    Raises:
        ColdStart: the folder for sockets is not private, or its name is too long.
    """
    import hashlib

    with open("/proc/self/cgroup", "rb") as file:
        group = file.read()
    shared = sorted(shared_environment().items())
    text = repr((sys.executable, sys.version, ROOT, version, group, shared))
    path = os.path.join(private_folder(), hashlib.sha256(text.encode()).hexdigest()[:24])
    if len(path) > 90:
        raise ColdStart(f"the path of the socket is too long: {path}")
    return f"{path}.socket"


def private_folder() -> str:
    """The folder of this user's sockets.

    Raises:
        ColdStart: another user can access it.
    """
    # The owner and the permissions of the folder are checked below.
    parent = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("TMPDIR") or "/tmp"  # nosec B108  # noqa: S108
    folder = os.path.join(parent, f"dqg-sync-{os.geteuid()}")
    os.makedirs(folder, 0o700, exist_ok=True)
    found = os.lstat(folder)
    if found.st_uid != os.geteuid() or found.st_mode != 0o040700:
        raise ColdStart(f"{folder} is not a private folder")
    return folder


def shared_environment() -> dict[str, str]:
    """The part of the environment that a fork server has in common with its runs."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_SHARED_VARIABLES) and not name.startswith(_OWN_VARIABLES)
    }


def source_version() -> str:
    """A hash that changes with every change of the code or of the installed packages."""
    files = [entry for name in SOURCES for entry in _files(os.path.join(ROOT, name))]
    prefix = os.path.dirname(os.path.dirname(sys.executable))
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    try:
        packages = os.stat(os.path.join(prefix, "lib", python, "site-packages")).st_mtime_ns
    except OSError:
        packages = 0
    import hashlib

    return hashlib.sha256(repr((sorted(files), packages)).encode()).hexdigest()[:24]


def _files(folder: str) -> Iterator[tuple[str, int, int]]:
    for entry in os.scandir(folder):
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _files(entry.path)
        else:
            found = entry.stat()
            yield entry.path, found.st_size, found.st_mtime_ns


def encode_request(module: str, folder: bytes, environment: Mapping[bytes, bytes]) -> bytes:
    """A request as bytes: what the run needs in addition to its streams."""
    pairs = [name + b"=" + value for name, value in environment.items()]
    return b"\0".join([module.encode(), folder, *pairs])


def decode_request(data: bytes) -> tuple[str, bytes, dict[bytes, bytes]]:
    """The module, the working folder and the environment of a request."""
    module, folder, *pairs = data.split(b"\0")
    environment = dict(pair.split(b"=", 1) for pair in pairs)
    return module.decode(), folder, environment


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
