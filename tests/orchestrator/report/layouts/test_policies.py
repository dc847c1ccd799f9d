"""Tables of exit policies and of combined answers hold what loops over images give, averaged over seeds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, stdev

import pytest

from anytime_core.outcomes import Outcomes
from orchestrator.analysis.tables import FEWER
from orchestrator.report import layouts, publish
from orchestrator.report.layouts.outcomes import NONE_KEPT, TOO_CHEAP
from orchestrator.report.layouts.policies import UNCOUNTED
from orchestrator.report.losses import Losses
from orchestrator.report.status import read_tables
from orchestrator.report.views import render
from orchestrator.stats.outcomes.budgeted import shares, whole_curve
from orchestrator.stats.outcomes.exits import MEANINGS
from orchestrator.stats.outcomes.policies import POLICIES
from orchestrator.table import Entry, Table

TEXT = """\
name: answered
networks: [{n: 2, c: 2}]
datasets: [{name: digits, validation: 0}]
methods: {ann: {}, aann: {strategy: aann}, opt: {regime: opt, at: [1]}}
seeds: [0, 1, 2]
training: {steps: 44, batch_size: 64}
report: {tables: [policies, answers]}
"""
FRACTIONS = (0.25, 0.5, 0.75)
Points = list[tuple[float, float]]


def arranged(sweep, ledger) -> dict[str, Table]:
    return {table.name: table for table in layouts.arrange(read_tables(sweep, ledger))}


def line(table: Table, method: str, kind: str) -> list[Entry]:
    (row,) = [row for row in table.rows if (row[1].value, row[2].value) == (method, kind)]
    return list(row[3:])


# Loops over images


def reached(outcomes: Outcomes, exits: Sequence[int]) -> tuple[float, float]:
    shown = zip(exits, outcomes.labels, range(len(exits)), strict=True)
    right = [outcomes.classes[k, image] == label for k, label, image in shown]
    return fmean(outcomes.costs[k] / outcomes.costs[-1] for k in exits), 100 * fmean(right)


def points_of(outcomes: Outcomes, name: str) -> Points:
    """Mean costs and accuracies of a policy, cheapest first."""
    predictions, images = outcomes.classes.shape
    relative = [cost / outcomes.costs[-1] for cost in outcomes.costs]
    same = [reached(outcomes, [k] * images) for k in range(predictions)]

    def leave(may: Callable[[int, int], bool]) -> tuple[float, float]:
        exits = [next((k for k in range(predictions) if may(k, i)), predictions - 1) for i in range(images)]
        return reached(outcomes, exits)

    match name:
        case "budgeted":
            curve = whole_curve(outcomes)
            return list(zip(curve.costs.tolist(), curve.accuracies.tolist(), strict=True))
        case "confidence":
            limits = POLICIES[name].ladder(outcomes)
            return [leave(lambda k, i, limit=limit: outcomes.confidence[k, i] >= limit) for limit in limits]
        case "entropy":
            limits = POLICIES[name].ladder(outcomes)
            return [leave(lambda k, i, limit=limit: outcomes.entropy[k, i] <= limit) for limit in limits]
        case "patience":
            answers = outcomes.classes
            return [
                leave(lambda k, i, t=t: k >= t and len({*answers[k - t : k + 1, i].tolist()}) == 1)
                for t in range(predictions)
            ]
        case "random":
            blind = [[fmean_by(row, column) for column in zip(*same, strict=True)] for row in shares(predictions)]
            return [same[0], *map(tuple, blind), same[-1]]
        case "oracle":
            first = [next((k for k in range(predictions) if outcomes.right[k, i]), 0) for i in range(images)]
            more = sorted(relative[k] - relative[0] for k, i in zip(first, range(images), strict=True) if k)
            steps = [sum(more[:count]) / images for count in range(len(more) + 1)]
            return [(relative[0] + step, same[0][1] + 100 * count / images) for count, step in enumerate(steps)]
        case "anytime":
            return same
    raise ValueError(name)


def fmean_by(weights: Sequence[float], values: Sequence[float]) -> float:
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def between(points: Points, cost: float) -> float | None:
    """On straight lines between the points; None below the first."""
    ordered = sorted(points, key=lambda point: point[0])
    if cost < ordered[0][0]:
        return None
    for (x, y), (after, above) in pairwise(ordered):
        if x <= cost < after:
            return y + (above - y) * (cost - x) / (after - x)
    return ordered[-1][1]


def area_below(points: Points) -> float:
    ordered = sorted(points, key=lambda point: point[0])
    ordered.append((1.0, ordered[-1][1]))
    return sum((after - x) * (y + above) / 2 for (x, y), (after, above) in pairwise(ordered))


@pytest.mark.parametrize("name", MEANINGS)
def test_a_policys_numbers_are_means_over_seeds(answered, name: str) -> None:
    made = answered(TEXT)
    table = arranged(made.sweep, made.ledger)["policies"]
    for method in ("ann", "aann"):
        points = [points_of(outcomes, name) for outcomes in made.of(method)]
        by_number = [[between(each, fraction) for each in points] for fraction in FRACTIONS]
        by_number.append([area_below(each) for each in points])
        found = line(table, method, name)
        assert [entry.value for entry in found] == pytest.approx([fmean(values) for values in by_number])
        assert [entry.spread for entry in found] == pytest.approx([stdev(values) for values in by_number])
    assert len(table.rows) == 2 * len(MEANINGS)  # none of optima, which are trained for one depth alone


def test_thresholds_come_from_held_out_images_where_there_are_some(answered) -> None:
    made = answered(TEXT.replace("validation: 0", "validation: 100"))
    table = arranged(made.sweep, made.ledger)["policies"]
    pairs = zip(made.of("ann"), made.of("ann", "validation"), strict=True)
    curves = [whole_curve(test, validation) for test, validation in pairs]
    points = [list(zip(curve.costs.tolist(), curve.accuracies.tolist(), strict=True)) for curve in curves]
    assert line(table, "ann", "budgeted")[3].value == pytest.approx(fmean(map(area_below, points)))
    assert any("found on the images held out from training" in note for note in table.notes)


def errors_at(costs: Sequence[int], errors: Sequence[float]) -> list[float | None]:
    """At 1/4, 1/2, 3/4 and all of the cost, and the mean of all."""
    reached = [
        [error for cost, error in zip(costs, errors, strict=True) if 4 * cost <= k * costs[-1]] for k in (1, 2, 3, 4)
    ]
    return [*(each[-1] if each else None for each in reached), fmean(errors)]


def cached(outcomes: Outcomes) -> list[float]:
    """Errors of the most confident answer so far, the later of equals."""
    wrong = [0] * len(outcomes.costs)
    for image, label in enumerate(outcomes.labels):
        best = 0
        for k in range(len(outcomes.costs)):
            best = k if outcomes.confidence[k, image] >= outcomes.confidence[best, image] else best
            wrong[k] += outcomes.classes[best, image] != label
    return [100 * count / len(outcomes.labels) for count in wrong]


def test_errors_of_combined_answers_stand_beside_the_networks_own(answered) -> None:
    made = answered(TEXT)
    table = arranged(made.sweep, made.ledger)["answers"]
    ways: dict[str, Callable[[Outcomes], Sequence[float]]] = {
        "own": lambda one: [100 * (1 - share) for share in one.right.mean(1)],
        "caching": cached,
        "product": lambda one: [100 * (1 - count / len(one.labels)) for count in one.product_right],
    }
    for name, errors in ways.items():
        by_seed = [errors_at(one.costs, errors(one)) for one in made.of("aann")]
        assert [entry.value for entry in line(table, "aann", name)] == pytest.approx(
            [fmean(values) for values in zip(*by_seed, strict=True)]
        )
    assert not any(UNCOUNTED in note for note in table.notes)


# What is missing


def test_what_nobody_counted_is_marked_and_explained(answered) -> None:
    made = answered(TEXT, uncounted=lambda cell: cell.method == "ann" or cell.seed == 2)
    table = arranged(made.sweep, made.ledger)["answers"]
    assert {(entry.value, entry.mark) for entry in line(table, "ann", "product")} == {(None, UNCOUNTED)}
    assert {entry.mark for entry in line(table, "aann", "product")} == {FEWER}
    assert {entry.mark for entry in line(table, "ann", "caching")} == {""}
    assert [note for note in table.notes if note.startswith(f"{UNCOUNTED}: ")]
    assert f"{FEWER}: mean of fewer seeds." in table.notes
    assert not any(note.startswith("-:") for note in table.notes)


def test_trials_without_outcomes_leave_dashes_and_means_of_fewer(answered) -> None:
    made = answered(TEXT, lost=lambda cell: cell.method == "ann" or cell.seed == 0)
    for table in arranged(made.sweep, made.ledger).values():
        first = str(table.rows[0][2].value)
        assert {(entry.value, entry.mark) for entry in line(table, "ann", first)} == {(None, "")}
        assert {entry.mark for entry in line(table, "aann", first)} == {FEWER}
        assert NONE_KEPT in table.notes
        assert TOO_CHEAP not in table.notes


# For machines


def test_machines_are_given_the_tables_that_are_asked_for(answered, tmp_path) -> None:
    made = answered(TEXT)
    publish.write(made.sweep, made.ledger, tmp_path, {}, losses=Losses())
    table = arranged(made.sweep, made.ledger)["policies"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "policies.csv").read_text())))
    assert [row["policy"] for row in rows] == 2 * [*MEANINGS]
    assert float(rows[0]["digits 1/2"]) == table.rows[0][4].value
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["answers"][0]["answer"] == "own"
    assert "budgeted" not in content
    assert not (tmp_path / "budgeted.csv").exists()


def test_outcomes_are_not_read_unless_a_table_asks_for_them(answered, monkeypatch) -> None:
    made = answered(TEXT)
    silent = replace(made.sweep, report=made.sweep.report.model_copy(update={"tables": ["errors"]}))
    monkeypatch.setattr(type(made.ledger), "outcomes", lambda *_: pytest.fail("outcomes are read"))
    tables = read_tables(silent, made.ledger)
    render.report_text(tables)
    render.report_json(tables)
