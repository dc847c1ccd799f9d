"""Tables of outcomes hold, line by line, the means over seeds of what single trials give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from anytime_core.outcomes import Outcomes, of_logits
from orchestrator.analysis import tables as building
from orchestrator.analysis.answers import Answers
from orchestrator.analysis.tables import Tables
from orchestrator.report import layouts
from orchestrator.report.layouts.outcomes import NONE_KEPT, TOO_CHEAP
from orchestrator.stats.outcomes.budgeted import budgeted_area
from orchestrator.stats.outcomes.metrics import METRICS
from orchestrator.sweep.trial import TrialState
from orchestrator.sweepfile.load import load
from orchestrator.table import Table

NAMES = ("budgeted", "calibration", "overthinking", "monotonicity", "classes")
COSTS = (30, 60, 100)


def outcomes(seed: int, images: int = 60) -> Outcomes:
    draws = np.random.default_rng(seed)
    labels = draws.integers(10, size=images)
    logits = draws.normal(size=(3, images, 10)) + np.eye(10)[labels] * np.arange(3)[:, None, None]
    return of_logits(logits, labels, COSTS)


def tables_of(tmp_path: Path, *, validation: int = 0, lacking: int = 0) -> tuple[Tables, Mapping[str, Outcomes]]:
    path = tmp_path / "small.yaml"
    path.write_text(
        f"name: small\nnetworks: [{{n: 1, c: 2}}]\ndatasets: [{{name: digits, validation: {validation}}}]\n"
        "methods: {ann: {}, aann: {strategy: aann}, opt: {regime: opt, at: [1]}}\nseeds: [0, 1]\n"
        "training: {steps: 4, batch_size: 64, learning_rate: {0: 0.1}}\n"
        f"report: {{tables: [{', '.join(NAMES)}]}}\n"
    )
    sweep = load(path)
    kept = {trial.id: outcomes(number) for number, trial in enumerate(sweep.trials) if number >= lacking}
    states = dict.fromkeys((trial.id for trial in sweep.trials), TrialState.PENDING)

    def by_split(trial_id: str) -> dict[str, Outcomes]:
        if trial_id not in kept:
            return {}
        held_out = {"validation": kept[trial_id]} if validation else {}
        return {"test": outcomes(99) if validation else kept[trial_id], **held_out}

    return building.build(sweep, {}, states, Answers(sweep, by_split, layouts.taken(sweep))), kept


def arranged(tables: Tables) -> dict[str, Table]:
    return {table.name: table for table in layouts.arrange(tables)}


def of_method(tables: Tables, kept: Mapping[str, Outcomes], method: str) -> list[Outcomes]:
    return [kept[trial_id] for cell, trial_id in tables.sweep.cells.items() if cell.method == method]


def line(table: Table, method: str) -> dict[str, object]:
    (row,) = (row for row in table.rows if method in {entry.value for entry in row})
    return {column.name: entry.value for column, entry in zip(table.columns, row, strict=True)}


def test_each_number_is_the_mean_over_seeds_of_a_metric(tmp_path) -> None:
    tables, kept = tables_of(tmp_path)
    found = arranged(tables)
    assert set(found) == {*NAMES}
    columns = {
        "budgeted": {"area": "budgeted_area", "AUC": "auc"},
        "calibration": {"ECE": "ece", "ECE mass": "ece_mass", "NLL": "nll", "Brier": "confidence_brier"},
        "overthinking": {"wasteful": "wasteful", "destructive": "destructive"},
        "monotonicity": {"0.1": "falls", "rises": "rises"},
    }
    for name, metrics in columns.items():
        for method in ("ann", "aann"):
            values = line(found[name], method)
            for column, metric in metrics.items():
                single = [METRICS[metric].of(one) for one in of_method(tables, kept, method)]
                assert values[column] == pytest.approx(fmean(single)), (name, column)
        assert len(found[name].rows) == 2  # optima are trained for one depth alone


def test_classes_are_named_with_their_errors_and_mistakes(tmp_path) -> None:
    tables, kept = tables_of(tmp_path)
    row = next(row for row in arranged(tables)["classes"].rows if row[2].value == "ann")
    last = [(one.labels, one.classes[-1]) for one in of_method(tables, kept, "ann")]
    errors = [fmean(100 * float((answers[labels == k] != k).mean()) for labels, answers in last) for k in range(10)]
    assert (row[3].value, row[4].value) == (str(int(np.argmax(errors))), pytest.approx(max(errors)))
    assert row[6].value == pytest.approx(min(errors))
    labels, answers = map(np.concatenate, zip(*last, strict=True))
    first = str(row[7].value).split("; ")[0]
    k, answer, count = first.replace(" as ", " ").split()
    assert int(count) == ((labels == int(k)) & (answers == int(answer))).sum()


def test_thresholds_come_from_held_out_images_where_there_are_some(tmp_path) -> None:
    tables, kept = tables_of(tmp_path, validation=100)
    table = arranged(tables)["budgeted"]
    areas = [budgeted_area(outcomes(99), one) for one in of_method(tables, kept, "ann")]
    assert line(table, "ann")["area"] == pytest.approx(fmean(areas))
    assert any("found on the images held out from training, and tested on the test images" in n for n in table.notes)


def test_a_dash_says_what_it_is(tmp_path) -> None:
    budgeted = arranged(tables_of(tmp_path)[0])["budgeted"]
    assert line(budgeted, "ann")["1/4"] is None
    assert TOO_CHEAP in budgeted.notes
    lacking = arranged(tables_of(tmp_path, lacking=2)[0])
    assert all(NONE_KEPT in table.notes for table in lacking.values())
    assert line(lacking["calibration"], "ann")["ECE"] is None
    assert line(lacking["calibration"], "aann")["ECE"] is not None
