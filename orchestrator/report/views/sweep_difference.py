"""Shows what two sweeps differ in: a sentence and verdicts, then what differs and nothing else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.analysis.sweep_difference import A, Alone, B, CellPair, SweepDifference
from orchestrator.report.verdicts import rows as verdict_rows
from orchestrator.report.verdicts import sentences
from orchestrator.report.views import narrow
from orchestrator.report.views.render import ABSENT, as_csv, as_json, table_of, table_text
from orchestrator.report.views.trial_difference import in_lines, listed, sides_named, value_words, words
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweep.trial import Cell
from orchestrator.text import counted

Row = dict[str, Any]


def shown(found: SweepDifference, form: str) -> str:
    match form:
        case "json":
            return as_json(_sweeps_content(found))
        case "csv":
            return as_csv(_cell_rows(found), CELL_COLUMNS)
        case _:
            return "\n\n".join(_sweep_parts(found))


def said_of_sweeps(found: SweepDifference) -> str:
    """Such as ``36 cells in both, 18 with another config; 6 in A alone; 12 of 36 have the same bits``."""
    other = sum(pair.same_config is False for pair in found.both)
    shared = sum(pair.one for pair in found.both)
    alone = Counter(it.side for it in found.alone)
    both = [f"{counted(len(found.both), 'cell')} in both"]
    both += [f"{other} with another config"] if other else []
    both += [f"{shared} of one training"] if shared else []
    apart = [f"{alone[side]} in {side} alone" for side in (A, B) if alone[side]]
    return "; ".join(filter(None, [", ".join(both), ", ".join(apart), _bits(found), _decided(found)]))


def _bits(found: SweepDifference) -> str:
    """Of the trials that ended in both, and are two."""
    known = [pair.same_bits for pair in found.both if not pair.one and pair.same_bits is not None]
    return f"{sum(known)} of {len(known)} that ended in both have the same bits" if known else ""


def _decided(found: SweepDifference) -> str:
    counts = Counter(each.word for each in found.verdicts)
    verdicts = f"{B} against {A}: " + ", ".join(f"{count} {word}" for word, count in counts.items()) if counts else ""
    alike = f"same errors of {listed(found.alike)}" if found.alike else ""
    return "; ".join(filter(None, [alike, verdicts]))


def _sweep_parts(found: SweepDifference) -> Iterator[str]:
    yield said_of_sweeps(found)
    named = [{"sweep": side.sweep.name, "file": str(side.sweep.path)} for side in (found.a, found.b)]
    yield in_lines("", sides_named((found.a.storage, found.b.storage), named))
    if found.verdicts:
        yield "\n".join(sentences.lines(found.verdicts, METRICS))
    if differing := [*_config_words(found)]:
        yield in_lines("what differs in the configs of cells that both have, and in the reports", differing)
    if found.made:
        yield in_lines(
            "code, data and machines, and how many trials of each",
            [words(it.part, it.what, _counts(it.a), _counts(it.b)) for it in found.made],
        )
    if found.alone:
        yield table_text(narrow.fitted(table_of("cells in one alone", _alone_rows(found)), narrow.terminal_width()))
    if notes := [*_notes(found)]:
        yield "\n".join(notes)


def _config_words(found: SweepDifference) -> Iterator[Row]:
    for it in found.configs:
        yield {"what": it.what, A: value_words(it.a), B: value_words(it.b), "cells": str(it.cells)}
    for other in found.reports:
        yield {"what": other.what, A: value_words(other.a), B: value_words(other.b), "cells": ABSENT}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{value or 'unknown'} ({count})" for value, count in counts.items())


def _alone_rows(found: SweepDifference) -> list[Row]:
    """Cells together that are alone for the same reason: the other sweep has nothing of their method, say."""
    others = {A: _axes(found.b.sweep.cells), B: _axes(found.a.sweep.cells)}
    counts = Counter((it.side, _why(it.cell, others[it.side])) for it in found.alone)
    return [{"in": side, "cells": count, "of": why} for (side, why), count in counts.items()]


AXES = {"method": "method", "network": "network", "dataset": "data set", "seed": "seed", "unit": "unit"}


def _axes(cells: Iterable[Cell]) -> dict[str, set[Any]]:
    values: dict[str, set[Any]] = defaultdict(set)
    for cell in cells:
        for axis in AXES:
            values[axis].add(getattr(cell, axis))
    return values


def _why(cell: Cell, other: Mapping[str, set[Any]]) -> str:
    lacking = [axis for axis in AXES if getattr(cell, axis) not in other[axis]]
    if lacking:
        return f"{AXES[lacking[0]]} {getattr(cell, lacking[0])}"
    return f"{cell.method} {cell.network} {cell.dataset}"


def _notes(found: SweepDifference) -> Iterator[str]:
    if twins := [it for it in found.alone if it.twin and it.side == A]:
        such = f"{twins[0].cell.label} is {twins[0].twin} of {B}"
        yield f"{counted(len(twins), 'cell')} of {A} alone have the config of one of {B}, under another name: {such}."
    if waiting := sum(pair.same_config is None for pair in found.both):
        yield f"{counted(waiting, 'cell')} of both: tuning has yet to choose what is trained."
    if found.other_images:
        yield f"{counted(found.other_images, 'cell')}: errors of test images in one, of validation images in the other."
    if shared := sum(pair.one for pair in found.both):
        yield f"{counted(shared, 'cell')} of one training in both: no evidence of a difference, nor against one."


CELL_COLUMNS = (
    *("dataset", "network", "method", "unit", "seed", "in", "trial_a", "trial_b", "same_config"),
    "one_training",
    *("state_a", "state_b", "same_bits", *(f"{metric} {side}" for metric in METRICS for side in "ab")),
)


def _cell_rows(found: SweepDifference) -> list[Row]:
    """A row for each place of either sweep."""
    rows = [*map(_pair_row, found.both), *(_lone_row(it, found) for it in found.alone)]
    return [{name: row.get(name) for name in CELL_COLUMNS} for row in rows]


def _place(cell: Cell) -> Row:
    return {name: getattr(cell, name) for name in ("dataset", "network", "method", "unit", "seed")}


def _pair_row(pair: CellPair) -> Row:
    errors = {
        f"{metric} {side}": own.get(metric) for side, own in zip("ab", pair.errors, strict=True) for metric in METRICS
    }
    return {
        **_place(pair.cell),
        "in": "both",
        "trial_a": pair.a,
        "trial_b": pair.b,
        "same_config": pair.same_config,
        "one_training": pair.one,
        "state_a": str(pair.states[0]),
        "state_b": str(pair.states[1]),
        "same_bits": pair.same_bits,
        **errors,
    }


def _lone_row(it: Alone, found: SweepDifference) -> Row:
    side, name = (found.a, "a") if it.side == A else (found.b, "b")
    errors = {f"{metric} {name}": error for metric, error in side.errors(it.cell).items()}
    state = str(side.states[it.trial_id])
    return {**_place(it.cell), "in": it.side, f"trial_{name}": it.trial_id, f"state_{name}": state, **errors}


def _sweeps_content(found: SweepDifference) -> Row:
    sides = {
        name: {"sweep": side.sweep.name, "file": str(side.sweep.path), "storage": side.storage}
        for name, side in (("a", found.a), ("b", found.b))
    }
    return {
        "said": said_of_sweeps(found),
        **sides,
        "alike": list(found.alike),
        "verdicts": [verdict_rows.row(each) for each in found.verdicts],
        "configs": [asdict(it) for it in found.configs],
        "reports": [{"what": it.what, "a": it.a, "b": it.b} for it in found.reports],
        "made": [asdict(it) for it in found.made],
        "notes": [*_notes(found)],
        "cells": _cell_rows(found),
    }
