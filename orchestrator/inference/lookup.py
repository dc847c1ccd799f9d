"""Finds trained networks by what a user gives, alone or as a sequence, and loads them. torch is imported where it does.

What is given are words: a sweep file and those of a cell, as for ``orchestrate show``; or ids of trials, their first
digits, or ids of MLflow's runs. Several ids are a sequence, run in the order of their depth (section 3.3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anytime_core.config import NetworkConfig, TrialConfig
from orchestrator.analysis import sequences, trace
from orchestrator.errors import UsageError
from orchestrator.ledger.choices import chosen
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell, Trial, TrialRecord, TrialState, config_of, place_of
from orchestrator.sweepfile.load import load

if TYPE_CHECKING:
    from anytime_core.predictor import ExponentialSequence
    from anytime_core.trained import TrainedNetwork

SWEEPS = (".yaml", ".yml")
RUN = re.compile(r"[0-9a-f]{32}")
"""An id of MLflow's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedTrial:
    """A trial that finished. ``label`` is that of its cell."""

    trial_id: str
    label: str
    config: TrialConfig
    record: TrialRecord


def is_sweep(word: str) -> bool:
    return Path(word).suffix in SWEEPS


def finished(trials: Sequence[Trial], ledger: Ledger) -> list[TrainedTrial]:
    """Those of a sweep's trials that have."""
    records = ledger.records(trial.id for trial in trials)
    return [
        TrainedTrial(trial_id=trial.id, label=trial.cell.label, config=trial.config, record=records[trial.id])
        for trial in trials
        if trial.id in records and records[trial.id].state is TrialState.FINISHED
    ]


def find(
    words: Sequence[str], ledger: Ledger, *, sequence: bool = False, trial_of: Callable[[str], str] = str
) -> list[TrainedTrial]:
    """One network, or those of a sequence, shallow to deep. With ``sequence``, the words of a cell are those that all
    of its members have. ``trial_of`` finds the trial of a run. Raises UsageError, also for trials that have not
    finished."""
    if not words:
        raise UsageError("no network is given: allowed are SWEEP.yaml and the words of a cell, or ids of trials")
    if is_sweep(words[0]):
        return find_in(chosen(load(Path(words[0])), ledger), " ".join(words[1:]), ledger, sequence=sequence)
    return _as_sequence([_of_id(word, ledger, trial_of) for word in words])


def find_in(sweep: Sweep, given: str, ledger: Ledger, *, sequence: bool = False) -> list[TrainedTrial]:
    """The same of a sweep that is loaded, by the words of a cell."""
    if not sequence:
        trial = trace.find(sweep, given)
        return [_finished(trial.id, trial.cell.label, ledger)]
    return _as_sequence([_finished(sweep.cells[cell], cell.label, ledger) for cell in _members(sweep, given)])


def _as_sequence(trials: list[TrainedTrial]) -> list[TrainedTrial]:
    trials.sort(key=lambda it: it.record.result.units[-1])
    _refuse_no_sequence(trials)
    return trials


def _members(sweep: Sweep, given: str) -> list[Cell]:
    """Those of the one sequence that has all of these words."""
    ids = {trial.id for trial in trace.by_words(sweep, given)}
    cells = [cell for cell, trial_id in sweep.cells.items() if trial_id in ids and cell.unit is None]
    families = [family for family in sequences.families(cells) if len(sequences.members(family)) > 1]
    members = [cell for family in families for cell in family if cell.network in sequences.members(family)]
    if len(families) != 1 or len(members) > len({cell.network for cell in members}):
        listed = "".join(f"\n  {cell.label}" for cell in members[: trace.MOST_CANDIDATES]) or " none"
        raise UsageError(
            f"{sweep.path}: {given!r} must be one network of each depth of one sequence; it may be:{listed}"
        )
    return members


def _of_id(word: str, ledger: Ledger, trial_of: Callable[[str], str]) -> TrainedTrial:
    given = trial_of(word) if RUN.fullmatch(word) else word
    ids = trace.stored(ledger, given)
    if len(ids) != 1:
        what = f"may be {len(ids)} trials: {', '.join(ids[: trace.MOST_CANDIDATES])}" if ids else "is no trial"
        allowed = (
            f"allowed: an id in {ledger.storage}, its first {trace.SHORTEST_PREFIX} digits or more, a run of MLflow"
        )
        raise UsageError(f"{word!r} {what}; {allowed}, or SWEEP.yaml and the words of a cell")
    return _finished(ids[0], "", ledger)


def _finished(trial_id: str, label: str, ledger: Ledger) -> TrainedTrial:
    """``label`` is made of the config where there is none."""
    record = ledger.record(trial_id)
    if record is None or record.state is not TrialState.FINISHED:
        raise UsageError(f"{label or trial_id} has not finished: it is {ledger.state(trial_id)} in {ledger.storage}")
    config = config_of(record)
    return TrainedTrial(trial_id=trial_id, label=label or place_of(config).label, config=config, record=record)


def _refuse_no_sequence(members: Sequence[TrainedTrial]) -> None:
    depths = [it.record.result.units[-1] for it in members]
    images = {(it.config.data.name, it.config.data.own) for it in members}
    listed = "".join(f"\n  {it.label}, {depth} units" for it, depth in zip(members, depths, strict=True))
    if len(members) > 1 and not all(isinstance(it.config.network, NetworkConfig) for it in members):
        raise UsageError(f"networks of a sequence must be anytime ResNets:{listed}")
    if len(set(depths)) < len(depths):
        raise UsageError(f"networks of a sequence must differ in depth:{listed}")
    if len(images) > 1:
        raise UsageError(f"networks of a sequence must be of one data set:{listed}")


def network(trial: TrainedTrial, ledger: Ledger, device: str | None = None) -> TrainedNetwork:
    """On CUDA where there is one, unless told otherwise. Raises CheckpointError, UsageError."""
    import torch

    from anytime_core.trained import load_network

    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return load_network(ledger.checkpoints(trial.trial_id)).to(place)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device!r}: {str(error).splitlines()[0]}") from error


def predictor(members: Sequence[TrainedTrial], ledger: Ledger, device: str | None = None) -> ExponentialSequence:
    from anytime_core.predictor import ExponentialSequence

    return ExponentialSequence([network(it, ledger, device) for it in members])
