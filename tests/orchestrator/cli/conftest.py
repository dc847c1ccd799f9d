"""Runs the program as a user does, and makes what its commands show."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile.load import load

ORCHESTRATE = str(Path(sys.executable).with_name("orchestrate"))
QUICKSTART = str(Path(__file__).parents[3] / "sweeps" / "quickstart.yaml")


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """The user's own, less what would lead elsewhere."""
    own = ("ORCHESTRATE_", "MLFLOW_", "RAY_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


@pytest.fixture
def orchestrate(tmp_path, environment):
    """Runs a command in an empty folder."""

    def run(*arguments: str, **variables: str) -> Done:
        done = subprocess.run(
            [ORCHESTRATE, *arguments],
            cwd=tmp_path,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


ONE = """
name: one
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}}
training: {steps: 22, batch_size: 64, learning_rate: {0: 0.1}}
report: {baseline: ann}
"""


@pytest.fixture
def one(tmp_path) -> Path:
    """A sweep of one small trial, which trains in a second."""
    path = tmp_path / "one.yaml"
    path.write_text(ONE)
    return path


@pytest.fixture
def one_finished(make_record) -> Callable[[Path], None]:
    """Ends one trial of the quickstart in a storage."""

    def finish(storage: Path) -> None:
        trial = load(Path(QUICKSTART)).trials[0]
        ledger = Ledger(storage)
        ledger.make()
        errors = tuple(float(60 - 10 * index) for index in range(len(trial.config.predicting_units)))
        ledger.finish(ledger.begin(trial), make_record(trial, errors))

    return finish
