"""Small disks that fill up: of memory, mounted for a while, as root can."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def disk_of(folder: Path, *, kilobytes: int) -> Iterator[Path]:
    """Skips the test where nothing can be mounted, but not where it must run."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))
    if mounted.returncode:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def grow(folder: Path, *, kilobytes: int) -> None:
    _mount("-o", f"remount,size={kilobytes}k", str(folder)).check_returncode()


def _mount(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
