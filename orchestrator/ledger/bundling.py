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
from orchestrator.ledger import checksummed, last_run
from orchestrator.ledger.archiving import ArchiveWriter
from orchestrator.ledger.bundle import stamp
from orchestrator.ledger.index import IndexEntry, pack
from orchestrator.ledger.ledger import RESULT, Ledger
from orchestrator.ledger.storage import Storage, reason, storage_at
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
    """How many trials a bundle holds, of how many, and how many networks."""

    trials: int
    of: int
    networks: int


def write(sweep: Sweep, ledger: Ledger, output: Path, networks: Collection[str] = ()) -> Bundled:
    """Bundles the trials of a sweep that ended, and the ``networks`` of those that are named. ``output`` appears whole.

    Raises UsageError where none has ended, StorageError for one that is damaged.
    """
    ids, kept = sorted(sweep.ids), 0
    records: dict[str, TrialRecord] = {}
    with _appearing(output) as file, ArchiveWriter(file) as archive:
        for name, content in _sources(sweep).items():
            archive.add(f"sweep/{name}", content)
        archive.add(f"sweeps/{sweep.name}/sweep.json", checksummed.pack(last_run.content(sweep)))
        for trial in _ended(ids, storage_at(ledger.storage), networks):
            trial_id = trial.record.trial_id
            for name, content in trial.files.items():
                archive.add(f"trials/{trial_id}/{name}", content)
            records[trial_id] = trial.record
            kept += any(name.startswith(NETWORK) for name in trial.files)
        if not records:
            raise UsageError(f"{sweep.path}: none of its trials has ended in {ledger.storage}: nothing to bundle")
        archive.add("environment.json", _environment(records.values()))
        stamps = {name: stamp(*archive.held(f"trials/{name}/{RESULT}")) for name in records}
        archive.add("index.bin", pack({name: IndexEntry(stamps[name], it) for name, it in records.items()}))
        archive.end()
    return Bundled(trials=len(records), of=len(ids), networks=kept)


def _ended(ids: Iterable[str], storage: Storage, networks: Collection[str]) -> Iterator[WholeTrial]:
    for trial_id in ids:
        where = storage.address(f"trials/{trial_id}")
        try:
            trial = whole(storage, trial_id, network=trial_id in networks)
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
