"""supervisord as a library: its configuration files, and the calls that steer it."""

from __future__ import annotations

import json
import shlex
import sys
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from deployments.local.supervisor.service import Part

RUN_PART = Path(__file__).with_name("run_service.py")


class Control:
    """Calls to one supervisord over its Unix socket. Every call opens a connection.

    All methods raise `OSError` or `xmlrpc.client.Error` when supervisord does not answer.
    """

    def __init__(self, socket: Path, password: str) -> None:
        self._socket = socket
        self._password = password

    def call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport("stack", self._password, f"unix://{self._socket}")
        try:
            with xmlrpc.client.ServerProxy("http://127.0.0.1", transport) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()

    def state(self, name: str) -> Mapping[str, Any]:
        """What supervisord knows of a part: `statename`, `pid`, `exitstatus`, `spawnerr`, …"""
        state: Mapping[str, Any] = self.call("getProcessInfo", name)
        return state


def main_config(folder: Path, socket: Path, password: str, log_file: Path, as_root: bool) -> str:
    """Configuration of supervisord itself; each part has a separate file beside it."""
    return "\n".join(
        [
            "[unix_http_server]",
            f"file={_plain(socket)}",
            "chmod=0600",
            "username=stack",
            f"password={password}",
            "[supervisord]",
            f"logfile={_plain(log_file)}",
            f"pidfile={_plain(folder / 'supervisord.pid')}",
            f"childlogdir={_plain(folder)}",
            "nodaemon=true",
            "minfds=256",
            "minprocs=1",
            *(["user=root"] if as_root else []),
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            "[include]",
            f"files={_plain(folder)}/*.ini",
            "",
        ]
    )


def part_config(part: Part, spec: Path, log_file: Path) -> str:
    """Configuration of one part: started by hand, never restarted, stopped with its children.

    Args:
        spec: file for `run_part` that says what to run.
    """
    command = [sys.executable, "-E", "-s", str(RUN_PART), str(spec)]
    return "\n".join(
        [
            f"[program:{part.name}]",
            f"command={_plain(shlex.join(command))}",
            f"priority={int(part.stage)}",
            "autostart=false",
            "autorestart=false",
            "startsecs=0",
            "startretries=0",
            f"stopsignal={part.stop_signal}",
            f"stopwaitsecs={part.stop_seconds}",
            f"stopasgroup={str(part.signal_group).lower()}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_plain(log_file)}",
            "stdout_logfile_maxbytes=50MB",
            "stdout_logfile_backups=1",
            "",
        ]
    )


def part_spec(part: Part, environment: Mapping[str, str]) -> str:
    """Content of the file for `run_part`: holds the part's secrets."""
    return json.dumps(
        {
            "command": list(part.command),
            "directory": str(part.directory),
            "environment": {**environment, **part.environment},
            "user": part.user,
        }
    )


def daemon_command(config: Path) -> list[str]:
    return [sys.executable, "-m", "supervisor.supervisord", "--silent", "-c", str(config)]


def _plain(value: object) -> str:
    """A path for the configuration file, which reads `%` as the start of an expansion.

    Raises:
        ValueError: the file's format cannot hold the path.
    """
    text = str(value)
    if any(mark in text for mark in ("\n", "\r", " ;", " #", "\t;", "\t#")):
        raise ValueError(f"the supervisor cannot work with the path {text!r}")
    return text.replace("%", "%%")
