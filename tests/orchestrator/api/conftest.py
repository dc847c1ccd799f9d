"""A sweep whose trials ended with made-up numbers, in a storage of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from answered import drawn_outcomes

from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import place_words
from orchestrator.sweepfile.load import load

TEXT = """
name: small
networks: [{n: 1, c: 2}, {n: 2, c: 2, period: 2}]
datasets: [digits]
methods: {ann: {}, same: {strategy: ann}, aann: {strategy: aann}, opt: {regime: opt, at: [1/2, 1]}}
seeds: [0, 1]
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1}}
"""
IMAGES = 30


@dataclass(frozen=True)
class Ended:
    """``path`` is the sweep file; the storage lies beside it."""

    path: Path
    sweep: Sweep
    ledger: Ledger


@pytest.fixture(scope="session")
def ended_once(tmp_path_factory, make_record, make_epochs) -> Ended:
    folder = tmp_path_factory.mktemp("ended")
    path = folder / "small.yaml"
    path.write_text(TEXT)
    sweep, ledger = load(path), Ledger(folder / "runs")
    ledger.make()
    rng = np.random.default_rng(0)
    for trial in sweep.trials:
        if trial.cell.label == "aann (2,2)/2 digits seed 1":
            continue
        units, attempt = trial.config.predicting_units, ledger.begin(trial, sweep.name)
        diverged = trial.cell.label == "aann (1,2) digits seed 1"
        record = make_record(trial, None if diverged else tuple(rng.uniform(0, 90, len(units)).tolist()))
        about = place_words(trial.config)
        ledger.write_epochs(attempt, units, record.result.costs, make_epochs(2, len(units)), about)
        if not diverged and trial.cell.label != "ann (1,2) digits seed 1":
            outcomes = drawn_outcomes(1, len(units), IMAGES, 10)
            ledger.write_outcomes(attempt, {"test": replace(outcomes, costs=record.result.costs)})
        ledger.finish(attempt, record)
    return Ended(path, sweep, ledger)


@pytest.fixture
def ended(ended_once, nothing_else, monkeypatch) -> Ended:
    """Of its trials one diverged, one kept no outcomes, and one never began. Its folder is the working folder; to be
    read, not changed."""
    monkeypatch.chdir(ended_once.path.parent)
    return ended_once


@pytest.fixture(autouse=True)
def nothing_else(tmp_path, monkeypatch) -> None:
    """In an empty folder, with no variables that lead elsewhere."""
    for name in ("ORCHESTRATE_STORAGE", "ORCHESTRATE_DATA_ROOT", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
