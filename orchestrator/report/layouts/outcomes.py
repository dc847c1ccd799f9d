"""Tables of what networks answer image by image: budgets, calibration, overthinking, monotonicity, classes.

Each is of the images that the sweep's errors are of, and of trials for all depths; see ``stats.outcomes`` for what its
numbers are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import chain
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anytime_core.data.catalog import dataset_of
from orchestrator.analysis.answers import Kept, budgeted_images
from orchestrator.analysis.tables import FEWER, Tables
from orchestrator.stats.outcomes.changes import FALLS, falls
from orchestrator.stats.outcomes.classes import class_errors, confusions, worst
from orchestrator.stats.outcomes.curves import accuracy_at, area
from orchestrator.stats.outcomes.metrics import METRICS
from orchestrator.stats.outcomes.policies import oracle_point
from orchestrator.sweep.trial import Cell
from orchestrator.table import Column, Entry, Table

FRACTIONS = {"1/4": 0.25, "1/2": 0.5, "3/4": 0.75}
MISTAKES = 3
DIGITS = {"NLL": 3, "Brier": 4}
"""Decimals of numbers that are not in percent."""
NONE_KEPT = "-: no outcomes; `orchestrate outcomes` keeps those of trials that ended without."
TOO_CHEAP = "-: no prediction costs so little, or the network has only one."

Numbers = tuple[float | None, ...]
Words = tuple[str, ...]


# What is taken of one trial


def of_several(count: int) -> Callable[[Callable[[Kept], Numbers]], Callable[[Kept], Numbers]]:
    """For ``count`` numbers that say nothing of a network with a single prediction, which has none of them."""

    def decorate(take: Callable[[Kept], Numbers]) -> Callable[[Kept], Numbers]:
        @wraps(take)
        def taken(kept: Kept) -> Numbers:
            return take(kept) if len(kept.own.costs) > 1 else (None,) * count

        return taken

    return decorate


@of_several(5)
def budgeted_numbers(kept: Kept) -> Numbers:
    """All of the images that leave."""
    at_fractions = (accuracy_at(kept.budgeted, fraction) for fraction in FRACTIONS.values())
    return (*at_fractions, area(kept.budgeted), METRICS["auc"].of(budgeted_images(kept)[0]))


def calibration_numbers(kept: Kept) -> Numbers:
    return tuple(METRICS[metric].of(kept.own) for metric in CALIBRATION.values())


@of_several(4)
def overthinking_numbers(kept: Kept) -> Numbers:
    cost, accuracy = oracle_point(kept.own)
    return (*(METRICS[name].of(kept.own) for name in OVERTHINKING), accuracy, 100 * cost)


@of_several(len(FALLS) + 1)
def monotonicity_numbers(kept: Kept) -> Numbers:
    return (*map(float, falls(kept.own)), METRICS["rises"].of(kept.own))


def last_confusions(kept: Kept) -> NDArray[np.int64]:
    """Of the last prediction, over as many classes as occur: [K, K]."""
    return confusions(kept.own, 1 + int(max(kept.own.labels.max(), kept.own.classes[-1].max())))


# The tables


def budgeted(tables: Tables) -> Table:
    return by_number(
        tables,
        "budgeted",
        "Accuracy in % at fractions of the cost, on average over images that leave where the network is sure",
        [*FRACTIONS, "area", "AUC"],
        budgeted_numbers,
        (
            *images_of(tables, leaving=True),
            "Budgeted batch classification: as many images leave at each prediction as the budget allows, the most "
            f"confident ones. Thresholds: {thresholds_from(tables)}.",
            f"area: {METRICS['budgeted_area'].meaning.partition(',')[0]}. AUC: {METRICS['auc'].meaning}.",
        ),
    )


CALIBRATION = {"ECE": "ece", "ECE mass": "ece_mass", "NLL": "nll", "Brier": "confidence_brier", "AUROC": "auroc"}


def calibration(tables: Tables) -> Table:
    return by_number(
        tables,
        "calibration",
        "Whether networks are as sure as they are right: means of all predictions",
        list(CALIBRATION),
        calibration_numbers,
        (
            *images_of(tables),
            *(f"{name}: {METRICS[metric].meaning}{_unit(metric)}." for name, metric in CALIBRATION.items()),
        ),
    )


OVERTHINKING = ("wasteful", "destructive")


def overthinking(tables: Tables) -> Table:
    return by_number(
        tables,
        "overthinking",
        "Overthinking, in % of images",
        [*OVERTHINKING, "oracle", "its cost"],
        overthinking_numbers,
        (
            *images_of(tables),
            *(f"{name}: {METRICS[name].meaning}." for name in OVERTHINKING),
            "oracle: the accuracy of images that leave at the first right prediction, and their mean cost in % of all.",
        ),
    )


def monotonicity(tables: Tables) -> Table:
    return by_number(
        tables,
        "monotonicity",
        "Images in % whose true class ever falls in probability by more than this from its highest so far",
        [*(f"{fall:g}" for fall in FALLS), "rises"],
        monotonicity_numbers,
        (*images_of(tables), f"rises: {METRICS['rises'].meaning}, in points."),
    )


def classes(tables: Tables) -> Table:
    """A line for each network, method and data set: the last prediction, all seeds together."""
    rows = []
    for (network, method, dataset), cells in cells_by_line(tables).items():
        confused = [of_cell for cell in cells if (of_cell := tables.answers.of(cell, last_confusions)) is not None]
        place = (Entry(value=dataset), Entry(value=network), Entry(value=method))
        rows.append((*place, *_of_classes(confused, class_names(tables, dataset))))
    return Table(
        name="classes",
        title="Errors of the last prediction in %, class by class",
        columns=(
            *(Column(name=name, numeric=False) for name in ("data set", "network", "method")),
            *(
                Column(name=name, group=group, numeric=name == "error")
                for group in ("hardest", "easiest")
                for name in ("class", "error")
            ),
            Column(name="commonest mistakes", numeric=False),
        ),
        rows=tuple(rows),
        notes=(
            *images_of(tables),
            "Commonest mistakes: class as answer, and how many images of all seeds.",
            *_dashes(rows, NONE_KEPT),
        ),
    )


def _of_classes(found: Sequence[NDArray[np.int64]], names: tuple[str, ...]) -> Iterator[Entry]:
    if not found:
        yield from (Entry(),) * 5
        return
    confused = [_padded(each, len(names)) for each in found]
    errors = np.mean([class_errors(each) for each in confused], axis=0)
    order = [index for index in errors.argsort(kind="stable") if not np.isnan(errors[index])]
    for index in (order[-1], order[0]):
        yield Entry(value=names[index])
        yield Entry(value=float(errors[index]))
    mistakes = worst(np.sum(confused, axis=0), MISTAKES)
    said = [f"{names[row]} as {names[column]} {count}" for row, column, count in mistakes]
    yield Entry(value="; ".join(said) or "none")


def _padded(confused: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Over all classes: [K, K]."""
    return np.pad(confused, (0, classes - len(confused)))


