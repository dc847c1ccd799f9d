"""A plan says of what has ended whether other code trained it; only a rerun that is asked for trains it again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.errors import UsageError
from orchestrator.execution.rerun import meant
from orchestrator.planning import other_code
from orchestrator.planning import plan as planning
from orchestrator.system.sources import sources
from orchestrator.system.training_code import training_code

SWEEP = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}, exp3: {strategy: exp3}, rwm: {strategy: rwm}, avgl: {strategy: avgl}}
"""


@pytest.fixture
def ended(ledger, load_text, make_record):
    """Trials by today's code, by other that is the same for them, by other, by unknown; and one that never ran."""
    sweep = load_text(SWEEP)
    code = [training_code(trial.config) for trial in sweep.trials]
    provenances = [
        {"code": code[0], "sources": sources()},
        {"code": code[1], "sources": "other"},
        {"code": "other", "sources": "other"},
        {"sources": "other"},
    ]
    for trial, provenance in zip(sweep.trials, provenances, strict=False):
        record = replace(make_record(trial, (3.0, 2.0, 1.0)), provenance=provenance)
        ledger.finish(ledger.begin(trial), record)
    return sweep


def test_a_plan_says_so_and_runs_none_of_them(ended, ledger) -> None:
    plan = other_code.explained(planning.make(ended.trials, ledger))
    reasons = {entry.trial.cell.method: entry.reason for entry in plan.entries}
    assert reasons == {
        "ann": "finished",
        "aann": "finished, other code: the same for it",
        "exp3": "finished, other code: may matter",
        "rwm": "finished, other code: unknown",
        "avgl": "never ran",
    }
    assert [entry.trial.cell.method for entry in plan.to_run] == ["avgl"]
    assert [*other_code.notes(plan)] == [
        "1 trial ended by other code that could matter; sweep --rerun other-code trains it again",
        "1 trial ended by other code that left no hash of what matters; sweep --rerun unknown-code trains it again",
    ]


def test_a_rerun_means_those_by_their_code(ended, ledger) -> None:
    ids = {trial.cell.method: trial.id for trial in ended.trials}
    assert meant(ended, ["other-code"], ledger) == (ids["exp3"],)
    assert meant(ended, ["unknown-code"], ledger) == (ids["rwm"],)
    assert {*meant(ended, ["other-code", "unknown-code", "ann"], ledger)} == {ids["exp3"], ids["rwm"], ids["ann"]}
    with pytest.raises(UsageError, match="no cell is 'all-code'"):
        meant(ended, ["all-code"], ledger)


def test_nothing_is_meant_where_todays_code_trained_all(ledger, load_text) -> None:
    assert meant(load_text(SWEEP), ["other-code"], ledger) == ()
