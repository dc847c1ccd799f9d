"""Figures of all methods at once show the numbers of the tables, and refuse what would mislead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest

from orchestrator.analysis.curves import Curve, Panel
from orchestrator.ledger.ledger import Ledger
from orchestrator.report import figures
from orchestrator.report.figures import drawing
from orchestrator.report.figures.unsuited import UnsuitedError
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load

SWEEPS = Path(__file__).parents[4] / "sweeps"
NAMES = ["profiles", "matrix", "strengths", "ranks"]
TEXT = """\
name: three
networks: [{n: 1, c: 8}, {n: 2, c: 8}, {n: 3, c: 8}]
datasets: [digits, cifar10]
methods: {ann: {}, aann: {strategy: aann}, exp3: {strategy: exp3}}
seeds: [0, 1]
training: {steps: 44, batch_size: 64}
"""
WITH_OPT = TEXT.replace("exp3}}", "exp3}, opt: {regime: opt}}")
BETTER = {"ann": 0.0, "aann": -2.0, "exp3": 1.0, "opt": -4.0}

Picked = Callable[[object], bool]


@pytest.fixture
def fill(ledger, make_record) -> Callable[..., Ledger]:
    """Ends the trials of a sweep, but those that are ``lost``; the error of a method is 20 and what ``BETTER`` says,
    and a point more for each seed and for a network of 2."""

    def filled(sweep: Sweep, lost: Picked = lambda cell: False, diverged: Picked = lambda cell: False) -> Ledger:
        for trial in sweep.trials:
            cell = trial.cell
            error = 20 + BETTER[cell.method] + cell.seed + (cell.n == 2)
            record = make_record(trial, None if diverged(cell) else (error,) * len(trial.config.predicting_units))
            if not lost(cell):
                ledger.finish(ledger.begin(trial), record)
        return ledger

    return filled


def shown(name: str, sweep: Sweep, ledger: Ledger) -> dict[str, Panel]:
    return {panel.title: panel for panel in figures.panels(name, sweep, ledger)}


def curve(panel: Panel, label: str) -> Curve:
    (found,) = [curve for curve in panel.curves if curve.label == label]
    return found


def test_there_is_a_panel_for_each_metric_that_is_reached(load_text, fill) -> None:
    """The network of one unit a block predicts first at a third of its cost."""
    sweep = load_text(TEXT)
    found = shown("strengths", sweep, fill(sweep))
    assert [*found] == [
        "error at 1/4 of the cost",
        "error at 1/2 of the cost",
        "error at 3/4 of the cost",
        "error at the full cost",
        "mean error (AE)",
    ]
    assert curve(found["mean error (AE)"], "aann").x == (100,)
    assert "6 cells, seeds averaged" in found["mean error (AE)"].notes
    assert "4 cells, seeds averaged" in found["error at 1/4 of the cost"].notes


def test_profiles_are_above_the_optimum_where_there_is_one(load_text, fill) -> None:
    sweep = load_text(WITH_OPT)
    found = shown("profiles", sweep, fill(sweep))
    full, average = found["error at the full cost"], found["mean error (AE)"]
    assert full.x_label == "error above that of opt (%)"
    assert average.x_label == "error above that of ann (%)"  # an optimum has no average
    small, large = (fmean(100 * (20 - 2 + more) / (16 + more) - 100 for more in pair) for pair in ((0, 1), (1, 2)))
    aann = curve(full, "aann")
    steps = {round(x, 6): y for x, y in zip(aann.x, aann.y, strict=True)}
    assert steps[round(large, 6)] == pytest.approx(2 / 6)
    assert steps[round(small, 6)] == 1
    assert full.notes == ("6 cells, seeds averaged", "band: seeds resampled")


def test_profiles_leave_out_cells_that_a_method_lacks_and_say_so(load_text, fill) -> None:
    sweep = load_text(TEXT)
    lost = lambda cell: cell.method == "exp3" and cell.n == 3 and cell.dataset == "digits"  # noqa: E731
    panel = shown("profiles", sweep, fill(sweep, lost))["mean error (AE)"]
    assert panel.notes[0] == "5 cells, seeds averaged"
    assert panel.notes[2] == "left out: 1 cell that not all methods have"


def test_a_diverged_trial_is_below_no_point(load_text, fill) -> None:
    sweep = load_text(TEXT)
    ledger = fill(sweep, diverged=lambda cell: cell.method == "exp3" and cell.n == 2 and cell.seed == 0)
    panel = shown("profiles", sweep, ledger)["mean error (AE)"]
    assert curve(panel, "exp3").y[-1] == pytest.approx(4 / 6)


def test_a_matrix_says_both_ways_round(load_text, fill) -> None:
    sweep = load_text(TEXT)
    panel = shown("matrix", sweep, fill(sweep))["mean error (AE)"]
    assert curve(panel, "aann").words == ("-2.00\n6/0/0\np .031", "-3.00\n6/0/0\np .031")
    assert curve(panel, "ann").words[0] == "+2.00\n0/0/6\np .031"
    assert curve(panel, "ann").x == (1, 2)
    assert curve(panel, "aann").bold == (True, True)


def test_a_matrix_counts_cells_that_diverged(load_text, fill) -> None:
    sweep = load_text(TEXT)
    ledger = fill(sweep, diverged=lambda cell: cell.method == "exp3" and cell.n == 2 and cell.seed == 0)
    panel = shown("matrix", sweep, ledger)["mean error (AE)"]
    assert curve(panel, "ann").words[1].startswith("-1.00\n6/0/0")
    assert panel.notes[1] == "where a trial diverged, 4 results in no mean difference"  # two against each of two


def test_ranks_of_a_complete_table_are_drawn_with_their_groups(load_text, fill) -> None:
    sweep = load_text(TEXT)
    panel = shown("ranks", sweep, fill(sweep))["mean error (AE)"]
    assert {curve.label: curve.x for curve in panel.curves} == {"ann": (2,), "aann": (1,), "exp3": (3,)}
    assert panel.critical == pytest.approx(2.343 * (3 * 4 / (6 * 6)) ** 0.5, abs=1e-3)  # Demšar (2006), table 5
    assert panel.notes == ("6 cells, seeds averaged; Friedman's p .002", "critical difference 1.35")


def test_ranks_of_a_table_with_gaps_are_refused_and_the_gaps_named(load_text, fill) -> None:
    sweep = load_text(TEXT)
    ledger = fill(sweep, lost=lambda cell: cell.method == "exp3" and cell.n > 1)
    with pytest.raises(UnsuitedError) as refused:
        figures.panels("ranks", sweep, ledger)
    words, _, named = str(refused.value).partition(": ")
    assert words == "mean ranks need every method in every cell, and these are missing"
    assert {*named.split("; ")} == {f"exp3 ({n},8) {name}" for n in (2, 3) for name in ("digits", "cifar10")}
    assert drawing.draw("ranks", sweep, ledger) == {}
    assert shown("strengths", sweep, ledger)  # which need no complete table


def test_what_nothing_links_to_the_baseline_is_named(load_text, fill) -> None:
    sweep = load_text(TEXT)
    panel = shown("strengths", sweep, fill(sweep, lost=lambda cell: cell.method == "exp3"))["mean error (AE)"]
    assert [curve.label for curve in panel.curves] == ["ann", "aann"]
    assert panel.notes[2] == "not linked to ann: exp3"


@pytest.mark.parametrize("name", NAMES)
def test_before_anything_has_run_there_is_nothing_to_draw(load_text, ledger, name: str) -> None:
    sweep = load_text(TEXT)
    assert name in drawing.suited(sweep)
    assert drawing.reason(name, sweep, ledger) == "none of its trials has results yet"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("matrix", TEXT.replace(", exp3: {strategy: exp3}", ""), "it compares 2 methods, and 3 to 10 are needed"),
        ("profiles", TEXT.replace(", aann: {strategy: aann}, exp3: {strategy: exp3}", ""), "it compares 1 method"),
        ("ranks", TEXT.replace(", {n: 2, c: 8}, {n: 3, c: 8}", "").replace(", cifar10", ""), "it has 1 cell, and 2"),
        ("strengths", WITH_OPT + "report: {baseline: opt}\n", "its baseline opt is trained for one depth alone"),
    ],
)
def test_a_sweep_that_cannot_have_one_is_told_why(load_text, ledger, name: str, text: str, reason: str) -> None:
    assert drawing.reason(name, load_text(text), ledger).startswith(reason)


def test_the_papers_table_6_suits_all_of_them() -> None:
    assert [name for name in drawing.suited(load(SWEEPS / "table6.yaml")) if name in NAMES] == NAMES


def test_captions_say_the_unit_and_what_is_not_said() -> None:
    for name in NAMES:
        assert "seeds averaged" in figures.FIGURES[name].caption
    assert "not corrected" in figures.FIGURES["matrix"].caption
