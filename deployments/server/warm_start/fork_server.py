"""The preloaded process that flow runs are forked from.

Started by the launcher (`launcher.py`) when the first run needs it, with the listening socket as
file descriptor 3. It imports what every run imports, once, and then forks a child per request. It
has one thread, no connection to any store or server, and no setting of a run. It ends when it has
not been used for a while, or on SIGTERM once its runs have ended. If it is killed, its runs are
killed too.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import importlib
import importlib.util
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from pydantic import BaseModel
from pydantic_settings import BaseSettings, SettingsConfigDict

from deployments.server.warm_start.launcher import (
    REQUEST_FDS,
    ROOT,
    STARTED,
    STATUS,
    decode_request,
    source_version,
)
from lib.settings import WarmStartSettings, settings_file

LISTENER = 3
PR_SET_PDEATHSIG = 1
#: In addition to the flows and their imports: modules that Prefect and the drivers import lazily.
PRELOADED = (
    *("prefect.engine", "prefect.flow_engine", "prefect.task_engine", "prefect._internal.metrics"),
    *("prefect.deployments.steps.core", "prefect.deployments.steps.pull"),
    *("prefect.utilities.visualization", "fastapi.encoders", "anyio._backends._asyncio"),
    *("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.mssql.pyodbc"),
)
#: A driver cannot be imported without the system libraries that it needs.
DRIVERS = ("psycopg", "pyodbc")


@dataclass(slots=True)
class ForkServer:
    """Forks a child for each launcher that asks.

    Args:
        listener: where launchers connect; a Unix socket in a private folder.
        idle_seconds: the server ends after this time without a run.
    """

    listener: socket.socket
    idle_seconds: float
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _waiting: set[socket.socket] = field(default_factory=set)
    _runs: dict[int, socket.socket] = field(default_factory=dict)
    _terminated: bool = False

    def serve(self) -> list[int] | None:
        """Serve requests; returns None in the server, the files of the request in a child.

        The server returns when it is no longer needed. A child gets standard input, output, error,
        and the file that holds the request.
        """
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._terminate)
        self._selector.register(wake_read, selectors.EVENT_READ)
        self._selector.register(self.listener, selectors.EVENT_READ)
        self.listener.setblocking(False)
        used_at = time.monotonic()
        retired = False
        while not retired or self._runs:
            if self._runs or self._waiting:
                used_at = time.monotonic()
            rest = used_at + self.idle_seconds - time.monotonic()
            if not retired and (self._terminated or rest <= 0):
                retired = self._retire()
            for key, _ in self._selector.select(0.1 if self._terminated else max(rest, 0.1)):
                if key.fileobj == wake_read:
                    os.read(wake_read, 512)
                elif key.fileobj is self.listener:
                    self._accept()
                elif key.data is not None:
                    self._pass_on(key.fileobj, key.data)  # type: ignore[arg-type]
                elif files := self._start(key.fileobj):  # type: ignore[arg-type]
                    self._leave(wake_read, wake_write)
                    return files
            self._reap()
        return None

    def _terminate(self, _number: int, _frame: object) -> None:
        self._terminated = True

    def _retire(self) -> bool:
        """Stop accepting requests; False while a launcher holds the lock to start a server."""
        path = self.listener.getsockname()
        with open(os.path.join(os.path.dirname(path), "lock"), "wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            os.unlink(path)
            self._selector.unregister(self.listener)
            # Launchers in its queue see the connection end, and look for another fork server.
            self.listener.close()
        return True

    def _accept(self) -> None:
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            return
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        if struct.unpack("3i", credentials)[1] != os.geteuid():
            connection.close()
            return
        connection.setblocking(False)
        self._waiting.add(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _start(self, connection: socket.socket) -> list[int] | None:
        """Fork for a request; returns its files in the child, None in the server."""
        self._waiting.discard(connection)
        self._selector.unregister(connection)
        try:
            _, files, _, _ = socket.recv_fds(connection, 1, REQUEST_FDS)
        except OSError:
            files = []
        if len(files) != REQUEST_FDS:
            connection.close()
            return None
        if (pid := self._fork()) == 0:
            connection.close()
            return list(files)
        for file in files:
            os.close(file)
        if pid is None:
            connection.close()
            return None
        self._runs[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)
        with contextlib.suppress(OSError):  # a launcher that has ended is noticed next
            connection.send(STARTED)
        return None

    def _fork(self) -> int | None:
        """The child's process id, 0 in the child, None if the system cannot create a process."""
        server = os.getpid()
        # A signal must reach either the server's handlers or those of the run.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
        try:
            pid = os.fork()
            if pid == 0:
                _die_with(server)
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGCHLD, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
        except OSError as error:
            print(f"cannot start a process for a run: {error}", file=sys.stderr, flush=True)
            return None
        else:
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _leave(self, *pipe: int) -> None:
        """In a child: close what belongs to the server and to other runs."""
        self._selector.close()
        self.listener.close()
        for connection in (*self._waiting, *self._runs.values()):
            connection.close()
        for end in pipe:
            os.close(end)

    def _pass_on(self, connection: socket.socket, pid: int) -> None:
        """Forward the launcher's signals to its run; kill the run if the launcher has ended."""
        try:
            signals = connection.recv(64)
        except OSError:
            signals = b""
        for number in signals or [signal.SIGKILL]:
            os.kill(pid, number)
        if not signals:
            self._selector.unregister(connection)

    def _reap(self) -> None:
        while self._runs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            connection = self._runs.pop(pid)
            if connection.fileno() in self._selector.get_map():
                self._selector.unregister(connection)
            with connection, contextlib.suppress(OSError):  # the launcher may have ended
                connection.send(STATUS.pack(status))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, even if the parent is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


