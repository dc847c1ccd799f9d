"""What a sweep was made of when it last ran: its places, what is trained for each, and what to report.

The driver leaves that beside the sweep's lock. So its results can be read and shown when the extensions that its file
names are gone, and with them what the file says. Nothing can be trained by it: a sweep begins with its file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from anytime_core.config import NetworkConfig, TrialConfig, plain, to_dict
from anytime_core.documents import known, typed
from orchestrator.errors import StorageError, UsageError
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.report import Report
from orchestrator.sweep.trial import Cell, Identities, Resources, Trial, config_in

log = logging.getLogger(__name__)


def remember(sweep: Sweep, ledger: Ledger) -> None:
    """Leaves it in the storage, where it is not there already."""
    made_of = content(sweep)
    with suppress(OSError, StorageError):  # storage that cannot be written is told of by what needs it
        if ledger.read_sweep(sweep.name) != made_of:
            ledger.write_sweep(sweep.name, made_of)


def content(sweep: Sweep) -> dict[str, Any]:
    """What is left of a sweep. Configs that differ in the seed alone are written once; a sweep's share their parts."""
    trials = {trial.id: trial.config for trial in sweep.in_tables if not trial.awaits}
    places: dict[tuple[int, ...], int] = {}
    configs: list[dict[str, Any]] = []
    cells: list[dict[str, Any]] = []
    for cell, trial_id in sweep.cells.items():
        if (config := trials.get(trial_id)) is None:  # it is not chosen yet
            continue
        key = (id(config.network), id(config.data), id(config.regime), id(config.training))
        if key not in places:
            places[key] = len(configs)
            configs.append(to_dict(replace(config, seed=0)))
        cells.append({**plain(cell), "config": places[key]})
    return {
        "description": sweep.description,
        "report": sweep.report.model_dump(mode="json"),
        "configs": configs,
        "cells": cells,
    }


def recalled(name: str, path: Path, ledger: Ledger) -> Sweep | None:
    """The sweep of that name, to be shown; ``path`` is its file. None where none has run, or what was left of it is
    damaged, which the log says. Raises StorageError."""
    made_of = ledger.read_sweep(name)
    try:
        return _sweep(name, path, made_of) if made_of else None
    except (UsageError, LookupError, TypeError, ValueError) as error:
        log.warning("sweep %s: what was left of its last run cannot be read: %s", name, error)
        return None


def _sweep(name: str, path: Path, content: Mapping[str, Any]) -> Sweep:
    configs = [config_in(values, f"config {index}") for index, values in enumerate(content["configs"])]
    trials: dict[str, Trial] = {}
    cells: dict[Cell, str] = {}
    identities = Identities()
    for place in content["cells"]:
        cell, config = _cell(place), replace(configs[place["config"]], seed=place["seed"])
        _check(cell, config)
        identity = cells[cell] = identities.of(config)
        trials.setdefault(identity, Trial(id=identity, config=config, cell=cell, resources=Resources()))
    if not trials:
        raise ValueError("it has no trials")
    return Sweep(
        name=name,
        description=str(content["description"]),
        path=path,
        trials=tuple(trials.values()),
        cells=cells,
        report=Report.model_validate(content["report"]),
    )


def _cell(place: Mapping[str, Any]) -> Cell:
    return typed(Cell, known(Cell, place))


def _check(cell: Cell, config: TrialConfig) -> None:
    """Raises ValueError for a place that is none of its trial."""
    if isinstance(network := config.network, NetworkConfig):
        shape = (network.n, network.c, network.transition)
        sound = cell.own is None and (cell.n, cell.c, cell.transition) == shape and 1 <= cell.period <= 3 * cell.n
    else:
        sound = cell.own is not None and min(cell.own.costs, default=0) > 0
    if not sound or cell.dataset != config.data.name:
        raise ValueError(f"{cell.label} is no place of its trial")
