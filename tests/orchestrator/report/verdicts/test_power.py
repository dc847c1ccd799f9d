"""Plans say what a sweep can show, and reports what its open comparisons need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from orchestrator.report.status import read_tables
from orchestrator.report.verdicts import power
from orchestrator.report.views import render
from orchestrator.stats.power import Spread, of_new_cells, of_new_seeds

TEXT = """\
name: power
networks: [{n: 1, c: 4}, {n: 2, c: 4}, {n: 3, c: 4}, {n: 4, c: 4}, {n: 5, c: 4}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
training: {batch_size: 64}
"""
SEEDS = TEXT + "seeds: [0, 1, 2]\n"


@pytest.fixture
def fill(ledger, make_record):
    """Ends the trials of a sweep; aann is a point better with the first seed of a cell, equal with the others."""

    def filled(sweep, only=lambda cell: True):
        for trial in filter(lambda trial: only(trial.cell), sweep.trials):
            better = trial.cell.method == "aann" and trial.cell.seed == 0
            record = make_record(trial, (19.0 if better else 20.0,) * len(trial.config.predicting_units))
            ledger.finish(ledger.begin(trial), record)
        return ledger

    return filled


def test_a_cell_counts_once_however_many_seeds(load_text, ledger) -> None:
    """All of 5 cells must be won by the sign test, 1 in 32; a method gets there in 80 % that wins 95.6 %."""
    for text in (TEXT, SEEDS):
        said = power.plan_text(load_text(text), ledger)
        assert "a method must win, of 5 cells: more than all by hoeffding, 5 by sign-test." in said
        assert "in 80 % of such sweeps, it must win a cell with a chance of 96 % by sign-test." in said


def test_before_anything_has_run_the_spread_is_the_papers(load_text, ledger) -> None:
    said = power.plan_text(load_text(TEXT), ledger)
    assert "Differences that 5 cells with 1 seed show with a chance of 80 %, in points" in said
    assert "(spread: the paper's Table 6):" in said
    least = of_new_cells(Spread(seeds=None, cells=1.099), 5, 1)
    assert said.splitlines()[-1].startswith("  new cells of this kind: 1/4 ")
    assert said.endswith(f"AE {least:.2f}")


def test_the_spread_is_the_sweeps_own_once_trials_have_finished(load_text, fill) -> None:
    sweep = load_text(SEEDS)
    said = power.plan_text(sweep, fill(sweep, only=lambda cell: cell.seed < 2)).splitlines()
    least = of_new_seeds(Spread(seeds=0.5**0.5, cells=0), 5, 3)
    assert "(spread: the finished trials):" in said[-3]
    assert said[-2].startswith("  these cells with new seeds: ")
    assert said[-2].endswith(f"AE {least:.2f}")


def test_one_cell_of_one_seed_shows_nothing(load_text, ledger) -> None:
    text = TEXT.replace(", {n: 2, c: 4}, {n: 3, c: 4}, {n: 4, c: 4}, {n: 5, c: 4}", "")
    said = power.plan_text(load_text(text), ledger)
    assert said.endswith("1 cell with 1 seed cannot show how large a difference is; it takes two seeds, or two cells.")


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json"])
def test_what_would_decide_is_shown_in_every_form(load_text, fill, form: str) -> None:
    sweep = load_text(SEEDS)
    text = render.show([power.table(read_tables(sweep, fill(sweep)))], form)
    assert "aann" in text
    assert "-0.33" in text
    assert "better" in text


def test_an_open_comparison_has_a_number_of_seeds(load_text, fill) -> None:
    sweep = load_text(SEEDS)
    made = power.table(read_tables(sweep, fill(sweep, only=lambda cell: cell.n == 1)))
    (row,) = [row for row in render.table_rows(made) if row["metric"] == "AE"]
    assert row["these cells, new seeds verdict"] == "undecided"
    assert row["these cells, new seeds more seeds"] > 1
    assert row["new cells of this kind verdict"] is None


def test_saying_so_imports_nothing_slow() -> None:
    slow = ("torch", "ray", "mlflow", "scipy", "pandas", "matplotlib")
    code = f"import sys; import orchestrator.report.verdicts.power; print(*set(sys.modules) & set({slow}))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"\n"
