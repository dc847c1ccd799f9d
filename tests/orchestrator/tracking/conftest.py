"""Real SQLite stores of MLflow's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from told import Told, made_in

from orchestrator.sweep.trial import TrialRecord
from orchestrator.tracking.store import client


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new database, which takes seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client(f"sqlite:///{path}")
    return path


@pytest.fixture
def told(tmp_path: Path, empty: Path, make_record: Callable[..., TrialRecord], make_epochs: Callable) -> Told:
    """Two trials that finished, by made up numbers."""
    made = made_in(tmp_path, empty)
    made.train(make_record, lambda count: make_epochs(2, count))
    made.tell()
    return made
