"""A sweep that is tuned, and halved, as a bundle and as another storage: one choice, and nothing is trained twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from halving import TUNED, Run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.ledger import bundling
from orchestrator.ledger.bringing import Fate, bring, bring_sweeps, ids_in, keep, source_at
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import Location
from orchestrator.report import status
from orchestrator.report.layouts.registry import arrange
from orchestrator.report.views import render
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialState
from orchestrator.sweepfile.shown import load_to_show


@pytest.fixture
def make_run(load_text, make_epochs, make_record, tmp_path_factory) -> Callable[..., Run]:
    sweep = load_text(TUNED)

    def made(seed: int = 0) -> Run:
        folder = tmp_path_factory.mktemp("run")
        shutil.copy(sweep.path, folder / "tuned.yaml")
        here = replace(sweep, path=folder / "tuned.yaml")
        run = Run(here, Ledger(folder / "runs"), make_epochs, make_record, seed)
        run.begin()
        return run

    return made


def tables(sweep: Sweep, ledger: Ledger) -> list[str]:
    """For people and for machines."""
    read = status.read_tables(sweep, ledger)
    return [*(render.table_text(table) for table in arrange(read)), render.report_json(read)]


def shown(path: Path, storage: Path) -> list[str]:
    """By a sweep file, or a bundle alone, in a storage."""
    ledger = Ledger(storage)
    return tables(load_to_show(path, ledger, pytest.fail), ledger)


def bring_all(source: Location, ledger: Ledger) -> dict[Fate, int]:
    """As `orchestrate import` does."""
    storage = source_at(source, ledger)
    found = [each.fate for each in bring(storage, ledger, ids_in(storage))]
    bring_sweeps(storage, ledger)
    return {fate: found.count(fate) for fate in found}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, 100), min_size=1, max_size=24), seed=st.integers(0, 5))
def test_at_any_moment_a_bundle_and_an_import_show_what_the_storage_shows(
    make_run, tmp_path_factory, order, seed
) -> None:
    run, folder = make_run(seed), tmp_path_factory.mktemp("other")
    for which in order:
        run.go_on(which)
    expected = shown(run.sweep.path, run.ledger.local)
    other = Ledger(folder / "other")
    fates = bring_all(run.ledger.local, other)
    assert fates.keys() <= {Fate.COPIED, Fate.PAUSED}
    assert shown(run.sweep.path, other.local) == expected
    if run.ledger.all_records():
        bundle = folder / "tuned.zip"
        bundling.write(run.now, run.ledger, bundle)
        assert shown(bundle, bundle) == expected
        assert shown(run.sweep.path, bundle) == expected
        third = Ledger(folder / "third")
        assert bring_all(bundle, third) == fates
        assert shown(run.sweep.path, third.local) == expected


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, 100), min_size=1, max_size=24), whole=st.booleans(), seed=st.integers(0, 5))
def test_a_sweep_goes_on_elsewhere_and_trains_no_step_twice(make_run, tmp_path_factory, order, whole, seed) -> None:
    alone, first = make_run(seed), make_run(seed)
    alone.finish()
    for which in order:
        first.go_on(which)
    if whole:
        first.finish()
    second = replace(first, ledger=Ledger(tmp_path_factory.mktemp("second")), steps=first.steps.copy())
    bring_all(first.ledger.local, second.ledger)
    after = second.finish()
    assert second.steps == alone.steps
    assert tables(after, second.ledger) == tables(alone.now, alone.ledger)


def test_points_that_were_stopped_come_by_a_bundle_and_are_trained_no_more(make_run, tmp_path) -> None:
    run = make_run()
    after = run.finish()
    written = bundling.write(after, run.ledger, tmp_path / "tuned.zip")
    assert (written.trials, written.of, written.points, written.networks) == (10, 13, 3, 0)
    second = replace(run, ledger=Ledger(tmp_path / "second"))
    assert bring_all(tmp_path / "tuned.zip", second.ledger) == {Fate.COPIED: 10, Fate.PAUSED: 3}
    assert second.to_run == []
    states = [second.ledger.state(trial.id) for trial in after.trials]
    assert states == [run.ledger.state(trial.id) for trial in after.trials]
    assert states.count(TrialState.PAUSED) == 3
    assert bring_all(tmp_path / "tuned.zip", second.ledger) == {Fate.THERE: 13}
    keep(after, second.ledger)


def test_a_point_that_got_further_here_stays_and_one_with_other_errors_is_shown(make_run, tmp_path) -> None:
    first, second = make_run(), make_run()
    points = [trial for trial in first.to_run if trial.pause]
    for trial in points:
        first.train(trial)
    second.finish()
    before = {trial.id: second.ledger.epochs(trial.id) for trial in points}
    assert bring_all(first.ledger.local, second.ledger) == {Fate.THERE: len(points)}
    other = make_run(seed=1)
    for trial in points[:2]:
        other.train(trial)
    source = source_at(other.ledger.local, second.ledger)
    found = list(bring(source, second.ledger, ids_in(source)))
    assert {each.fate for each in found} == {Fate.DIFFERS}
    assert {each.what for each in found} == {"errors at step 22"}
    assert all(each.label and each.theirs != each.ours for each in found)
    assert {trial.id: second.ledger.epochs(trial.id) for trial in points} == before


def test_a_pause_without_a_checkpoint_leaves_ours(make_run, tmp_path) -> None:
    """As from a bundle: the trial goes on from where it got here, and not from its beginning."""
    first, second = make_run(), make_run()
    point = next(trial for trial in first.to_run if trial.pause)
    first.train(point)
    there = first.ledger.folder(point.id) / "checkpoints"
    ours = second.ledger.folder(point.id) / "checkpoints"
    second.ledger.begin(point)
    ours.mkdir(parents=True, exist_ok=True)
    for step in (7, 11, 44):
        shutil.copy(there / "step-000000022.ckpt", ours / f"step-{step:09d}.ckpt")
    shutil.rmtree(there)
    assert bring_all(first.ledger.local, second.ledger) == {Fate.PAUSED: 1}
    assert [path.name for path in ours.iterdir()] == ["step-000000011.ckpt"]
    assert second.ledger.step(point.id) == 11


def test_a_pause_that_is_not_over_what_the_metrics_hold_is_none(make_run, tmp_path) -> None:
    """As where the trial goes on while it is read, or somebody wrote a pause by hand."""
    run = make_run()
    point = next(trial for trial in run.to_run if trial.pause)
    run.train(point)
    path = run.ledger.folder(point.id) / "pause.json"
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps({"token": content["token"], "step": 44}))
    other = Ledger(tmp_path / "other")
    assert bring_all(run.ledger.local, other) == {Fate.OPEN: 1}
    path.write_text(json.dumps({"token": content["token"], "step": 22}))
    saved = run.ledger.folder(point.id) / "checkpoints" / "step-000000022.ckpt"
    saved.write_bytes(saved.read_bytes()[:-1])
    assert bring_all(run.ledger.local, other) == {Fate.DAMAGED: 1}
    assert other.begun() == set()
