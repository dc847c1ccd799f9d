"""What two sweeps differ in: places of their tables, configs, code, and how far apart that brings their errors.

Places are matched by their words: data set, network, method, seed and depth. What a method of that name was trained by
in either sweep is what is compared, and what differs in it is told beside the numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytime_core.config import TrialConfig, plain
from orchestrator.analysis.measurements import Experiment, Measurements, experiment_of, measure, triples
from orchestrator.analysis.trace import code_of, flat
from orchestrator.analysis.trial_difference import CODE, Differing, part_of, unlike
from orchestrator.analysis.verdicts import Verdict, between
from orchestrator.ledger.ledger import Ledger
from orchestrator.stats.scopes import widest
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.metrics import errors_of
from orchestrator.sweep.report import Report
from orchestrator.sweep.trial import Cell, TrialRecord, TrialState

OF_CONFIG = ("network", "data", "regime", "training")
"""The parts of a trial's config that cells of one place may differ in; the seed is part of the place."""
MADE_BY = ("data_hash", "device_name", "torch", "numpy", "python", "environment")
"""What of the provenance of a sweep's trials is compared beside the code."""
OF_TRAINING = ("host", "last_attempt_began", "ended")
"""What of its provenance two trainings of a trial do not share."""
A, B = "A", "B"
"""What the two are called."""
Errors = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of two sweeps in its storage: ``records`` of the trials that ended, and ``states`` of all, by id."""

    sweep: Sweep
    storage: str
    records: Mapping[str, TrialRecord]
    states: Mapping[str, TrialState]

    def errors(self, cell: Cell) -> dict[str, float]:
        """In percent, by metric; empty unless its trial has finished."""
        record = self.records.get(self.sweep.cells[cell])
        return errors_of(cell, record) if record and record.state is TrialState.FINISHED else {}


@dataclass(frozen=True, kw_only=True, slots=True)
class CellPair:
    """A place that both sweeps have. ``a`` and ``b`` are the ids of its trials, the same where the configs are;
    ``one`` says that both show one training, which one of them may have imported. ``same_config`` and ``same_bits`` are
    None where that is not known, as where the tuning of either has yet to choose."""

    cell: Cell
    a: str
    b: str
    states: tuple[TrialState, TrialState]
    one: bool
    same_config: bool | None
    same_bits: bool | None
    errors: tuple[Mapping[str, float], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Alone:
    """A place that one sweep alone has, A or B. ``twin`` is a place of the other whose trial has the same config under
    another name."""

    side: str
    cell: Cell
    trial_id: str
    twin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigDifference:
    """A value that so many ``cells`` of both do not share."""

    what: str
    a: Any
    b: Any
    cells: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepDifference:
    """``reports`` are the differences of what the files ask to be shown, ``made`` those of code, data and machines, by
    how many trials have each. ``alike`` are the methods that err the same in every pair, ``verdicts`` those on the
    others, b's with a's as the baseline. ``other_images`` counts the places whose errors are of validation images in
    one of the two alone."""

    a: Side
    b: Side
    both: tuple[CellPair, ...]
    alone: tuple[Alone, ...]
    configs: tuple[ConfigDifference, ...]
    reports: tuple[Differing, ...]
    made: tuple[Differing, ...]
    alike: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    other_images: int


def read(sweep: Sweep, ledger: Ledger) -> Side:
    """Raises StorageError."""
    standings, driver = ledger.standings(trial.id for trial in sweep.in_tables), ledger.driver(sweep.name)
    return Side(
        sweep=sweep,
        storage=str(ledger.storage),
        records={name: it.record for name, it in standings.items() if it.record},
        states={name: it.under(driver) for name, it in standings.items()},
    )


def compare(a: Side, b: Side) -> SweepDifference:
    """All that differs, whatever of it has ended."""
    both = tuple(places_of_both(a, b))
    paired = pair_up(a, b, both)
    return SweepDifference(
        a=a,
        b=b,
        both=both,
        alone=(*_alone(a, b, A), *_alone(b, a, B)),
        configs=tuple(_configs(a, b, both)),
        reports=tuple(unlike(_report(a), _report(b))),
        made=tuple(_made(a, b)),
        alike=paired.alike,
        verdicts=_verdicts(paired, a.sweep.report),
        other_images=_of_other_images(a, b, both),
    )


# Places


def places_of_both(a: Side, b: Side) -> Iterator[CellPair]:
    """By the words of the places, in the order of a."""
    others = {cell.label: cell for cell in b.sweep.cells}
    awaited = {trial.id for side in (a, b) for trial in side.sweep.trials if trial.awaits}
    for cell, trial_id in a.sweep.cells.items():
        if (other := others.get(cell.label)) is not None:
            ids = trial_id, b.sweep.cells[other]
            yield _pair(a, b, (cell, other), ids, chosen=awaited.isdisjoint(ids))


def _pair(a: Side, b: Side, cells: tuple[Cell, Cell], ids: tuple[str, str], *, chosen: bool) -> CellPair:
    records = a.records.get(ids[0]), b.records.get(ids[1])
    same = ids[0] == ids[1]
    return CellPair(
        cell=cells[0],
        a=ids[0],
        b=ids[1],
        states=(a.states[ids[0]], b.states[ids[1]]),
        one=chosen and same and (a.storage == b.storage or _copied(*records)),
        same_config=same if chosen else None,
        same_bits=_same_bits(*records),
        errors=(a.errors(cells[0]), b.errors(cells[1])),
    )


def _copied(a: TrialRecord | None, b: TrialRecord | None) -> bool:
    """Whether both are of one training, as in a bundle or after an import: it ended once, in one place."""
    ends = [[it.provenance.get(name) for name in OF_TRAINING] if it else [] for it in (a, b)]
    return ends[0] == ends[1] and all(ends[0]) and bool(ends[0])


def _same_bits(a: TrialRecord | None, b: TrialRecord | None) -> bool | None:
    """By their errors and the hashes of their networks; None where one has not ended, or has no such hash."""
    if a is None or b is None:
        return None
    if a.result.errors != b.result.errors or a.state is not b.state:
        return False
    hashes = [record.provenance.get("network_hash") for record in (a, b)]
    return hashes[0] == hashes[1] if all(hashes) else None


def _alone(own: Side, other: Side, side: str) -> Iterator[Alone]:
    labels = {cell.label for cell in other.sweep.cells}
    twins = {trial_id: cell.label for cell, trial_id in other.sweep.cells.items()}
    for cell, trial_id in own.sweep.cells.items():
        if cell.label not in labels:
            yield Alone(side=side, cell=cell, trial_id=trial_id, twin=twins.get(trial_id, ""))


# What was to be trained, and what trained it


def _configs(a: Side, b: Side, both: Iterable[CellPair]) -> Iterator[ConfigDifference]:
    """The configs of a sweep share their parts, so that each two are compared once."""
    trials = tuple({trial.id: trial for trial in side.sweep.trials} for side in (a, b))
    compared: dict[tuple[int, int], tuple[Differing, ...]] = {}
    found: dict[str, tuple[Differing, int]] = {}
    for pair in both:
        if pair.same_config is not False:
            continue
        for it in _unlike(trials[0][pair.a].config, trials[1][pair.b].config, compared):
            key = repr((it.what, it.a, it.b))
            found[key] = it, found.get(key, (it, 0))[1] + 1
    for it, cells in found.values():
        yield ConfigDifference(what=it.what, a=it.a, b=it.b, cells=cells)


def _unlike(
    a: TrialConfig, b: TrialConfig, compared: dict[tuple[int, int], tuple[Differing, ...]]
) -> Iterator[Differing]:
    for name in OF_CONFIG:
        own, other = getattr(a, name), getattr(b, name)
        if (key := (id(own), id(other))) not in compared:
            compared[key] = tuple(unlike(flat(plain(own), f"{name}."), flat(plain(other), f"{name}.")))
        yield from compared[key]


def _report(side: Side) -> dict[str, Any]:
    return flat(side.sweep.report.model_dump(mode="json"), "report.")


def _made(a: Side, b: Side) -> Iterator[Differing]:
    """Of the trials of either that stand in the tables, and have ended."""
    records = [list(side.records.values()) for side in (a, b)]
    if not all(records):
        return
    code = [Counter(code_of(record) for record in own) for own in records]
    if code[0].keys() != code[1].keys():
        yield Differing(part=CODE, what="code", a=dict(code[0]), b=dict(code[1]))
    for name in MADE_BY:
        counts = [Counter(str(record.provenance.get(name) or "") for record in own) for own in records]
        if counts[0].keys() != counts[1].keys():
            yield Differing(part=part_of(name), what=name, a=dict(counts[0]), b=dict(counts[1]))


# Errors


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Paired:
    """The errors of the methods that both sweeps have, on the experiments that both have, in percent: ``a`` and ``b``
    are ``[experiment, method, metric]``, NaN where there is none and infinite where a trial diverged. ``apart``,
    ``[experiment, method]``, is where these are of two trainings, and not of one that both sweeps show."""

    experiments: tuple[Experiment, ...]
    methods: tuple[str, ...]
    a: Errors
    b: Errors
    apart: NDArray[np.bool_]

    @property
    def alike(self) -> tuple[str, ...]:
        """The methods whose errors are the same in every pair of two trainings, of which they have some."""
        two = ~np.isnan(self.a) & ~np.isnan(self.b) & self.apart[..., np.newaxis]
        same = (two & (self.a == self.b)).sum((0, 2)) == two.sum((0, 2))
        return tuple(name for name, it in zip(self.methods, same & two.any((0, 2)), strict=True) if it)


def pair_up(a: Side, b: Side, both: Iterable[CellPair]) -> Paired:
    """Errors of validation images are paired with none of test images. A trial that diverged is to both sweeps what the
    report of ``a`` says."""
    own = measure(a.sweep, a.records, a.states)
    other = measure(replace(b.sweep, report=a.sweep.report), b.records, b.states)
    rows = {experiment: row for row, experiment in enumerate(other.experiments)}
    columns = {method: column for column, method in enumerate(other.methods)}
    experiments = {each: row for row, each in enumerate(own.experiments) if each in rows}
    methods = {each: column for column, each in enumerate(own.methods) if each in columns}
    errors = own.errors[np.ix_([*experiments.values()], [*methods.values()])]
    others = other.errors[np.ix_([rows[each] for each in experiments], [columns[each] for each in methods])]
    unlike_images = a.sweep.validated ^ b.sweep.validated
    odd = [each.dataset in unlike_images for each in experiments]
    errors[odd], others[odd] = np.nan, np.nan
    two = {(experiment_of(pair.cell), pair.cell.method) for pair in both if not pair.one}
    apart = [[(experiment, method) in two for method in methods] for experiment in experiments]
    return Paired(
        experiments=tuple(experiments),
        methods=tuple(methods),
        a=errors,
        b=others,
        apart=np.array(apart, dtype=bool).reshape(errors.shape[:2]),
    )


def _of_other_images(a: Side, b: Side, both: Iterable[CellPair]) -> int:
    """The places whose errors are of validation images in one of the two alone."""
    odd = a.sweep.validated ^ b.sweep.validated
    return sum(pair.cell.dataset in odd for pair in both)


def _verdicts(paired: Paired, wanted: Report) -> tuple[Verdict, ...]:
    """Of each method in b against the same in a, as the report of a wants verdicts. One training is no evidence, and
    what is all the same needs no test."""
    apart = paired.apart[..., np.newaxis]
    own, other = ([f"{method} of {side}" for method in paired.methods] for side in (B, A))
    measured = Measurements(
        experiments=paired.experiments,
        methods=(*own, *other),
        optima=(),
        errors=np.concatenate([np.where(apart, errors, np.nan) for errors in (paired.b, paired.a)], axis=1),
        places=frozenset(),
        missing={},
    )
    tested = [method not in paired.alike for method in paired.methods]
    pairs = compress(zip(own, other, strict=True), tested)
    scope = wanted.scope or widest(triples(paired.experiments))
    return between(measured, pairs, (scope, wanted.scale, wanted.rope))
