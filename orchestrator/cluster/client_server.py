"""Finds out why a server for Ray's clients serves none: Ray's own message names at best a file, and often nothing.

The server starts a process for each client. What ended that process is in a log of its own, beside the server's.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

LOGS = ("ray_client_server_*.err", "ray_client_server_*.out", "ray_client_server.err")
"""The first that says something is quoted: the server itself writes of every client that comes and goes."""
WORDS = 300
"""Characters of a line that are quoted."""
IDLE = ("\tINFO ", "\tDEBUG ")
"""In lines of a log that tell of no fault."""


def why(message: str, address: str, since: float) -> str:
    """What the server at ``ray://HOST:PORT`` said, and what its logs have said from ``since`` on, a time of the clock.

    The first line of the message only says that it failed.
    """
    host, port = urlsplit(address).hostname or "", urlsplit(address).port
    said = _last(message.splitlines()[1:])
    logged = next((line for folder in _log_folders(host, port) for line in _log_lines(folder, since)), None)
    if logged is None:
        names = f"{LOGS[-1]} and {LOGS[0]}"
        logged = f"the logs on the node {host} say why: {names}, by default in /tmp/ray/session_latest/logs"
    return "; ".join(filter(None, [said, logged]))


def _log_folders(host: str, port: int | None) -> Iterator[Path]:
    """Where a server of this machine writes to: what it says is redirected there."""
    import psutil

    for process in psutil.process_iter() if _is_here(host) else ():
        with suppress(psutil.Error, OSError):
            words = process.cmdline()
            if "ray.util.client.server" in words and f"--port={port}" in words:
                yield Path(os.readlink(f"/proc/{process.pid}/fd/2")).parent


def _log_lines(folder: Path, since: float) -> Iterator[str]:
    for pattern in LOGS:
        with suppress(OSError):
            written = {path: path.stat().st_mtime for path in folder.glob(pattern)}
            for path in sorted(written, key=lambda path: written[path], reverse=True):
                if written[path] >= since and (line := _last(path.read_text(errors="replace").splitlines())):
                    yield f"{path} says: {line}"


def _last(lines: list[str]) -> str:
    """The last that says something, and does not only tell of what goes well."""
    return next((line.strip()[:WORDS] for line in reversed(lines) if line.strip() and not _is_idle(line)), "")


def _is_idle(line: str) -> bool:
    return any(mark in line for mark in IDLE)


def _is_here(host: str) -> bool:
    """Whether the host is this machine: only then can a socket be bound to its address."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(place)
    except OSError:
        return False
    return True