class OwnCode(MetaPathFinder, Loader):
    """Gives a run the preloaded modules of this project if it would load the same files.

    A deployment may name another folder for its code; then its runs get the code of that folder.
    """

    def __init__(self, modules: Mapping[str, ModuleType]) -> None:
        self._modules = modules
        self._specs = {name: module.__spec__ for name, module in modules.items()}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """The preloaded package of this name, if the search path leads to the same file."""
        known = self._specs.get(fullname)
        if "." in fullname or known is None:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin != known.origin:
            return None
        inner = {n: m for n, m in self._modules.items() if n.startswith(f"{fullname}.")}
        sys.modules.update(inner)
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module as it was preloaded."""
        return self._modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Only restores the module's `__spec__`: the module was executed when it was preloaded."""
        module.__spec__ = self._specs[module.__name__]


def preload() -> OwnCode:
    """Import what runs import; returns the project's own modules, taken out of `sys.modules`."""
    for name in PRELOADED:
        importlib.import_module(name)
    for name in DRIVERS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    flows = importlib.import_module("flows")
    for info in pkgutil.walk_packages(flows.__path__, "flows."):
        importlib.import_module(info.name)
    _complete(BaseModel)
    own = {
        name: module
        for name, module in sys.modules.items()
        if name.split(".")[0] in ("flows", "tasks", "lib")
    }
    for name in own:
        del sys.modules[name]
    # A run executes this module as its main program.
    del sys.modules["prefect.engine"]
    return OwnCode(own)


def _complete(model: type[BaseModel]) -> None:
    """Build the validators that Prefect's models would otherwise build on first use."""
    for inner in model.__subclasses__():
        if not inner.__pydantic_complete__:
            inner.model_rebuild(raise_errors=False)
        _complete(inner)


def become_run(files: Sequence[int], own_code: OwnCode) -> None:
    """In a child: take over the request's streams, folder and environment, and run its module."""
    *streams, request = files
    for standard, stream in enumerate(streams):
        os.dup2(stream, standard)
        os.close(stream)
    size = os.fstat(request).st_size
    module, folder, environment = decode_request(os.pread(request, size, 0))
    os.close(request)
    os.environb.clear()
    os.environb.update(environment)
    time.tzset()
    os.chdir(folder)
    # The same as with `python -m`; a cold start also adds our own folder.
    sys.path[:] = [os.getcwd(), ROOT, *(entry for entry in sys.path if entry != ROOT)]
    sys.meta_path.insert(0, own_code)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def idle_seconds() -> float:
    """The only setting of the fork server, from the environment or the settings file."""

    class Setting(BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix="DQG_", env_nested_delimiter="__", env_file_encoding="utf-8", extra="ignore"
        )
        warm_start: WarmStartSettings = WarmStartSettings()

    return Setting(_env_file=settings_file()).warm_start.idle_seconds


def main(arguments: Sequence[str]) -> int:
    """Serve until unused; returns the exit status. In a child it runs the module of the request."""
    listener = socket.socket(fileno=LISTENER)
    os.set_inheritable(LISTENER, False)
    idle = idle_seconds()
    own_code = preload()
    if source_version() != arguments[0]:
        print("the code has changed meanwhile", file=sys.stderr)
        return 1
    if threading.active_count() != 1:
        print(f"an import has started threads: {threading.enumerate()}", file=sys.stderr)
        return 1
    gc.collect()
    # Keeps memory shared with the children: the garbage collector would write to every object.
    gc.freeze()
    files = ForkServer(listener, idle).serve()
    if files is not None:
        become_run(files, own_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
