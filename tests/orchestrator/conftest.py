"""Trials, records and sweeps to test with. Nothing here trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trials import digits_trial

from anytime_core.config import Opt, Regime, to_dict
from anytime_core.cost import trial_costs
from anytime_core.result import EpochMetrics, TrialResult
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Resources, Trial, TrialRecord, cell_of, trial_id
from orchestrator.sweepfile.load import load


def _trial(regime: Regime | None = None, *, resources: Resources | None = None, **changes: Any) -> Trial:
    """Two epochs of digits: 22 steps of 64 images each."""
    config = digits_trial(c=2, steps=44, batch_size=64, rates={0: 0.1, 22: 0.01})
    config = replace(config, **changes | ({"regime": regime} if regime else {}))
    method = "opt" if isinstance(config.regime, Opt) else config.regime.strategy.name
    cell = cell_of(method, config.network, config)
    return Trial(id=trial_id(config), config=config, cell=cell, resources=resources or Resources())


def _record(trial: Trial, errors: tuple[float, ...] | None) -> TrialRecord:
    """Finished with these errors, one for each prediction; None is diverged."""
    result = TrialResult(
        state="diverged" if errors is None else "finished",
        units=trial.config.predicting_units,
        costs=tuple(trial_costs(trial.config)),
        errors=errors or (),
        steps=trial.config.training.steps,
        seconds=1.5,
        device="cpu",
    )
    return TrialRecord(
        trial_id=trial.id, config=to_dict(trial.config), result=result, attempts=1, provenance={"host": "here"}
    )


def _epochs(count: int, predictions: int, **changes: Any) -> list[EpochMetrics]:
    """Of 22 steps each; no two numbers alike."""

    def column(start: float) -> tuple[float, ...]:
        return tuple(start + index / 8 for index in range(predictions))

    return [
        EpochMetrics(
            **{
                "epoch": epoch,
                "step": 22 * epoch,
                "learning_rate": 0.1 / epoch,
                "train_loss": column(epoch),
                "train_error": column(10 + epoch),
                "test_loss": column(20 + epoch),
                "test_error": column(30 + epoch),
                "probabilities": column(0),
                "seconds": 0.25 * epoch,
                "timestamp": 1.7e9 + epoch,
            }
            | changes
        )
        for epoch in range(1, count + 1)
    ]


@pytest.fixture(scope="session")
def make_trial() -> Callable[..., Trial]:
    return _trial


@pytest.fixture(scope="session")
def make_record() -> Callable[[Trial, tuple[float, ...] | None], TrialRecord]:
    return _record


@pytest.fixture(scope="session")
def make_epochs() -> Callable[..., list[EpochMetrics]]:
    return _epochs


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "runs")
    made.make()
    return made


@pytest.fixture(scope="session")
def load_text(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sweep]:
    """Loads a sweep from the text of its file; for hypothesis too, so not made anew for each test."""
    path = tmp_path_factory.mktemp("sweeps") / "sweep.yaml"

    def loaded(text: str) -> Sweep:
        path.write_text(text, encoding="utf-8")
        return load(path)

    return loaded
