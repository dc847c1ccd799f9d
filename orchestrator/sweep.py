"""A sweep: the grid of networks, data sets, methods and seeds that makes a table, expanded into trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from anytime_core.config import Opt, TrialConfig
from anytime_core.weighting import loss_weights
from orchestrator.document import Document, Fault, read
from orchestrator.sweepfile import JointMethod, Report, SweepFile, parsed
from orchestrator.trial import Cell, Trial, cell_of, trial_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """``trials`` are distinct; ``cells`` name the trial of each place in the tables, and two places may share one."""

    name: str
    description: str
    path: Path
    trials: tuple[Trial, ...]
    cells: Mapping[Cell, str]
    report: Report


def load(path: Path) -> Sweep:
    """The sweep of a YAML file. Raises UsageError if it cannot be read, SweepError with every fault in it."""
    document = read(path)
    file = parsed(document)
    document.refuse(list(_contradictions(document, file)))
    trials: dict[str, Trial] = {}
    cells: dict[Cell, str] = {}
    for cell, config in _grid(file):
        identity = cells[cell] = trial_id(config)
        trials.setdefault(identity, Trial(id=identity, config=config, cell=cell, resources=file.resources))
    return Sweep(
        name=file.name,
        description=file.description,
        path=path,
        trials=tuple(trials.values()),
        cells=cells,
        report=file.report,
    )


def _grid(file: SweepFile) -> Iterator[tuple[Cell, TrialConfig]]:
    """Every place of the grid and what is trained for it."""
    axes = product(file.datasets, file.networks, file.methods.items(), file.seeds)
    for data, network, (name, method), seed in axes:
        for regime in method.regimes(network, file.weights):
            # An optimum has one prediction whatever the period: written as 1, sweeps that differ in it share the trial.
            built = replace(network, period=1) if isinstance(regime, Opt) else network
            config = TrialConfig(network=built, data=data, regime=regime, training=file.training, seed=seed)
            yield cell_of(name, network, config), config


def _contradictions(document: Document, file: SweepFile) -> Iterator[Fault]:
    """Faults between parts of a file, each of which is sound alone."""
    if file.report.baseline not in file.methods:
        allowed = f"must be one of the methods: {', '.join(file.methods)}"
        yield document.fault(("report", "baseline"), f"given {file.report.baseline!r}; {allowed}")
    for index, twin in _repeated(file.networks):
        yield document.fault(("networks", index), f"is the same network as number {twin}")
    for index, twin in _repeated([data.name for data in file.datasets]):
        yield document.fault(("datasets", index), f"is the same data set as number {twin}")
    for name, method in file.methods.items():
        for network in file.networks:
            try:
                if isinstance(method, JointMethod):
                    loss_weights((method.weights or file.weights).name, len(network.predicting_units))
            except ValueError as error:
                yield document.fault(("methods", name, "weights"), f"network ({network.n},{network.c}): {error}")


def _repeated(values: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """The index of each value that was there before, and the index of its first place."""
    return ((index, values.index(value)) for index, value in enumerate(values) if values.index(value) < index)
