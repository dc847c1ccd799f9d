"""Which sources this process runs: their hash, and their version as people know it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

CODE = ("anytime_core", "orchestrator")
"""The folders whose code trains."""


@cache
def sources() -> str:
    """Identifies the sources that this process trains with: 12 hex digits of a SHA-256 over the Python files of both
    packages. Comments count; where the files lie does not. Read once, as Python reads them: what is edited later does
    not train here."""
    return sources_in({package: imported_from(package) for package in CODE})


def sources_in(folders: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for package, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(os.fsencode(f"{package}/{path.relative_to(folder)}\0{content}\0"))
    return digest.hexdigest()[:12]


def imported_from(package: str) -> Path:
    """The folder that this process imports a package from."""
    origin = getattr(import_module(package), "__file__", None)
    return Path(origin).parent if origin else Path()


def code_version(root: Path = Path(__file__).parents[2]) -> str:
    """The commit of the code below ``root`` that trains; else the package's version and the hash of its sources, as
    where git is not installed, does not trust the folder's owner, or holds none of it.

    Where that code was changed since, ``-dirty`` and a hash of the changed files, so that two different changes differ;
    what else was changed, such as a text, does not count.
    """
    try:
        _git(root, "ls-files", "--error-unmatch", *CODE)  # or the repository is somebody else's
        commit = _git(root, "rev-parse", "--short=12", "HEAD").strip()
        changed = _changed(root)
    except (OSError, subprocess.SubprocessError):
        return f"{version('anytime-orchestrator')}+{sources_in({package: root / package for package in CODE})}"
    return f"{commit}-dirty.{_hash(root, changed)}" if changed else commit


def _changed(root: Path) -> list[str]:
    """What differs from the commit, and what is in none; paths below ``root``."""
    tracked = _git(root, "diff", "--name-only", "--relative", "--no-renames", "-z", "HEAD", "--", *CODE)
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *CODE)
    return sorted({path for path in (tracked + new).split("\0") if path})


def _hash(root: Path, paths: list[str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        file = root / path
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "deleted"
        digest.update(os.fsencode(f"{path}\0{content}\0"))
    return digest.hexdigest()[:6]


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return os.fsdecode(subprocess.run(command, capture_output=True, timeout=10, check=True).stdout)
