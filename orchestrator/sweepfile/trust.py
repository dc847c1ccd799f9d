"""Whether this user lets a sweep file act on this machine: it can name a command to run and an address to post to, and
may be somebody else's.

Trust is remembered by what the file would have done, the content of scripts included, whatever it is called and
wherever it lies. Nothing of a file that is not trusted runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.extensions.finding import Extension
from orchestrator.sweep.grid import Sweep

FOLDERS = "ORCHESTRATE_TRUST"
"""A variable with folders whose sweep files and extensions are trusted, apart by ``:``."""
Ask = Callable[[str], bool]
"""Puts a question to the user, who answers yes or no."""


@dataclass(slots=True)
class Policy:
    """What this process does about what is new: takes it as ``given``, or has somebody to ``ask``, or refuses it."""

    given: bool = False
    ask: Ask | None = None


policy = Policy()


@contextmanager
def taken(given: bool) -> Iterator[None]:
    """What is new in the block is trusted where that is ``given``."""
    before = policy.given
    policy.given = before or given
    try:
        yield
    finally:
        policy.given = before


def actions(sweep: Sweep) -> tuple[str, ...]:
    """What a sweep would do besides training, for people: ``run mail-me``, ``post to https://...``."""
    notify = sweep.notify
    commands = [f"run {shlex.join(notify.command)}"] if notify.command else []
    return (*commands, *([f"post to {notify.webhook}"] if notify.webhook else []))


def check(sweep: Sweep) -> None:
    """Raises UsageError for a file whose actions are new here, unless the ``policy`` of this process takes them. A yes
    is remembered."""
    if wanted := actions(sweep):
        would = f"{sweep.path} would {' and '.join(wanted)} when the sweep ends or a method stops; that is new here"
        _check(sweep.path, _mark(sweep, wanted), would, "or give --notify to tell somebody else")


def check_extensions(path: Path, extensions: Sequence[Extension]) -> None:
    """The same of extensions that lie beside a file. One that is installed was chosen by whoever installed it."""
    for extension in extensions:
        if extension.shipped:
            content = {name: module.text for name, module in extension.modules.items()}
            mark = _digest(json.dumps(content, sort_keys=True).encode())
            files = ", ".join(module.file for module in extension.modules.values())
            way_out = f"or set {FOLDERS} to folders whose files you trust"
            _check(path, mark, f"{path} would import {files}, which is new here", way_out)


def check_snapshot(name: str, content: bytes) -> None:
    """The same of sources that a storage has kept: whoever writes there could have put others in their place. They are
    known by their content alone: no folder of this machine holds them, wherever the command is given."""
    would = f"{name} of the storage holds the code that would run; its content is new here"
    if (mark := _digest(content)) not in _trusted():
        _ask(Path(name), mark, would, "if you made the snapshot elsewhere")


def trust_snapshot(name: str, content: bytes) -> None:
    """Of one that this user has just made. Raises OSError."""
    if _digest(content) not in _trusted():
        _remember(_digest(content), Path(name))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check(path: Path, mark: str, would: str, way_out: str) -> None:
    if mark not in _trusted() and not _in_trusted_folder(path):
        _ask(path, mark, would, way_out)


def _ask(path: Path, mark: str, would: str, way_out: str) -> None:
    """Remembers a yes. Raises UsageError without one."""
    if not policy.given and not (policy.ask and policy.ask(would)):
        raise UsageError(f"{would}. Nothing was run. Look at the file; if you trust it, give --trust once, {way_out}")
    _remember(mark, path)


def _in_trusted_folder(path: Path) -> bool:
    folders = [
        Path(folder).expanduser().resolve() for folder in os.environ.get(FOLDERS, "").split(os.pathsep) if folder
    ]
    return any(folder in path.resolve().parents for folder in folders)


def _mark(sweep: Sweep, wanted: Sequence[str]) -> str:
    """Stands for what would be done. Words that are files, such as scripts, count by their content too."""
    scripts = [_content(word) for word in sweep.notify.command]
    return _digest(json.dumps([*wanted, *scripts]).encode())


def _content(path: str) -> str:
    with suppress(OSError, ValueError):
        if Path(path).is_file():
            with open(path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def _file() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(folder) / "anytime-orchestrator" / "trusted"


def _trusted() -> set[str]:
    try:
        lines = _file().read_text().splitlines()
    except (OSError, ValueError):
        return set()
    return {line.split(" ", 1)[0] for line in lines}


def _remember(mark: str, path: Path) -> None:
    """Adds a line, for the user's own eyes and hands: to delete it takes trust back. Raises OSError."""
    file = _file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = f"{mark} {date.today()} {str(path.absolute())!r}\n"
    with open(file, "a", opener=lambda name, flags: os.open(name, flags, 0o600)) as remembered:
        remembered.write(line)
