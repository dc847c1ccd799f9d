"""Real SQLite stores and a real server of MLflow's."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from refusing_proxy import RefusingProxy, proxy_before
from told import CODE, Told, made_in

from orchestrator.execution.worker import WorkerContext, run_trial
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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that keeps files itself."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("mlflow")), "server", *options],
        cwd=folder,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health")
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(url: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.2)


@pytest.fixture
def proxy(server: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingProxy]:
    """Before the server, which has no experiments but its default one, whatever earlier tests made."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with proxy_before(server) as proxy:
        yield proxy
        proxy.rule = lambda method, path, size: None  # a test may have had every request go by it
        _clear(f"http://127.0.0.1:{server}")


def _clear(uri: str) -> None:
    """Deletes all experiments. One that is deleted keeps its name, which none can have then: it gets another before."""
    store = client(uri)
    for experiment in store.search_experiments(filter_string="name != 'Default'"):
        number = experiment.experiment_id
        store.rename_experiment(number, f"deleted {number}")
        store.delete_experiment(number)


@pytest.fixture
def trained(tmp_path: Path, empty: Path, proxy: RefusingProxy) -> Told:
    """Two trials that were trained, of which MLflow has not been told."""
    made = made_in(tmp_path, empty, proxy.uri)
    where = WorkerContext(storage=made.ledger.local, data_root=made.ledger.local / "data", code_version=CODE)
    for trial in made.sweep.trials:
        run_trial(trial, where, lambda epochs: None)
    return made
