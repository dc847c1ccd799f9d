"""One trial that has begun and not ended, with its files, each checked: as a point that halving stopped, or that waits.

What it has at a rung decides which points go on, so it is worth as much to another storage as a trial that ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from anytime_core.config import from_dict
from anytime_core.documents import parse
from anytime_core.files import MOST
from anytime_core.result import EpochMetrics
from anytime_core.training import checkpoint
from orchestrator.ledger import checksummed, epochs_file, log_file
from orchestrator.ledger.storage import Storage, described
from orchestrator.ledger.trials import ATTEMPT, LOG, PAUSE
from orchestrator.ledger.whole import CONFIG, METRICS, NETWORK, DamagedError
from orchestrator.sweep.trial import identity


@dataclass(frozen=True, kw_only=True, slots=True)
class UnendedTrial:
    """``epochs`` are those so far, one at least. ``files`` are named as below the trial's folder; where it has
    ``paused``, ``pause.json``, which says so, is the last of them."""

    trial_id: str
    config: dict[str, Any]
    epochs: tuple[EpochMetrics, ...]
    paused: bool
    files: Mapping[str, bytes]

    @property
    def step(self) -> int:
        return self.epochs[-1].step


def unended(files: Storage, trial_id: str, *, network: bool = True) -> UnendedTrial | None:
    """A trial that has metrics; of one that has paused also its checkpoint, unless that is not asked for. None without
    metrics. Raises DamagedError, and OSError where it cannot be read now."""
    folder = f"trials/{trial_id}"
    attempt, pause = (_object(files, f"{folder}/{name}") for name in (ATTEMPT, PAUSE))
    config, metrics = _config(files, trial_id), _read(files, f"{folder}/{METRICS}", epochs_file.MOST)
    epochs = _epochs(metrics, config) if metrics and config else []
    if not config or not metrics or not epochs:
        return None
    found = {CONFIG: json.dumps(config, indent=1).encode(), METRICS: metrics}
    if attempt:
        found[ATTEMPT] = attempt[0]
    if (said := _read(files, f"{folder}/{LOG}", log_file.MOST)) is not None:
        found[LOG] = said
    paused = _paused_at(attempt, pause) == epochs[-1].step  # it may have gone on since its attempt was read
    if pause and paused:
        found |= _checkpoint(files, f"{folder}/{NETWORK}", epochs[-1].step) if network else {}
        found[PAUSE] = pause[0]
    return UnendedTrial(trial_id=trial_id, config=config, epochs=tuple(epochs), paused=paused, files=found)


def _read(files: Storage, name: str, most: int = MOST) -> bytes | None:
    try:
        return files.read(name, most)
    except (FileNotFoundError, NotADirectoryError):
        return None


Written = tuple[bytes, dict[str, Any]]
"""A file of JSON, and what it says."""


def _object(files: Storage, name: str) -> Written | None:
    """None where it is not there, or damaged: then the trial has not paused."""
    with suppress(ValueError):
        if content := _read(files, name):
            return content, checksummed.unpack(content)
    return None


def _paused_at(attempt: Written | None, pause: Written | None) -> Any:
    """The step at which the last attempt paused; None where it did not."""
    same = attempt and pause and attempt[1].get("token") == pause[1].get("token")
    return pause[1].get("step") if pause and same else None


def _config(files: Storage, trial_id: str) -> dict[str, Any] | None:
    """None where it is not the one that the id stands for."""
    with suppress(ValueError):
        content = _read(files, f"trials/{trial_id}/{CONFIG}")
        config = parse(content) if content else None
        if isinstance(config, dict) and identity(config) == trial_id:
            return config
    return None


def _epochs(content: bytes, config: Mapping[str, Any]) -> list[EpochMetrics]:
    count = None
    with suppress(LookupError, TypeError, ValueError):  # of an extension's network, whose code may not be here
        count = len(from_dict(config).predicting_units)
    try:
        return epochs_file.unpack(content, count)
    except ValueError as error:
        raise DamagedError(f"{METRICS}: {described(error)}") from error


def _checkpoint(files: Storage, folder: str, step: int) -> dict[str, bytes]:
    """That of a step, where it is the newest."""
    name = checkpoint.newest(files.below(folder))
    if name is None or checkpoint.latest_step(files.below(folder)) != step:
        return {}
    try:
        content = files.read(f"{folder}/{name}", checkpoint.MOST)
        checkpoint.unpack(content)
    except ValueError as error:
        raise DamagedError(f"{NETWORK}/{name}: {described(error)}") from error
    return {f"{NETWORK}/{name}": content}
