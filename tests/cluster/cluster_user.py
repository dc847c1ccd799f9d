"""Real sweeps on real Ray and real MLflow, as a user runs them: by the command line, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from forked import Program

from anytime_core.result import OF_THE_MACHINE

SCRIPTS = Path(sys.executable).parent
ORCHESTRATE = SCRIPTS / "orchestrate"
FAULTS = Path(__file__).with_name("faults")
LONG = bool(os.environ.get("LONG"))
"""Whether outages last as long as in life, a minute and more: `make long`."""
SECONDS = 180.0
"""More than any one command here takes on a slow machine."""

ONE_FIGURE = "report: {figures: [cost]}"
"""All that suit a sweep take seconds to draw: one sweep has them, and tests of the figures draw each."""

SWEEP = """
name: small
networks: [{n: 1, c: 4}, {n: 2, c: 4}]
datasets: [digits]
methods:
  ann: {}
  aann: {strategy: aann}
  opt: {regime: opt, at: [1]}
training: {steps: 154, batch_size: 64, learning_rate: {0: 0.1, 100: 0.01}}
"""
TRIALS = 6
EPOCHS = 7
STEPS_PER_EPOCH = 22

CHAOS = """
name: chaos
networks: [{n: 1, c: 2}, {n: 1, c: 3}, {n: 1, c: 4}]
datasets: [digits]
methods:
  ann: {}
  aann: {strategy: aann}
  exp3: {strategy: exp3}
  opt: {regime: opt, at: [1]}
