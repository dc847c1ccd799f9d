"""What a sweep was made of when it last ran: its places, what is trained for each, what was tuned, and what to report.

The driver leaves that beside the sweep's lock. So its results can be read and shown when the extensions that its file
names are gone, and with them what the file says. Nothing can be trained by it: a sweep begins with its file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from anytime_core.config import NetworkConfig, TrialConfig, plain, to_dict
from anytime_core.documents import known, typed
from orchestrator.errors import StorageError, UsageError
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.comparisons import Comparison
from orchestrator.sweep.deciding import Deciding
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.halving import Rung
from orchestrator.sweep.limits import AtMost
from orchestrator.sweep.report import Report
from orchestrator.sweep.trial import Cell, Identities, Resources, Trial, config_in
from orchestrator.sweep.tuning import CRITERIA, Point, Tuning

log = logging.getLogger(__name__)


def remember(sweep: Sweep, ledger: Ledger) -> None:
    """Leaves it in the storage, where it is not there already."""
    made_of = content(sweep)
    with suppress(OSError, StorageError):  # storage that cannot be written is told of by what needs it
        if ledger.read_sweep(sweep.name) != made_of:
            ledger.write_sweep(sweep.name, made_of)


def content(sweep: Sweep) -> dict[str, Any]:
    """What is left of a sweep. A place that waits for a choice has the config of one candidate."""
    whole = sweep.whole
    trials = {trial.id: trial.config for trial in whole.in_tables}
    written = _Written()
    cells = [written.place(cell, trials[trial_id]) for cell, trial_id in whole.cells.items()]
    tuning = [_tuning_content(one, written) for one in sweep.tuning]
    return {
        "description": sweep.description,
        "report": sweep.report.model_dump(mode="json"),
        "configs": written.configs,
        "cells": cells,
        **({"tuning": tuning} if tuning else {}),
        **({"decide": _deciding_content(sweep.deciding)} if sweep.deciding else {}),
    }


class _Written:
    """Configs as JSON. Those that differ in the seed alone are written once; a sweep's share their parts."""

    def __init__(self) -> None:
        self.configs: list[dict[str, Any]] = []
        self._places: dict[tuple[int, ...], int] = {}

    def place(self, cell: Cell, config: TrialConfig) -> dict[str, Any]:
        """A place with the number of its config."""
        key = (id(config.network), id(config.data), id(config.regime), id(config.training))
        if key not in self._places:
            self._places[key] = len(self.configs)
            self.configs.append(to_dict(replace(config, seed=0)))
        return {**plain(cell), "config": self._places[key]}


def _tuning_content(tuning: Tuning, written: _Written) -> dict[str, Any]:
    """A choice before any result: what was chosen, and which points were stopped, the results themselves say."""
    points = [
        {
            "name": point.name,
            "trials": [written.place(trial.cell, trial.config) for trial in point.trials],
            "results": [written.place(cell, trial.config) for cell, trial in point.results.items()],
        }
        for point in tuning.points
    ]
    rungs = [plain(rung) for rung in tuning.rungs]
    named = {name: getattr(tuning, name) for name in ("method", "where", "choose", "steps")}
    return {**named, "rungs": rungs, "points": points}


def _deciding_content(deciding: Deciding) -> dict[str, Any]:
    """What it is to decide, before any result."""
    named = {name: getattr(deciding, name) for name in ("level", "first", "rope")}
    return {
        **named,
        "comparisons": list(map(str, deciding.comparisons)),
        "at_most": list(map(plain, deciding.at_most)),
        "seeds": list(deciding.seeds),
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
    read = _Read(content["configs"])
    tuning = tuple(_tuning(values, read) for values in content.get("tuning", []))
    chosen = {cell for one in tuning for cell in one.points[0].results}
    places = dict(map(read.trial_at, content["cells"]))
    trials: dict[str, Trial] = {}
    for cell, trial in places.items():
        if cell not in chosen:
            trials.setdefault(trial.id, trial)
    if not places:
        raise ValueError("it has no trials")
    sweep = Sweep(
        name=name,
        description=str(content["description"]),
        path=path,
        trials=tuple(trials.values()),
        cells={cell: trial.id for cell, trial in places.items()},
        report=Report.model_validate(content["report"]),
        tuning=tuning,
        deciding=_deciding(content["decide"], places) if "decide" in content else None,
    )
    return sweep.chosen({})


class _Read:
    """Trials by their places and the numbers of their configs."""

    def __init__(self, configs: Sequence[Any]) -> None:
        self._configs = [config_in(values, f"config {index}") for index, values in enumerate(configs)]
        self._identities = Identities()

    def trial_at(self, place: Mapping[str, Any]) -> tuple[Cell, Trial]:
        """A place and its trial. Raises ValueError for a place that is none of its trial."""
        cell = typed(Cell, known(Cell, place))
        config = replace(self._configs[place["config"]], seed=place["seed"])
        _check(cell, config)
        return cell, Trial(id=self._identities.of(config), config=config, cell=cell, resources=Resources())


def _tuning(values: Mapping[str, Any], read: _Read) -> Tuning:
    """Raises ValueError for one that can choose nothing."""
    points = tuple(_point(point, read) for point in values["points"])
    rungs = tuple(typed(Rung, known(Rung, rung)) for rung in values["rungs"])
    method, where, choose, steps = (values[name] for name in ("method", "where", "choose", "steps"))
    alike = all(point.trials and point.results.keys() == points[0].results.keys() for point in points)
    numbers = all(isinstance(it, int) and it > 0 for it in (steps, *(rung.keeps for rung in rungs)))
    if not points or not alike or not numbers or choose not in CRITERIA:
        raise ValueError("what it tunes is no choice that this version knows")
    return Tuning(method=str(method), where=str(where), choose=choose, points=points, steps=steps, rungs=rungs)


def _deciding(values: Mapping[str, Any], cells: Mapping[Cell, Trial]) -> Deciding:
    """Raises ValueError for one that can decide nothing."""
    level, first, rope = (float(values[name]) for name in ("level", "first", "rope"))
    seeds = tuple(values["seeds"])
    if not 0 < level < 1 or not 1 <= first <= len(seeds) or not {cell.seed for cell in cells} <= {*seeds}:
        raise ValueError("what it decides is nothing that this version knows")
    return Deciding(
        comparisons=tuple(map(Comparison.of, values["comparisons"])),
        level=level,
        first=int(first),
        seeds=seeds,
        rope=rope,
        cells=cells,
        at_most=tuple(typed(AtMost, known(AtMost, limit)) for limit in values["at_most"]),
    )


def _point(values: Mapping[str, Any], read: _Read) -> Point:
    name = str(values["name"])
    if not all("=" in value for value in name.split(" ")):
        raise ValueError(f"{name!r} is no point of a grid")
    trials = tuple(read.trial_at(place)[1] for place in values["trials"])
    return Point(name=name, trials=trials, results=dict(map(read.trial_at, values["results"])))


def _check(cell: Cell, config: TrialConfig) -> None:
    """Raises ValueError for a place that is none of its trial."""
    if isinstance(network := config.network, NetworkConfig):
        shape = (network.n, network.c, network.transition)
        sound = cell.own is None and (cell.n, cell.c, cell.transition) == shape and 1 <= cell.period <= 3 * cell.n
    else:
        sound = cell.own is not None and min(cell.own.costs, default=0) > 0
    if not sound or cell.dataset != config.data.name:
        raise ValueError(f"{cell.label} is no place of its trial")