def class_names(tables: Tables, dataset: str) -> tuple[str, ...]:
    data = next(trial.config.data for trial in tables.sweep.in_tables if trial.config.data.name == dataset)
    return tuple(dataset_of(data).class_names)


# Lines of numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Kinds:
    """What each network and method has a line of its own for: ``names``, below a ``heading``. ``numbers`` gives those
    of a kind, of what was taken of a trial; where it gives None, ``absent`` stands, a symbol, and below it ``why``."""

    heading: str
    names: Sequence[str]
    numbers: Callable[[Any, str], Numbers | None]
    absent: str = ""
    why: str = ""


ONE = Kinds(heading="", names=("",), numbers=lambda taken, kind: taken)


def by_number(
    tables: Tables,
    name: str,
    title: str,
    numbers: Sequence[str],
    take: Callable[[Kept], Any],
    notes: Words,
    kinds: Kinds = ONE,
) -> Table:
    """A line for each network, method and kind, the data sets side by side; means over seeds, with their spreads."""
    lines = cells_by_line(tables)
    datasets = list(dict.fromkeys(dataset for _, _, dataset in lines))
    found = {line: [tables.answers.of(cell, take) for cell in cells] for line, cells in lines.items()}
    rows = []
    for network, method in dict.fromkeys((network, method) for network, method, _ in lines):
        for kind in kinds.names:
            words = (network, method, kind) if kinds.heading else (network, method)
            by_dataset = (found.get((network, method, dataset), []) for dataset in datasets)
            entries = (_entries(by_seed, kinds, kind, numbers) for by_seed in by_dataset)
            rows.append((*(Entry(value=word) for word in words), *chain.from_iterable(entries)))
    whole = [all(taken is None for taken in by_seed) for by_seed in found.values()]
    return Table(
        name=name,
        title=title,
        columns=(
            *(Column(name=word, numeric=False) for word in ("network", "method", kinds.heading) if word),
            *(Column(name=number, group=dataset) for dataset in datasets for number in numbers),
        ),
        rows=tuple(rows),
        notes=(
            *notes,
            *_seed_notes(tables, rows),
            *([f"{kinds.absent}: {kinds.why}."] if _any_marked(rows, kinds.absent) else []),
            *(_dashes(rows, NONE_KEPT) if any(whole) else ()),
            *(_dashes(rows, TOO_CHEAP) if _dashed(rows) > sum(whole) * len(numbers) * len(kinds.names) else ()),
        ),
    )


