"""Runs the program as a user does, and makes what its commands show."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from forked import LIGHT, MLFLOW, TORCH, Program, of_python

from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile.load import load

QUICKSTART = str(Path(__file__).parents[3] / "sweeps" / "quickstart.yaml")
MODULES = {"ui": MLFLOW} | dict.fromkeys(("extension", "reproduce", "predict", "calibrate", "profile", "export"), TORCH)
"""What takes commands long to import."""


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def environment() -> dict[str, str]:
    """The user's own, less what would lead elsewhere."""
    own = ("ORCHESTRATE_", "MLFLOW_", "RAY_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


Programs = Callable[[Mapping[str, str], tuple[str, ...]], Program]


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """The one that has imported these modules, and read of this environment what Python reads as it starts."""
    with ExitStack() as stack:
        started: dict[tuple[object, ...], Program] = {}

        def program(environment: Mapping[str, str], modules: tuple[str, ...] = LIGHT) -> Program:
            key = (*sorted(of_python(environment).items()), modules)
            if key not in started:
                started[key] = stack.enter_context(Program(environment, modules))
            return started[key]

        yield program


@pytest.fixture
def orchestrate(tmp_path, environment, programs):
    """Runs a command in an empty folder."""

    def run(*arguments: str, **variables: str) -> Done:
        modules = MODULES.get(arguments[0], LIGHT) if arguments else LIGHT
        own = environment | variables
        done = programs(own, modules).run([*arguments], tmp_path, own)
        return Done(done.code, done.out.decode(), done.err.decode())

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
