"""supervisord as a library: its configuration files, and the calls that control it."""

from __future__ import annotations

import json
import shlex
import sys
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from deployments.local.supervisor.service import Service

RUN_PART = Path(__file__).with_name("run_service.py")


class Control:
    """Calls to one supervisord over its Unix socket. Every call opens a new connection.

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
        """supervisord's data of a service: `statename`, `pid`, `exitstatus`, `spawnerr`, …"""
        state: Mapping[str, Any] = self.call("getProcessInfo", name)
        return state


def main_config(folder: Path, socket: Path, password: str, log_file: Path, as_root: bool) -> str:
    """Configuration of supervisord itself; each service has a separate file in the same folder."""
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


def service_config(service: Service, spec: Path, log_file: Path) -> str:
    """Configuration of one service: started on request, never restarted, stopped with its children.

    Args:
        spec: file with the command for `run_service`.
    """
    command = [sys.executable, "-E", "-s", str(RUN_PART), str(spec)]
    return "\n".join(
        [
            f"[program:{service.name}]",
            f"command={_plain(shlex.join(command))}",
            f"priority={int(service.stage)}",
            "autostart=false",
            "autorestart=false",
            "startsecs=0",
            "startretries=0",
            f"stopsignal={service.stop_signal}",
            f"stopwaitsecs={service.stop_seconds}",
            f"stopasgroup={str(service.signal_group).lower()}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_plain(log_file)}",
            "stdout_logfile_maxbytes=50MB",
            "stdout_logfile_backups=1",
            "",
        ]
    )


def service_spec(service: Service, environment: Mapping[str, str]) -> str:
    """Content of the file for `run_service`; contains the service's secrets."""
    return json.dumps(
        {
            "command": list(service.command),
            "directory": str(service.directory),
            "environment": {**environment, **service.environment},
            "user": service.user,
        }
    )


def daemon_command(config: Path) -> list[str]:
    return [sys.executable, "-m", "supervisor.supervisord", "--silent", "-c", str(config)]


def _plain(value: object) -> str:
    """A path for the configuration file, which reads `%` as the start of an expansion.

    Raises:
        ValueError: the file's format cannot represent the path.
    """
    text = str(value)
    if any(mark in text for mark in ("\n", "\r", " ;", " #", "\t;", "\t#")):
        raise ValueError(f"the supervisor cannot work with the path {text!r}")
    return text.replace("%", "%%")
