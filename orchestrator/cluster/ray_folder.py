"""The private folder of a cluster of our own: its sockets, logs and spilled objects, gone with it. Imports no Ray."""

from __future__ import annotations

import os
import re
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from anytime_core.files import STALE, LocalFolder, plain_files
from orchestrator.errors import ClusterError

LONGEST_SOCKET = 107
"""Bytes that the system has for the path of a socket."""
BELOW = len("/ray-12345678/r/session_2026-11-29_10-45-40_392615_4194304/sockets/plasma_store")
LONGEST = LONGEST_SOCKET - BELOW
"""Bytes of a folder that can hold ours."""
MADE = re.compile(r"ray-[a-z0-9_]{8}")
SOCKETS = "r/session_*/sockets/*"
KEPT = "ray-logs"
VARIABLES = ("RAY_TMPDIR", "TMPDIR")
SHORT = ("/tmp", "/var/tmp", "/dev/shm")


def make() -> Path:
    """Makes a folder that nobody else can look into, in the first place where its sockets can be. Raises ClusterError
    where there is none."""
    faults = []
    for place in _places():
        try:
            return Path(tempfile.mkdtemp(prefix="ray-", dir=place))
        except OSError as error:
            faults.append(f"{place}: {error.strerror}")
    raise ClusterError(
        f"no place for Ray's files: {'; '.join([*_too_long(), *faults])}; "
        f"allowed: a folder that can be written, of at most {LONGEST} bytes, in RAY_TMPDIR"
    )


def inner(made: Path) -> Path:
    """What to name to Ray, which opens to all the very folder that it is given."""
    return made / "r"


def keep_logs(made: Path, folder: LocalFolder) -> str:
    """Copies Ray's logs to where they outlive its folder, as far as they can be. Returns where that is."""
    logs = (inner(made) / "session_latest" / "logs").resolve()
    for path in plain_files(logs):
        with suppress(OSError):
            folder.write(f"{KEPT}/{path.relative_to(logs)}", path.read_bytes())
    return folder.address(KEPT)


def left() -> list[Path]:
    """Those that this user's commands made and could not take away, as where a whole machine was lost. One that any
    process names, or whose sockets answer, as they do from another container, is in use."""
    made = [Path(entry.path) for place in _places() for entry in _entries(place) if _is_ours(entry)]
    if not made:
        return []
    said = _said_by_processes()
    return [path for path in made if str(path) not in said and not any(map(_answers, path.glob(SOCKETS)))]


def _entries(place: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except OSError:
        return []


def _is_ours(entry: os.DirEntry[str]) -> bool:
    """Whether ``make`` made it: a private folder of this user, in which Ray has begun."""
    with suppress(OSError):
        status = entry.stat(follow_symlinks=False)
        private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
        old = status.st_mtime < time.time() - STALE  # Ray that has just begun is named by no process yet
        own = status.st_uid == os.getuid() and MADE.fullmatch(entry.name)
        return bool(private and old and own and _has_begun(entry.path))
    return False


def _has_begun(path: str) -> bool:
    return os.listdir(path) == ["r"] and any(name.startswith("session_") for name in os.listdir(f"{path}/r"))


def _said_by_processes() -> str:
    """The command lines of all. Each process of Ray's names its folder, and so does the one that waits to delete it."""
    import psutil

    lines = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            lines.append(" ".join(process.cmdline()))
    return "\n".join(lines)


def _answers(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        return True
    return False


def place() -> str:
    """Says where ``make`` makes folders now, and which place of the user's it cannot take. Raises ClusterError."""
    made = make()
    made.rmdir()
    return "; ".join([str(made.parent), *_too_long()])


def _given() -> dict[str, str]:
    return {name: value for name in VARIABLES if (value := os.environ.get(name))}


def _too_long() -> list[str]:
    """What the user has set and a socket's path has no room for."""
    return [
        f"{name} is {len(os.fsencode(value))} bytes long, of at most {LONGEST} that leave room for the paths of sockets"
        for name, value in _given().items()
        if len(os.fsencode(value)) > LONGEST
    ]


def _places() -> Iterator[str]:
    """The user's, then the usual ones."""
    for folder in dict.fromkeys([*_given().values(), *SHORT]):
        if os.path.isabs(folder) and len(os.fsencode(folder)) <= LONGEST:
            yield folder
