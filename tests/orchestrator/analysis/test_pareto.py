"""The best network at each budget, against a search over all budgets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.analysis import curves, pareto
from orchestrator.analysis.pareto import Candidate, candidates, front
from orchestrator.sweep.trial import Trial

GROWING = """
name: growing
networks: [{n: 1, c: 2}, {n: 2, c: 2}, {n: 1, c: 4}]
datasets: [digits]
methods: {ann: {}, opt: {regime: opt, at: [1]}}
seeds: [0, 1]
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1}}
report: {baseline: ann}
"""


def candidate(label: str, budgets, errors) -> Candidate:
    return Candidate(label=label, trial_ids=(label,), budgets=tuple(budgets), errors=tuple(errors))


@st.composite
def several(draw: st.DrawFn) -> list[Candidate]:
    found = []
    for index in range(draw(st.integers(1, 4))):
        budgets = sorted(draw(st.sets(st.integers(1, 30), min_size=1, max_size=5)))
        errors = draw(st.lists(st.integers(0, 9), min_size=len(budgets), max_size=len(budgets)))
        found.append(candidate(str(index), budgets, errors))
    return found


@given(several())
def test_at_any_budget_the_choice_has_the_least_error_that_it_buys(found: list[Candidate]) -> None:
    choices = front(found)
    for budget in range(32):
        affordable = [e for one in found for b, e in zip(one.budgets, one.errors, strict=True) if b <= budget]
        chosen = [choice.error for choice in choices if choice.budget <= budget]
        assert (chosen[-1] if chosen else None) == min(affordable, default=None)
    assert [choice.error for choice in choices] == sorted({choice.error for choice in choices}, reverse=True)
    for choice in choices:
        assert choice.candidate.budgets[choice.index] == choice.budget


def test_of_equals_the_first_is_chosen() -> None:
    (choice,) = front([candidate("a", [2], [5]), candidate("b", [2], [5]), candidate("c", [3], [5])])
    assert choice.candidate.label == "a"


@pytest.fixture
def results(load_text, make_record) -> curves.Results:
    """Each error is unlike any other; the last seed-1 trial of (2,2) has not finished."""
    sweep = load_text(GROWING)

    def errors(index: int, trial: Trial) -> tuple[float, ...]:
        return tuple(50 + index - place for place in range(len(trial.config.predicting_units)))

    records = {
        trial.id: make_record(trial, errors(index, trial))
        for index, trial in enumerate(sweep.trials)
        if trial.cell.label != "ann (2,2) digits seed 1"
    }
    return replace(curves.nothing(sweep), records=records)


def test_all_networks_that_finished_and_the_sequences_of_those_count(results) -> None:
    (found,) = candidates(results).values()
    assert [it.label for it in found if it.label.startswith("EANN")] == ["EANN ann (1,2) (2,2) digits seed 0"]
    assert len(found) == 6 + 6 - 1 + 1
    (sequence,) = (it for it in found if len(it.trial_ids) == 2)
    shallow, deep = (next(it for it in found if it.trial_ids == (one,)) for one in sequence.trial_ids)
    assert sequence.errors == shallow.errors + deep.errors[3:]
    assert sequence.budgets == (*shallow.budgets, *(shallow.budgets[-1] + cost for cost in deep.budgets[3:]))


def test_measured_times_take_the_place_of_costs(results) -> None:
    times = {
        trial.id: [0.25 * (i + 1) for i in range(len(trial.config.predicting_units))] for trial in results.sweep.trials
    }
    (found,) = candidates(results, times).values()
    (sequence,) = (it for it in found if len(it.trial_ids) == 2)
    assert sequence.budgets == pytest.approx((0.25, 0.5, 0.75, 1.75, 2.0, 2.25))


def test_the_table_and_the_figure_show_the_same_choices(results) -> None:
    (found,) = candidates(results).values()
    table = pareto.table("digits", found, pareto.MULTIPLY_ADDS)
    panel = pareto.panel("digits", found, pareto.MULTIPLY_ADDS, "test error (%)")
    assert [row[0].value for row in table.rows] == [choice.budget for choice in front(found)]
    assert panel.curves[-1].x == pytest.approx([choice.budget / 1e6 for choice in front(found)])
    assert panel.curves[-1].reference
    assert {curve.label for curve in panel.curves[:-1]} == {row[2].value for row in table.rows}
    assert pareto.OPTIMISTIC in table.notes
