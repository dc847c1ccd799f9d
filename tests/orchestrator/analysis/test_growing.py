"""A grid that grows or shrinks: what is new runs, what is gone leaves the tables, nothing leaves the disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import plan
from orchestrator.report import status
from orchestrator.sweep.grid import Sweep

NETWORKS = [{"n": 1, "c": 2}, {"n": 2, "c": 2}, {"n": 2, "c": 4, "period": 2}]
METHODS = {
    "ann": {},
    "aann": {"strategy": "aann"},
    "exp3": {"strategy": {"name": "exp3", "exploration": 0.3}},
    "opt": {"regime": "opt", "at": ["1/2", 1]},
}
TRAINING = {"steps": 44, "batch_size": 64, "learning_rate": {"0": 0.1, "22": 0.01}}
DEFAULTS = [{}, {"momentum": 0.9}, {"weight_decay": 1e-4}, {"momentum": 0.9, "weight_decay": 1e-4}]
"""Written out, or not."""


def nonempty(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.permutations(values).flatmap(lambda found: st.integers(1, len(found)).map(lambda count: found[:count]))


GRIDS = st.fixed_dictionaries(
    {"networks": nonempty(NETWORKS), "methods": nonempty(list(METHODS)), "seeds": nonempty([0, 1, 2, 3, 4])}
)


def text_of(grid: dict[str, list[Any]], training: dict[str, Any] = TRAINING) -> str:
    """JSON, which is YAML too."""
    methods = {name: METHODS[name] for name in grid["methods"]}
    content = {"name": "small", **grid, "datasets": ["digits"], "methods": methods, "training": training}
    return json.dumps(content | {"report": {"baseline": grid["methods"][0]}})


def finish(sweep: Sweep, ledger: Ledger, make_record: Any, trial_ids: set[str], code: str = "a") -> None:
    for trial in sweep.trials:
        if trial.id in trial_ids:
            record = make_record(trial, tuple(30.0 - unit for unit in trial.config.predicting_units))
            ledger.finish(ledger.begin(trial), replace(record, provenance={"code_version": code}))


def ids(sweep: Sweep) -> set[str]:
    return {trial.id for trial in sweep.trials}


def actions(sweep: Sweep, ledger: Ledger) -> dict[str, str]:
    return {entry.trial.id: entry.action for entry in plan.make(sweep.trials, ledger).entries}


@settings(max_examples=25)
@given(GRIDS, GRIDS)
def test_of_another_grid_just_the_new_cells_run_and_the_old_stay_on_disk(load_text, make_record, before, after) -> None:
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        ledger.make()
        old = load_text(text_of(before))
        finish(old, ledger, make_record, ids(old))
        new = load_text(text_of(after))
        assert actions(new, ledger) == {name: "keep" if name in ids(old) else "run" for name in ids(new)}
        assert set(ledger.records(ids(old))) == ids(old)
        states = status.read_tables(new, ledger).states
        assert states.get("finished", 0) == len(ids(new) & ids(old))
        assert states.get("pending", 0) == len(ids(new) - ids(old))


def test_two_more_seeds_are_just_their_trials(load_text, make_record, ledger) -> None:
    grid = {"networks": NETWORKS[:1], "methods": ["ann", "aann"], "seeds": [0, 1, 2]}
    old, new = load_text(text_of(grid)), load_text(text_of(grid | {"seeds": [0, 1, 2, 3, 4]}))
    finish(old, ledger, make_record, ids(old))
    run = [entry.trial.cell.seed for entry in plan.make(new.trials, ledger).to_run]
    assert sorted(run) == [3, 3, 4, 4]


@settings(max_examples=25)
@given(GRIDS, st.data())
def test_order_of_keys_and_defaults_written_out_move_no_id(load_text, grid, data) -> None:
    items = list((TRAINING | data.draw(st.sampled_from(DEFAULTS))).items())
    shuffled = {key: data.draw(st.permutations(values)) for key, values in grid.items()}
    other = load_text(text_of(shuffled, dict(data.draw(st.permutations(items)))))
    assert ids(other) == ids(load_text(text_of(grid)))


@pytest.mark.parametrize("grown", [[0, 1, 2, 3], [0]])
def test_what_other_code_has_trained_is_kept_and_noted_where_it_is_shown(load_text, make_record, ledger, grown) -> None:
    grid = {"networks": NETWORKS[:1], "methods": ["ann", "aann"], "seeds": [0, 1]}
    old, new = load_text(text_of(grid)), load_text(text_of(grid | {"seeds": grown}))
    finish(old, ledger, make_record, ids(old))
    finish(new, ledger, make_record, ids(new) - ids(old), code="b-dirty.1")
    noted = [note for note in status.read_tables(new, ledger).notes if note.startswith("Not all alike")]
    assert noted == (["Not all alike: 4 trials by code a, 4 by b-dirty.1."] if len(grown) > 2 else [])
    assert set(actions(new, ledger).values()) == {"keep"}
