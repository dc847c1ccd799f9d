"""What the last lines say of trials that a limit has held back, with made-up speeds of a cluster's nodes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from orchestrator.execution import rest
from orchestrator.execution.sweep_run import SweepRun, SweepSettings
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning.estimate import Speeds
from orchestrator.sweep.limits import Limits, Spending
from orchestrator.sweep.trial import Trial
from orchestrator.system.hardware import Node

NODE = Node(name="far", cpu="far CPU", cpus=2)


def held_back(ledger: Ledger, trials: list[Trial]) -> SweepRun:
    """A command on a cluster of which a limit has held these trials back."""
    where = {"storage": ledger.storage, "data_root": Path("data"), "tracking_uri": "sqlite:///none"}
    nobody: Any = SimpleNamespace()
    spending = Spending(Limits(until=time.time() + 60), time.time())
    spending.held = frozenset(trial.id for trial in trials)
    sweep: Any = SimpleNamespace(trials=tuple(trials))
    parts = dict.fromkeys(("tally", "tracker", "console", "notifier"), nobody)
    settings = SweepSettings(**where, address="head:6379")
    return SweepRun(**parts, sweep=sweep, settings=settings, ledger=ledger, driver="mine", spending=spending)


def test_what_is_left_ends_when_the_clusters_nodes_have_trained_it(
    ledger, make_trial, make_record, monkeypatch
) -> None:
    """Four trials of an hour each, two at a time."""
    trials = [make_trial(seed=seed) for seed in range(4)]
    record = make_record(trials[0], None)
    hour = replace(record.result, seconds=3600.0 * record.result.steps / trials[0].config.steps)
    known = replace(record, result=hour, provenance={"device_name": "far CPU", "threads": 1})
    monkeypatch.setattr(Speeds, "of", lambda ledger: Speeds.from_records([known]))
    run = held_back(ledger, trials)
    (said,) = rest.words(run, [NODE])
    assert "left 4 trials, which take 4 CPU-hours more, begun now they would end in 2 h" in said
    (said,) = rest.words(run, [replace(NODE, cpu="another CPU")])
    assert said.endswith("left 4 trials, whose times are not known")
    run.spending.held = frozenset()
    assert rest.words(run, [NODE]) == []
