"""One trial that ended, with all of its files, each checked: as one storage gives it to another, or to a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from anytime_core.files import MOST
from anytime_core.training import checkpoint
from orchestrator.ledger import checksummed, log_file
from orchestrator.ledger.ledger import GUARANTEES, LOG, OUTCOMES, RESULT
from orchestrator.ledger.records import record_of
from orchestrator.ledger.storage import Storage, described
from orchestrator.sweep.trial import TrialRecord, identity

CONFIG, NETWORK = "config.json", "checkpoints"
METRICS = "metrics.parquet"

Read = Callable[[int], bytes]
"""Reads a file of at most so many bytes."""


class DamagedError(Exception):
    """A file of a trial is not as it was written; the text names it, and says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeTrial:
    """``files`` are named as below the trial's folder; ``result.json``, which ends the trial, is the last."""

    record: TrialRecord
    files: Mapping[str, bytes]

    @property
    def trial_id(self) -> str:
        return self.record.trial_id

    @property
    def config(self) -> dict[str, Any]:
        return self.record.config


def config_file(record: TrialRecord) -> bytes:
    """What ``config.json`` holds of a trial, whatever became of its own."""
    return json.dumps(record.config, indent=1).encode()


def record_in(files: Storage, trial_id: str) -> TrialRecord | None:
    """How a trial ended; None if it has not. Raises DamagedError, also where its config is not the one that its id
    stands for, and OSError where it cannot be read now."""
    return _record(trial_id, content) if (content := _result(files, trial_id)) is not None else None


def _result(files: Storage, trial_id: str) -> bytes | None:
    try:
        return files.read(f"trials/{trial_id}/{RESULT}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise DamagedError(f"{RESULT}: {described(error)}") from error


def _record(trial_id: str, content: bytes) -> TrialRecord:
    try:
        record = record_of(trial_id, checksummed.unpack(content))
    except ValueError as error:
        raise DamagedError(f"{RESULT}: {error}") from error
    if (other := identity(record.config)) != trial_id:
        raise DamagedError(f"{RESULT}: its config is that of {other}")
    return record


def whole(
    files: Storage, trial_id: str, *, network: bool = True, record: TrialRecord | None = None
) -> WholeTrial | None:
    """All files of a trial that ended, with its network unless that is not asked for; None if it has not ended. They
    are checked against ``record`` where one is given, as of another storage, else against what they say themselves.
    Raises as ``record_in`` does."""
    content = _result(files, trial_id)
    if content is None:
        return None
    record = record or _record(trial_id, content)
    found = {CONFIG: config_file(record)}
    for name, check in CHECKS.items():
        if (checked := _checked(files, f"trials/{trial_id}/{name}", record, check)) is not None:
            found[name] = checked
    if network:
        found |= _network(files, record)
    return WholeTrial(record=record, files=found | {RESULT: content})


def _checked(files: Storage, name: str, record: TrialRecord, check: Check) -> bytes | None:
    try:
        return check(lambda most: files.read(name, most), record)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise DamagedError(f"{name.removeprefix(f'trials/{record.trial_id}/')}: {described(error)}") from error


def _network(files: Storage, record: TrialRecord) -> Iterator[tuple[str, bytes]]:
    """The newest checkpoint, where there is one."""
    folder = f"trials/{record.trial_id}/{NETWORK}"
    if newest := checkpoint.newest(files.below(folder)):
        content = _checked(files, f"{folder}/{newest}", record, _checkpoint)
        if content is not None:
            yield f"{NETWORK}/{newest}", content


def network_hash(record: TrialRecord) -> str:
    """Empty where that was not written down."""
    return str(record.provenance.get("network_hash") or "")


# Checks. Each reads a file, and returns it as it is. Raises ValueError for what nobody wrote so


Check = Callable[[Read, TrialRecord], bytes]


def _metrics(read: Read, record: TrialRecord) -> bytes:
    from orchestrator.ledger import epochs_file

    content = read(epochs_file.MOST)
    epochs_file.unpack(content, len(record.result.units))
    return content


def _outcomes(read: Read, record: TrialRecord) -> bytes:
    from orchestrator.ledger import outcomes_file

    content = read(outcomes_file.MOST)
    outcomes_file.unpack(content, network_hash(record))
    return content


def _guarantees(read: Read, record: TrialRecord) -> bytes:
    from orchestrator.ledger.guarantees_file import guarantees_of

    content = read(MOST)
    guarantees_of(checksummed.unpack(content))
    return content


def _log(read: Read, record: TrialRecord) -> bytes:
    """Any bytes are one: whoever shows it cleans it."""
    return read(log_file.MOST)


def _checkpoint(read: Read, record: TrialRecord) -> bytes:
    content = read(checkpoint.MOST)
    arrays = checkpoint.unpack(content).arrays
    own = checkpoint.digest({name: array for name, array in arrays.items() if name.startswith("network/")})
    if own != (network_hash(record) or own):
        raise ValueError(f"it is of network {own}, and its trial trained {network_hash(record)}")
    return content


CHECKS: Mapping[str, Check] = {METRICS: _metrics, OUTCOMES: _outcomes, GUARANTEES: _guarantees, LOG: _log}
"""The files of a trial besides its result, config and network, and what each must be."""
