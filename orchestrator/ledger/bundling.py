"""Writes a bundle: see ``orchestrator.ledger.bundle``. The same results, in the same versions, are the same bytes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.errors import StorageError, UsageError
from orchestrator.ledger import checksummed, last_run, notes
from orchestrator.ledger.archiving import ArchiveWriter
from orchestrator.ledger.bundle import stamp
from orchestrator.ledger.index import IndexEntry, pack
from orchestrator.ledger.ledger import RESULT, Ledger
from orchestrator.ledger.storage import Storage, reason, storage_at
from orchestrator.ledger.unended import UnendedTrial, unended
from orchestrator.ledger.whole import NETWORK, DamagedError, WholeTrial, whole
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialRecord

RAN_ON = (
    *("code_version", "sources", "extensions"),
    *("python", "torch", "numpy", "cuda", "gpu_driver", "device_name", "environment"),
)
"""Of a trial's provenance: which code it ran, and on what."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundled:
    """How many trials that ended a bundle holds, of how many, how many points of a halving that have not, and how many
    networks and notes."""

    trials: int
    of: int
    points: int
    networks: int
    notes: int


def write(sweep: Sweep, ledger: Ledger, output: Path, networks: Collection[str] = ()) -> Bundled:
    """Bundles the trials of a sweep that ended, what halving knows of the others, the ``networks`` of those that are
    named, and the notes. ``output`` appears whole.

    Raises UsageError where none has ended, StorageError for one that is damaged.
    """
    ids, kept, points, storage = sorted(sweep.ids), 0, 0, storage_at(ledger.storage)
    records: dict[str, TrialRecord] = {}
    with _appearing(output) as file, ArchiveWriter(file) as archive:
        for name, content in _sources(sweep).items():
            archive.add(f"sweep/{name}", content)
        archive.add(f"sweeps/{sweep.name}/sweep.json", checksummed.pack(last_run.content(sweep)))
        for trial in _stored(ids, _halved(sweep), storage, networks):
            for name, content in trial.files.items():
                archive.add(f"trials/{trial.trial_id}/{name}", content)
            if isinstance(trial, WholeTrial):
                records[trial.trial_id] = trial.record
                kept += any(name.startswith(NETWORK) for name in trial.files)
            else:
                points += 1
        if not records:
            raise UsageError(f"{sweep.path}: none of its trials has ended in {ledger.storage}: nothing to bundle")
        noted = notes.files(storage, "sweeps", [sweep.name]) | notes.files(storage, "trials", ids)
        for name, content in noted.items():
            archive.add(name, content)
        archive.add("environment.json", _environment(records.values()))
        stamps = {name: stamp(*archive.held(f"trials/{name}/{RESULT}")) for name in records}
        archive.add("index.bin", pack({name: IndexEntry(stamps[name], it) for name, it in records.items()}))
        archive.end()
    return Bundled(trials=len(records), of=len(ids), points=points, networks=kept, notes=len(noted))


def _halved(sweep: Sweep) -> frozenset[str]:
    """The trials whose rungs decide which others go on, ended or not."""
    return frozenset(trial.id for one in sweep.tuning if one.rungs for trial in one.trials)


def _stored(
    ids: Iterable[str], halved: Collection[str], storage: Storage, networks: Collection[str]
) -> Iterator[WholeTrial | UnendedTrial]:
    for trial_id in ids:
        where, network = storage.address(f"trials/{trial_id}"), trial_id in networks
        try:
            trial: WholeTrial | UnendedTrial | None = whole(storage, trial_id, network=network)
            if trial is None and trial_id in halved:
                trial = unended(storage, trial_id, network=network)
        except DamagedError as error:
            raise StorageError(f"{where}: cannot be bundled, as it is damaged: {error}") from error
        except OSError as error:
            raise StorageError(f"{where}: cannot be read: {reason(error)}") from error
        if trial:
            yield trial


def _sources(sweep: Sweep) -> dict[str, bytes]:
    """The sweep file and those of its extensions, by paths that lead from the one to the others as here. Raises
    UsageError where the sweep file cannot be read."""
    path = sweep.path.absolute()
    try:
        files = {path: path.read_bytes()}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {reason(error)}") from error
    for extension in sweep.extensions:
        if extension.shipped:
            files |= {Path(it.file).resolve(): it.text.encode() for it in extension.modules.values()}
    root = os.path.commonpath([file.parent for file in files])
    return {file.relative_to(root).as_posix(): files[file] for file in sorted(files)}


def _environment(records: Iterable[TrialRecord]) -> bytes:
    """What the trials ran on, and how many did on each."""
    kinds = Counter(
        json.dumps({name: record.provenance[name] for name in RAN_ON if name in record.provenance})
        for record in records
    )
    rows = [{"trials": count, **json.loads(kind)} for kind, count in sorted(kinds.items())]
    return json.dumps(rows, indent=1).encode()


@contextmanager
def _appearing(output: Path) -> Iterator[IO[bytes]]:
    """A file that takes its place once it is whole. Raises OSError that names it."""
    unfinished = output.with_name(f".{output.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with open(unfinished, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, output)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
