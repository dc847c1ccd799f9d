"""What a driver says while it runs is there for other shells; what a dead one left is known for what it is."""

from __future__ import annotations

import time
from dataclasses import asdict, replace

import pytest

from orchestrator.ledger import live_status
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.live_status import Running, StatusSnapshot, StatusWriter
from orchestrator.report import status as report
from orchestrator.report.views import status as status_view
from orchestrator.sweep.grid import Sweep
from orchestrator.system.hardware import this_machine

TEXT = """\
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
training: {steps: 44, batch_size: 64}
"""


@pytest.fixture
def sweep(load_text) -> Sweep:
    return load_text(TEXT)


def says(left: float | None = 65.0, *running: Running) -> StatusSnapshot:
    return StatusSnapshot(time=time.time(), seconds_left=left, running=running, errors=("ann: no memory",))


def test_it_is_there_while_the_block_runs_and_not_after(sweep, ledger: Ledger) -> None:
    said = says(65.0, Running(trial_id="a", step=22, place="here GPU 0", error=9.5))
    with StatusWriter(ledger, "small", lambda: said, interval=0.01):
        while live_status.last_snapshot(ledger, "small") is None:
            time.sleep(0.01)
        assert live_status.last_snapshot(ledger, "small") == said
    assert live_status.last_snapshot(ledger, "small") is None


def test_storage_that_fails_is_no_reason_to_stop(tmp_path) -> None:
    (tmp_path / "runs" / "sweeps").mkdir(parents=True)
    (tmp_path / "runs" / "sweeps" / "small").touch()  # a file where there should be a folder
    with StatusWriter(Ledger(tmp_path / "runs"), "small", says, interval=0.01):
        time.sleep(0.05)


@pytest.mark.parametrize("content", [{"time": 1.0}, {"time": 1.0, "seconds_left": None, "errors": [], "more": 1}])
def test_what_another_version_said_is_not_understood(ledger: Ledger, content) -> None:
    ledger.write_status("small", content)
    assert live_status.last_snapshot(ledger, "small") is None


def test_a_status_says_what_runs_where_and_how_long_it_takes(sweep, ledger: Ledger) -> None:
    first, second = sweep.trials
    with ledger.drive("small"):
        ledger.begin(first, "small", "GPU 1")
        ledger.write_status("small", asdict(says(65.0, Running(trial_id=first.id, step=22))))
        text = status_view.status_text(report.status(sweep, ledger))
    host = this_machine(with_gpus=False).name
    title, time_left, running, errors, error, *_ = text.splitlines()
    assert title.startswith("small: 1 pending, 1 running; run by process ")
    assert time_left == "1 min 05 s left; its driver spoke 0 s ago"
    assert running == f" {host} GPU 1: ann (1,2) digits seed 0, step 22/44"
    assert (errors, error) == ("last errors:", " ann: no memory")
    assert f"{second.id}   {second.cell.label}" in text


def test_a_dead_driver_is_told_with_its_last_word(sweep, ledger: Ledger) -> None:
    ledger.write_status("small", asdict(says(65.0)))
    ledger.begin(sweep.trials[0], "small", "GPU 1")
    status = report.status(sweep, ledger)
    assert [*status_view.time_left(status)] == [
        "its last driver died: it spoke last 0 s ago, with 1 min 05 s left; the same command goes on"
    ]
    assert [str(trial.state) for trial in status.trials] == ["interrupted", "pending"]


def test_without_a_driver_the_rest_is_worked_out_from_what_has_ended(sweep, ledger: Ledger, make_record) -> None:
    first, second = sweep.trials
    here = this_machine(with_gpus=False)
    record = make_record(first, None)
    result = replace(record.result, seconds=120.0)
    record = replace(record, result=result, provenance={"device_name": here.cpu, "threads": 1})
    ledger.finish(ledger.begin(first), record)
    (line,) = status_view.time_left(report.status(sweep, ledger))
    assert line == "the rest takes about 2 min 00 s on this machine, as the trials took that have ended"
    ledger.finish(
        ledger.begin(second), replace(make_record(second, None), result=record.result, provenance=record.provenance)
    )
    assert [*status_view.time_left(report.status(sweep, ledger))] == []
