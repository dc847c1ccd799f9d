"""Speeds that were measured by steps thrown away (``orchestrate plan --calibrate``), in small files beside the trials.

::

    STORAGE/speeds/KEY.json      of one device with one set of versions

A file says on what, when and by which code it was measured, so that a plan can name it. Storages give theirs to others
(``bring``): a plan for a device that is not here then knows it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from anytime_core.config import TrialConfig
from anytime_core.documents import known, typed
from anytime_core.training.epochs import number_of_epochs, steps_of_epoch
from orchestrator.errors import StorageError
from orchestrator.ledger import checksummed
from orchestrator.ledger.root import Root
from orchestrator.ledger.storage import Storage, described, reading, reason, storage_at
from orchestrator.sweep.devices import Device

log = logging.getLogger(__name__)

FOLDER = "speeds"
FILE = re.compile(r"[0-9a-f]{16}\.json")
MOST_BYTES, MOST_PARTS, LONGEST = 1 << 24, 1 << 18, 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimes:
    """Seconds of one shape of trials, which ``config`` is an example of: of a training step, turn by turn, of what
    begins an epoch, and of one evaluation."""

    config: dict[str, Any]
    step: tuple[float, ...]
    epoch: float
    evaluation: float

    def of(self, config: TrialConfig) -> tuple[float, ...]:
        """The same as seconds a step, with a trial's share of its epochs and evaluations."""
        epochs = number_of_epochs(config.phase_steps, steps_of_epoch(config))
        evaluations = min(config.training.evaluations or epochs, epochs)
        more = (epochs * self.epoch + evaluations * self.evaluation) / config.steps
        return tuple(step + more for step in self.step)


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What was measured on a device. ``on`` are the versions there, ``time`` when it was measured last."""

    device: Device
    on: dict[str, str]
    host: str
    code: str
    time: str
    shapes: tuple[StepTimes, ...]

    @property
    def key(self) -> str:
        """The same for what replaces it."""
        written = json.dumps([asdict(self.device), self.on], sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()[:16]

    def over(self, before: Calibration | None) -> Calibration:
        """With the shapes of an earlier one that this lacks."""
        own = [it.config for it in self.shapes]
        kept = () if before is None else (it for it in before.shapes if it.config not in own)
        return replace(self, shapes=(*self.shapes, *kept))


def read(ledger: Root) -> list[Calibration]:
    """All that a ledger holds, the oldest first; damaged ones the log names. Raises StorageError."""
    return sorted(_read(storage_at(ledger.storage)).values(), key=lambda it: it.time)


def keep(ledger: Root, calibration: Calibration) -> None:
    """Adds what was measured to what is known of that device. Raises StorageError."""
    storage = storage_at(ledger.storage)
    _write(storage, calibration.over(_read(storage).get(calibration.key)))


def bring(source: Storage, ledger: Root) -> int:
    """Takes over what another storage knows and this one lacks, or knows by an older measurement; returns of how many
    devices. Raises StorageError."""
    target = storage_at(ledger.storage)
    ours = _read(target)
    newer = [it for key, it in _read(source).items() if key not in ours or it.time > ours[key].time]
    for it in newer:
        _write(target, it.over(ours.get(it.key)))
    return len(newer)


def _read(storage: Storage) -> dict[str, Calibration]:
    with reading(storage, FOLDER):
        names = [name for name in storage.names(FOLDER) if FILE.fullmatch(name)]
    return {it.key: it for name in names if (it := _one(storage, f"{FOLDER}/{name}"))}


def _one(storage: Storage, name: str) -> Calibration | None:
    with reading(storage, name):
        try:
            return _made(checksummed.unpack(storage.read(name, MOST_BYTES), MOST_PARTS))
        except FileNotFoundError:
            return None
        except ValueError as error:
            log.warning("%s is damaged: %s", storage.address(name), described(error))
            return None


def _made(content: Mapping[str, Any]) -> Calibration:
    """Raises ValueError for what is none."""
    made = typed(Calibration, known(Calibration, content))
    for it in made.shapes:
        if not it.step or min(it.step) <= 0 or min(it.epoch, it.evaluation) < 0:
            raise ValueError("a time is none that can be")
    if any(len(text) > LONGEST for text in (made.device.name, made.host, made.code, made.time, *made.on.values())):
        raise ValueError(f"a text is longer than {LONGEST} characters")
    return made


def _write(storage: Storage, calibration: Calibration) -> None:
    name = f"{FOLDER}/{calibration.key}.json"
    try:
        storage.write(name, checksummed.pack(asdict(calibration)))
    except OSError as error:
        raise StorageError(f"{storage.address(name)}: cannot be written: {reason(error)}") from error