def cells_by_line(tables: Tables) -> dict[tuple[str, str, str], list[Cell]]:
    """The cells of networks for all depths, by network, method and data set: one for each seed."""
    lines: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in tables.sweep.cells:
        if cell.unit is None:
            lines.setdefault((cell.network, cell.method, cell.dataset), []).append(cell)
    return lines


def _entries(by_seed: Sequence[Any], kinds: Kinds, kind: str, names: Sequence[str]) -> Iterator[Entry]:
    """One for each number, of what was taken of each seed's trial: None of one without outcomes."""
    found = [None if taken is None else kinds.numbers(taken, kind) for taken in by_seed]
    unknown = any(taken is not None and numbers is None for taken, numbers in zip(by_seed, found, strict=True))
    none = (None,) * len(names)
    for name, *values in zip(names, *(numbers or none for numbers in found), strict=True):
        there = [value for value in values if value is not None]
        if there:
            fewer = FEWER if len(there) < len(found) else ""
            spread = stdev(there) if len(there) > 1 else None
            yield Entry(value=fmean(there), spread=spread, mark=fewer, digits=DIGITS.get(name, 2))
        else:
            yield Entry(mark=kinds.absent if unknown else "")


def _any_marked(rows: Iterable[tuple[Entry, ...]], mark: str) -> bool:
    return bool(mark) and any(entry.mark == mark for row in rows for entry in row)


def _seed_notes(tables: Tables, rows: Sequence[tuple[Entry, ...]]) -> Iterator[str]:
    seeds = len({cell.seed for cell in tables.sweep.cells})
    if seeds > 1:
        yield f"Mean ± standard deviation of {seeds} seeds."
    if _any_marked(rows, FEWER):
        yield f"{FEWER}: mean of fewer seeds."


def _dashes(rows: Iterable[tuple[Entry, ...]], why: str) -> Words:
    """What a dash stands for, where there is one."""
    return (why,) if _dashed(rows) else ()


def _dashed(rows: Iterable[tuple[Entry, ...]]) -> int:
    return sum(entry.value is None and not entry.mark for row in rows for entry in row)


# Numbers


def _unit(name: str) -> str:
    return f", in {METRICS[name].unit}" if METRICS[name].unit else ""


def images_of(tables: Tables, *, leaving: bool = False) -> Words:
    """Which images a table is of, where a sweep holds some out: those, but test images where images are ``leaving``."""
    held_out, names = tables.sweep.validated, {cell.dataset for cell in tables.sweep.cells}
    if not held_out:
        return ()
    if leaving:
        return ("Of the test images.",)
    others = f" of {', '.join(sorted(held_out))}, else of the test images" if names != held_out else ""
    return (f"Of the images held out from training{others}.",)


def thresholds_from(tables: Tables) -> str:
    held_out, names = tables.sweep.validated, {cell.dataset for cell in tables.sweep.cells}
    if not held_out:
        return "found on one half of the test images for the other, and the other way round"
    found = "found on the images held out from training, and tested on the test images"
    if held_out == names:
        return found
    return f"{found}, for {', '.join(sorted(held_out))}; else by halves of the test images"
