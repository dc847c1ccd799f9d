"""Trains a trial again as it was trained then: with the sources that the storage has kept, and in an environment with
the versions that were installed, as far as such a one can be built here. Whatever is otherwise is said."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.errors import UsageError
from orchestrator.ledger import snapshots
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.trial import Trial, TrialRecord
from orchestrator.sweepfile import trust
from orchestrator.system.snapshot import PYTHON, REQUIREMENTS, SnapshotError, installed, unpack, versions_in
from orchestrator.system.sources import CODE, sources_in
from orchestrator.text import counted

Say = Callable[[str], object]
MOST_NAMES = 5
ENTER = "from orchestrator.cli import main; main()"


def run(trial: Trial, ledger: Ledger, command: Sequence[str], say: Say) -> int:
    """Gives ``command`` to the program of then, in a process of its own; its exit code. Raises UsageError for a trial
    whose sources were not kept, or are not to be trusted, StorageError."""
    record = ledger.record(trial.id)
    if record is None:
        raise UsageError(f"{trial.cell.label} ({trial.id}) has not finished: it is {ledger.state(trial.id)}")
    name = _snapshot_of(trial, record)
    content = snapshots.read(name, ledger)
    trust.check_snapshot(snapshots.place(name), content)
    with TemporaryDirectory(prefix="as-then-") as made:
        code, environment = Path(made) / "code", Path(made) / "environment"
        _unpack(content, code, record)
        python = interpreter(code, environment, say)
        # Without the folder that the command is given in.
        done = subprocess.run([python, "-P", "-c", ENTER, *command], env=os.environ | {"PYTHONPATH": str(code)})
        return done.returncode


def _snapshot_of(trial: Trial, record: TrialRecord) -> str:
    if name := record.provenance.get("snapshot"):
        return str(name)
    code = record.provenance.get("code_version") or "unknown"
    raise UsageError(
        f"{trial.cell.label} ({trial.id}) was trained without --snapshot: its sources are not in the storage; it was "
        f"trained by code {code}"
    )


def _unpack(content: bytes, folder: Path, record: TrialRecord) -> None:
    try:
        unpack(content, folder)
    except SnapshotError as error:
        raise UsageError(f"the snapshot of {record.trial_id} {error}") from error
    found = sources_in({package: folder / package for package in CODE})
    if found != (recorded := record.provenance.get("sources")):
        raise UsageError(f"the snapshot of {record.trial_id} holds sources {found}; it was trained by {recorded}")


def interpreter(code: Path, environment: Path, say: Say) -> str:
    """A Python with the versions that a snapshot names: this one where it has them, else that of a new environment.
    Also this one where no such can be made, which is said."""
    python, needed = (_text(code / name) for name in (PYTHON, REQUIREMENTS))
    otherwise = _otherwise(python.strip(), versions_in(needed))
    if not otherwise:
        say("the versions that are installed here are those of then")
        return sys.executable
    say(f"other versions are installed here ({_listed(otherwise)}): building an environment of then")
    try:
        return _built(python.strip(), code / REQUIREMENTS, environment)
    except _NotBuiltError as error:
        say(f"it cannot be built: {error}; the sources of then run with what is installed here, so bits may differ")
        return sys.executable


class _NotBuiltError(Exception):
    """Why, in a line."""


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _otherwise(python: str, needed: Mapping[str, str]) -> list[str]:
    here = {"Python": platform.python_version(), **installed()}
    pairs = ((name, version, here.get(name, "none")) for name, version in {"Python": python, **needed}.items())
    return [f"{name} {now}, then {version}" for name, version, now in pairs if now != version]


def _listed(words: Sequence[str]) -> str:
    more = len(words) - MOST_NAMES
    return ", ".join([*words[:MOST_NAMES], *([f"and {counted(more, 'other')}"] if more > 0 else [])])


def _built(python: str, requirements: Path, environment: Path) -> str:
    """Wheels alone, of exactly these versions: nothing is compiled, and no code of a package runs to install it."""
    made = str(environment / "bin" / "python")
    wanted = ["--no-deps", "--only-binary", ":all:", "-r", str(requirements)]
    if uv := shutil.which("uv"):
        _call([uv, "venv", "--python", python, str(environment)])
        _call([uv, "pip", "install", "--python", made, *wanted])
        return made
    _call([_python(python), "-m", "venv", str(environment)])
    _call([made, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *wanted])
    return made


def _python(version: str) -> str:
    """Of the same minor version."""
    minor = ".".join(version.split(".")[:2])
    if minor == ".".join(platform.python_version_tuple()[:2]):
        return sys.executable
    if found := shutil.which(f"python{minor}"):
        return found
    raise _NotBuiltError(f"there is no Python {minor} here, and no uv that could fetch one")


def _call(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise _NotBuiltError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        *_, said = ["no reason was given", *filter(None, map(str.strip, done.stderr.splitlines()))]
        raise _NotBuiltError(said)
