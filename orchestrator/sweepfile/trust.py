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
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.sweep.grid import Sweep

Ask = Callable[[str], bool]
"""Puts a question to the user, who answers yes or no."""


def actions(sweep: Sweep) -> tuple[str, ...]:
    """What a sweep would do besides training, for people: ``run mail-me``, ``post to https://...``."""
    notify = sweep.notify
    commands = [f"run {shlex.join(notify.command)}"] if notify.command else []
    return (*commands, *([f"post to {notify.webhook}"] if notify.webhook else []))


def check(sweep: Sweep, *, given: bool, ask: Ask | None) -> None:
    """Raises UsageError for a file whose actions are new here, unless trust is ``given`` or the user answers yes to
    ``ask``, which is None where nobody is there to answer. Either is remembered."""
    wanted = actions(sweep)
    if not wanted or (mark := _mark(sweep, wanted)) in _trusted():
        return
    would = f"{sweep.path} would {' and '.join(wanted)} when the sweep ends or a method stops; that is new here"
    if not given and not (ask and ask(would)):
        raise UsageError(
            f"{would}. Nothing was run. Look at the file; if you trust it, give --trust once, "
            "or give --notify to tell somebody else"
        )
    _remember(mark, sweep.path)


def _mark(sweep: Sweep, wanted: Sequence[str]) -> str:
    """Stands for what would be done. Words that are files, such as scripts, count by their content too."""
    scripts = [_content(word) for word in sweep.notify.command]
    return hashlib.sha256(json.dumps([*wanted, *scripts]).encode()).hexdigest()


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
