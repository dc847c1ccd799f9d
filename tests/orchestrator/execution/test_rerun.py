"""A trial that is trained again keeps its result until the new one is there; nothing here starts Ray."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from anytime_core.files import LocalFolder
from anytime_core.trained import network_hash
from orchestrator.errors import UsageError
from orchestrator.execution import rerun
from orchestrator.execution.sweep_run import SweepRun, SweepSettings
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.ledger import checksummed, reruns
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.notify import Notifier, Notify
from orchestrator.sweep.retries import FailureTally
from orchestrator.tracking.tracker import Tracker

SWEEP = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1}}
"""


@pytest.fixture
def run(ledger, load_text) -> SweepRun:
    """A command on a sweep whose first trial has ended."""
    sweep: Sweep = load_text(SWEEP)
    uri = f"sqlite:///{ledger.local}/none.db"
    console = Console(file=StringIO(), width=500)
    made = SweepRun(
        sweep=sweep,
        settings=SweepSettings(storage=ledger.storage, data_root=ledger.local, tracking_uri=uri),
        ledger=ledger,
        tally=FailureTally(sweep.retries),
        tracker=Tracker(uri, sweep, ledger, str),
        console=console,
        notifier=Notifier(Notify(), sweep.name, str),
        driver="a driver",
    )
    train(made, ledger)
    return made


def train(run: SweepRun, ledger: Ledger, code: str = "a version") -> None:
    where = WorkerContext(storage=ledger.storage, data_root=run.ledger.local / "data", code_version=code)
    run_trial(run.sweep.trials[0], where, lambda epochs: None)


def said(run: SweepRun) -> str:
    return run.console.file.getvalue()  # type: ignore[attr-defined]


def files(ledger: Ledger, trial_id: str) -> dict[str, bytes]:
    folder = ledger.folder(trial_id)
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_new_result_takes_the_place_of_the_old_one_and_the_same_bits_are_said(run) -> None:
    trial = run.sweep.trials[0]
    before = files(run.ledger, trial.id)
    again = reruns.beside(run.ledger)
    train(run, again)
    assert files(run.ledger, trial.id) == before, "the old result is there until then"
    new = files(again, trial.id)
    assert rerun.settle(run) == [trial.id]
    assert said(run) == "ann (1,2) digits seed 0 was trained again: same bits\n"
    assert files(run.ledger, trial.id) == new
    assert files(again, trial.id) == {}
    assert rerun.settle(run) == []


@pytest.mark.parametrize("network", ["the same", "another"])
def test_what_was_found_out_later_of_a_network_stays_with_the_same_bits_alone(run, network) -> None:
    """Guarantees, and outcomes where the sweep keeps none any more."""
    trial, again = run.sweep.trials[0], reruns.beside(run.ledger)
    train(run, again)
    (again.folder(trial.id) / "outcomes.parquet").unlink()
    own = run.ledger.network_hash(trial.id)
    found = {"network_hash": own if network == "the same" else "0" * 16, "calibrations": []}
    (run.ledger.folder(trial.id) / "guarantees.json").write_bytes(checksummed.pack(found))
    if network == "another":
        path = again.folder(trial.id) / "result.json"
        content = checksummed.unpack(path.read_bytes())
        provenance = content["provenance"] | {"network_hash": "1" * 16}
        path.write_bytes(checksummed.pack(content | {"provenance": provenance}))
    rerun.settle(run)
    assert bool(run.ledger.guarantees(trial.id)) == (network == "the same")
    assert bool(run.ledger.outcomes(trial.id)) == (network == "the same")


def test_other_bits_are_said_with_what_may_explain_them(run) -> None:
    trial = run.sweep.trials[0]
    result = run.ledger.folder(trial.id) / "result.json"
    content = checksummed.unpack(result.read_bytes())
    other = content | {"provenance": content["provenance"] | {"network_hash": "0" * 16}}
    result.write_bytes(checksummed.pack(other))
    train(run, reruns.beside(run.ledger))
    rerun.settle(run)
    digest = network_hash(run.ledger.folder(trial.id))
    line = f"ann (1,2) digits seed 0 was trained again: other bits: network_hash was {'0' * 16} and is {digest}"
    assert said(run) == f"{line}; with the same code, data, device and versions, so far as is recorded\n"
    code = {"sources": "another", "code": "that too"}
    result.write_bytes(checksummed.pack(other | {"provenance": other["provenance"] | code}))
    train(run, reruns.beside(run.ledger))
    rerun.settle(run)
    own = content["provenance"]
    explained = f"{line}; sources was another and is {own['sources']}, code was that too and is {own['code']}"
    assert explained in said(run)


def test_other_sources_explain_nothing_where_the_trial_comes_to_the_same_code(run) -> None:
    trial = run.sweep.trials[0]
    result = run.ledger.folder(trial.id) / "result.json"
    content = checksummed.unpack(result.read_bytes())
    own = content["provenance"] | {"network_hash": "0" * 16, "sources": "another"}
    result.write_bytes(checksummed.pack(content | {"provenance": own}))
    train(run, reruns.beside(run.ledger))
    rerun.settle(run)
    assert said(run).endswith("; with the same code, data, device and versions, so far as is recorded\n")


@pytest.mark.parametrize("before", [0, 2, 4, 6])
def test_a_command_that_is_killed_as_results_change_places_is_finished_by_the_next(run, monkeypatch, before) -> None:
    """Before so many files have been written or deleted. A checkpoint of the old training comes later than the new."""
    trial, again = run.sweep.trials[0], reruns.beside(run.ledger)
    checkpoints = run.ledger.folder(trial.id) / "checkpoints"
    (checkpoints / "step-000000066.ckpt").write_bytes((checkpoints / "step-000000044.ckpt").read_bytes())
    train(run, again)
    old, new, changed = run.ledger.record(trial.id), files(again, trial.id), 0

    def counting(function):
        def changing(*arguments):
            nonlocal changed
            if changed == before:
                raise KeyboardInterrupt
            changed += 1
            return function(*arguments)

        return changing

    with monkeypatch.context() as patched:
        for name in ("write", "delete"):
            patched.setattr(LocalFolder, name, counting(getattr(LocalFolder, name)))
        try:
            rerun.settle(run)
        except KeyboardInterrupt:
            assert run.ledger.record(trial.id) in (old, again.record(trial.id))
    rerun.settle(run)
    assert files(run.ledger, trial.id) == new


def test_what_another_command_has_put_in_place_is_left_alone(run) -> None:
    trial = run.sweep.trials[0]
    train(run, reruns.beside(run.ledger))
    rerun.settle(run)
    before = files(run.ledger, trial.id)
    reruns.adopt(trial.id, run.ledger)
    assert files(run.ledger, trial.id) == before


def test_only_trials_of_the_sweep_that_have_ended_can_be_trained_again(run) -> None:
    ann, _ = run.sweep.trials
    assert rerun.meant(run.sweep, ["ann", ann.id[:8]], run.ledger) == (ann.id,)
    with pytest.raises(UsageError) as refused:
        rerun.meant(run.sweep, ["ann", "aann", "none"], run.ledger)
    first, second = str(refused.value).splitlines()[:2]
    assert first == "--rerun aann: aann (1,2) digits seed 0 has not ended: it is pending; without --rerun it is trained"
    assert "no cell is 'none'" in second


def test_a_sweep_without_reruns_makes_no_folder_for_them(run) -> None:
    assert rerun.settle(replace(run, sweep=run.sweep)) == []
    assert not Path(run.ledger.local, reruns.RERUNS).exists()