seeds: [0, 1]
training: {steps: 55, batch_size: 128, learning_rate: {0: 0.1, 30: 0.01}}
retries: {checkpoint_share: 1}
report: {figures: [cost]}
"""
SERVER_DATABASE = "server.db"
CHAOS_TRIALS = 24
CHAOS_EPOCHS = 5


@dataclass(frozen=True)
class Finished:
    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Epoch:
    """Of its steps, ``last`` is the first of the next."""

    first: int
    last: int
    pid: int


class User:
    """Runs `orchestrate` on one sweep file with one storage folder."""

    def __init__(self, folder: Path, text: str = f"{SWEEP}{ONE_FIGURE}\n") -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.storage = folder / "runs"
        self.sweep_file = folder / "small.yaml"
        self.sweep_file.write_text(text)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RAY_", "MLFLOW_", "ORCHESTRATE_"))
        }
        self.environment = kept | {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
        self.scripts = SCRIPTS
        """The commands of the virtual environment that this user works in."""
        self.before: tuple[str, ...] = ()
        """Words before the command, such as those that run it elsewhere."""

    def start(self, command: str, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *self.before,
                str(self.scripts / "orchestrate"),
                command,
                str(self.sweep_file),
                "--storage",
                str(self.storage),
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environment,
            preexec_fn=_heed_ctrl_c,
            start_new_session=True,
        )

    def faults(self, *faults: dict[str, Any]) -> None:
        """Makes trials go wrong from now on: faults/sitecustomize.py says how. None given: no more, and their epochs
        are noted."""
        folder = self.folder / "faults"
        folder.mkdir(exist_ok=True)
        path = os.pathsep.join(filter(None, [str(FAULTS), os.environ.get("PYTHONPATH")]))
        self.environment |= {"PYTHONPATH": path, "FAULTS": json.dumps(faults), "FAULTS_FOLDER": str(folder)}

    def run(self, command: str, *options: str) -> Finished:
        process = self.start(command, *options)
        try:
            stdout, stderr = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
        return Finished(process.returncode, stdout, stderr)

    def run_in(self, program: Program, command: str, *options: str) -> Finished:
        """The same without imports: for what starts no processes of its own."""
        words = [command, str(self.sweep_file), "--storage", str(self.storage), *options]
        done = program.run(words, self.folder, self.environment)
        return Finished(done.code, done.out.decode(), done.err.decode())

    def results(self) -> dict[str, dict[str, Any]]:
        """What ended, by trial id."""
        return {path.parent.name: json.loads(path.read_text()) for path in self.storage.glob("trials/*/result.json")}

    def metrics(self) -> pd.DataFrame:
        """All metrics but those of the machine, sorted."""
        frame = pd.concat(pd.read_parquet(path) for path in sorted(self.storage.glob("trials/*/metrics.parquet")))
        return frame.drop(columns=list(OF_THE_MACHINE)).reset_index(drop=True)

    def attempts(self) -> dict[str, int]:
        return {
            path.parent.name: json.loads(path.read_text())["number"]
            for path in self.storage.glob("trials/*/attempt.json")
        }

    def steps(self) -> list[int]:
        """The step of each checkpoint there is."""
        return [int(path.stem.partition("-")[2]) for path in self.storage.glob("trials/*/checkpoints/step-*.ckpt")]

    def log(self) -> str:
        """A line for each epoch that was begun since the first call of ``faults``."""
        path = self.folder / "faults" / "epochs"
        return path.read_text() if path.exists() else ""

    def epochs(self) -> dict[str, list[Epoch]]:
        """All that were begun since the first call of ``faults``, by trial, in order."""
        found: dict[str, list[Epoch]] = {}
        for line in self.log().splitlines():
            trial_id, *numbers = line.split()
            found.setdefault(trial_id, []).append(Epoch(*map(int, numbers)))
        return found

    def processes(self) -> list[psutil.Process]:
        """All that runs for this user: whatever was started by a command of theirs has their home."""
        return processes_with("HOME", str(self.folder))

    def database(self) -> sqlite3.Connection:
        """Of a server of this user's, or else the sweep's own."""
        server = self.folder / SERVER_DATABASE
        path = server if server.exists() else self.storage / "mlflow" / "mlflow.db"
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


OF_TRIALS = "FROM runs WHERE run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'trial_id')"


def assert_browsable(user: User, runs: int = TRIALS, epochs: int = EPOCHS) -> None:
    """MLflow holds each trial once, ended, with one value for each metric and epoch, and the sweep's summary once."""
    database = user.database()
    assert database.execute(f"SELECT status, count(*) {OF_TRIALS} GROUP BY 1").fetchall() == [("FINISHED", runs)]
    assert database.execute("SELECT status, count(*) FROM runs GROUP BY 1").fetchall() == [("FINISHED", runs + 1)]
    assert database.execute("SELECT count(DISTINCT value) FROM tags WHERE key = 'trial_id'").fetchone() == (runs,)
    values = database.execute(
        "SELECT run_uuid, count(*), count(DISTINCT step), min(step), max(step) FROM metrics "
        "WHERE key = 'error/at_1.00' GROUP BY 1"
    ).fetchall()
    assert [value[1:] for value in values] == [(epochs, epochs, 1, epochs)] * runs
    repeated = "SELECT run_uuid, key, step FROM metrics GROUP BY 1, 2, 3 HAVING count(*) > 1"
    assert database.execute(repeated).fetchall() == []


def assert_same(disturbed: User, said: Finished, undisturbed: User, expected: Finished) -> None:
    """Tables and metrics are those of a sweep that nothing disturbed."""
    assert said.code == 0, said.stderr
    assert tables_of(said.stdout) == tables_of(expected.stdout)
    assert_same_numbers(disturbed, undisturbed)


def assert_same_numbers(disturbed: User, undisturbed: User) -> None:
    """Metrics and errors are those of a sweep that nothing disturbed, to the bit."""
    pd.testing.assert_frame_equal(disturbed.metrics(), undisturbed.metrics(), check_exact=True)
    errors = [
        {name: found["result"]["errors"] for name, found in u.results().items()} for u in (disturbed, undisturbed)
    ]
    assert errors[0] == errors[1]


def processes_with(name: str, value: str) -> list[psutil.Process]:
    """All that have a variable of this value in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.02)


def tables_of(stdout: str) -> str:
    """What the sweep command prints before the line that names the storage folder."""
    return stdout.partition("The whole report:")[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def ended_with_block(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Sends SIGTERM to a server, then waits."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        finally:
            process.kill()


def _heed_ctrl_c() -> None:
    """What a shell starts in the background ignores SIGINT, and passes that on to whatever it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
