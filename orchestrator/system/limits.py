"""Limits of the system that keep Ray from starting on this machine, and what to do about each.

Ray tells of most of them in words of its own, or only in its logs, or a thread that cannot begin ends the process.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.system import cgroups, hardware

PROCESSES = 230
"""Processes and threads that a sweep on two cores takes with Ray and its two workers."""
FEWEST_PROCESSES = 170
"""With fewer Ray does not start, or starts no worker."""
FILES = 1024
SHARED = 80 * 2**20
"""Bytes: the smallest object store that Ray makes is about that large."""
TEMPORARY = 100 * 2**20
MIB = 2**20
SHARED_MEMORY = Path("/dev/shm")


def certain() -> list[str]:
    """A sentence for each limit with which Ray cannot start, or starts no worker and waits for ever."""
    return [*_shell(), *_processes(FEWEST_PROCESSES)]


def likely() -> list[str]:
    """A sentence for each limit that explains why Ray has not started."""
    folders = {SHARED_MEMORY: SHARED, Path(tempfile.gettempdir()): TEMPORARY}
    return [*_processes(PROCESSES), *_files(), *(fault for of in folders.items() for fault in _space(*of))]


def _shell() -> Iterator[str]:
    if shutil.which("bash") is None:
        path = os.environ.get("PATH", os.defpath)
        yield f"there is no bash (PATH is {path!r}), with which Ray starts its workers: install it, or mend PATH"


def _processes(needed: int) -> Iterator[str]:
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if most != resource.RLIM_INFINITY and os.getuid():  # root has no such limit
        yield from _too_few(most - _own_threads(), needed, f"ulimit -u is {most}")
    if (left := cgroups.processes_left(hardware.ROOT)) is not None:
        yield from _too_few(left, needed, "the cgroup's pids.max")


def _too_few(left: int, needed: int, limit: str) -> Iterator[str]:
    if left < needed:
        yield (
            f"{max(left, 0)} more processes and threads may begin here ({limit}), and Ray needs about {PROCESSES}: "
            "raise that limit, or end other programs"
        )


def _own_threads() -> int:
    """Of all processes of this user, as the limit counts them."""
    import psutil

    user = os.getuid()
    known = (process.info for process in psutil.process_iter(["uids", "num_threads"]) if process.info["uids"])
    return sum(info["num_threads"] or 1 for info in known if info["uids"].real == user)


def _files() -> Iterator[str]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FILES:
        yield f"a process may open {most} files (ulimit -n), and Ray needs at least {FILES}: raise that limit"


def _space(folder: Path, needed: int) -> Iterator[str]:
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    if free < needed:
        mend = "make room there" + (", or give the container more (--shm-size)" if folder == SHARED_MEMORY else "")
        yield f"{folder} has {free // MIB} MiB left, and Ray needs at least {needed // MIB} MiB: {mend}"
