"""What Linux's control groups let this process take of its machine: how a container and a batch job are limited.

Versions 1 and 2 are read, by the files that the kernel shows. A limit holds for all that lies below it, so the smallest
counts on the way from this process's group up to the top that can be seen from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ESCAPES = {"\\040": " ", "\\011": "\t", "\\134": "\\"}
"""How the kernel writes a space, a tab and a backslash in the table of mounts."""
VERSION_2 = ""
"""Its one hierarchy is that of all controllers, and has no controller's name."""


def cpu_quota(root: Path) -> float | None:
    """CPUs' worth of time, such as 1.5; None where nothing limits it. ``root`` is ``/``, or a tree that looks alike."""
    return min(_quotas(root), default=None)


def _quotas(root: Path) -> Iterator[float]:
    for group in _groups(root, VERSION_2):
        quota, _, period = read(group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)
    for group in _groups(root, "cpu"):
        spent, every = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
        if spent and every:  # -1 is no limit
            yield spent / every


def memory_limit(root: Path) -> int | None:
    """Bytes; None where nothing limits them. Version 1 may give a number then that no machine reaches."""
    limits = [_number(group / "memory.max") for group in _groups(root, VERSION_2)]
    limits += [_number(group / "memory.limit_in_bytes") for group in _groups(root, "memory")]
    return min((limit for limit in limits if limit is not None), default=None)


def processes_left(root: Path) -> int | None:
    """How many processes and threads may still begin; None where nothing limits them."""
    groups = [*_groups(root, VERSION_2), *_groups(root, "pids")]
    limits = [(_number(group / "pids.max"), _number(group / "pids.current")) for group in groups]
    return min((most - (now or 0) for most, now in limits if most is not None), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and of those above it, in the hierarchy of a controller."""
    path = _path(root, controller)
    if path is None:
        return
    for top, mount in _mounts(root, controller):
        below = path.relative_to(top) if path.is_relative_to(top) else PurePosixPath()  # else of another namespace
        for part in (below, *below.parents):
            yield root / mount.relative_to("/") / part


def _path(root: Path, controller: str) -> PurePosixPath | None:
    """Of this process's group in the hierarchy of a controller."""
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller in controllers.split(","):
            return PurePosixPath(path)
    return None


def _mounts(root: Path, controller: str) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Where that hierarchy can be seen: the group at the top of each view, and the folder where it is mounted."""
    for line in read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        where, (kind, _, options) = before.split(), (*after.split(), "", "", "")[:3]
        version_1 = kind == "cgroup" and controller in options.split(",")
        if len(where) > 4 and (kind == "cgroup2" if controller == VERSION_2 else version_1):
            yield PurePosixPath(_plain(where[3])), PurePosixPath(_plain(where[4]))


def _plain(path: str) -> str:
    for written, meant in ESCAPES.items():
        path = path.replace(written, meant)
    return path


def _number(path: Path) -> int | None:
    text = read(path)
    return int(text) if text.isdigit() else None


def read(path: Path) -> str:
    """Without the newline; "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
