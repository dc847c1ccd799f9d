"""Runs small sweeps and breaks whatever can be broken, again and again, until the time is up: a soak.

::

    python benchmarks/chaos.py --minutes 60 --seed 1
    python benchmarks/chaos.py --minutes 3            # some twenty faults

Each round is a new sweep of 24 trials, run by the command line on a Ray cluster of its own and tracked by a real MLflow
server. It is broken at random moments until it ends, the same command each time; then it must be as if nothing had
happened: the bits of trials that were trained in this process, no trial that had ended trained again, one run and one
value each in MLflow, no process left. Exit code 1 where it is not. For Linux.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import psutil

from anytime_core.result import OF_THE_MACHINE, EpochMetrics
from anytime_core.training.trainer import train
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load

BIN = Path(sys.executable).parent
NOTES_EPOCHS = Path(__file__).parents[1] / "tests" / "cluster" / "faults"
"""On PYTHONPATH it writes down each epoch that is begun."""
SWEEP: dict[str, Any] = {
    "networks": [{"n": 1, "c": 2}, {"n": 1, "c": 3}, {"n": 1, "c": 4}],
    "datasets": ["digits"],
    "methods": {
        "ann": {},
        "aann": {"strategy": "aann"},
        "exp3": {"strategy": "exp3"},
        "opt": {"regime": "opt", "at": [1]},
    },
    "seeds": [0, 1],
    "retries": {"stalled_after": 4},
    "report": {"figures": ["cost"]},
}
TRAINING: dict[str, Any] = {"batch_size": 128, "learning_rate": {"0": 0.1}}
PAUSE = (2.0, 14.0)
"""Seconds between two faults, at random."""
HANGING = (2.0, 15.0)
"""Seconds that the MLflow server is stopped for."""
DISK = 64
"""In MB: the storage of a sweep, a disk in memory where one can be mounted, as root can."""
FULL = (1.0, 8.0)
"""Seconds that the disk is full for."""
ENDING = 120.0
"""Seconds that a command may take to end."""
GONE = 20.0
"""Seconds after which no process of a killed driver may be left."""


class LostError(Exception):
    """Something was lost, or is not as it would have been."""


@dataclass(slots=True)
class SoakTally:
    """``lost`` are training steps that were made again, by the fault that came before."""

    injected: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    trials: int = 0
    rounds: int = 0
    faults: list[str] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)

    def draw(self, rng: random.Random) -> str:
        """Each kind once, in an order of its own, before any comes again."""
        if not self.drawn:
            self.drawn = rng.sample(list(FAULTS), len(FAULTS))
        return self.drawn.pop()


class Soak:
    """One sweep, the process that drives it, and the server that tracks it."""

    def __init__(
        self, folder: Path, name: str, steps: int, server: psutil.Process, uri: str, rng: random.Random
    ) -> None:
        self.folder, self.rng, self.server = folder, rng, server
        (folder / "runs").mkdir(parents=True)
        self.has_disk = _mount(folder / "runs")
        self.sweep = write_sweep(folder, name, steps)
        self.ledger = Ledger(folder / "runs")
        self.ended: dict[str, int] = {}
        """The attempts of each trial that has ended, and whose result was not damaged since."""
        self._command = [str(BIN / "orchestrate"), "sweep", str(self.sweep.path), "--storage", str(folder / "runs")]
        self._command += ["--tracking-uri", uri]
        self._environment = _environment(folder) | {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(NOTES_EPOCHS), os.environ.get("PYTHONPATH")])),
            "FAULTS": "[]",
            "FAULTS_FOLDER": str(folder),
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        }
        self.driver = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._environment,
                start_new_session=True,
                preexec_fn=_heed_ctrl_c,
            )

    def end(self) -> None:
        """Kills the driver; whatever it started ends too."""
        self.driver.kill()
        self.driver.wait()
        until = time.monotonic() + GONE
        while left := self.processes():
            if time.monotonic() > until:
                raise LostError(f"processes are left: {[process.cmdline()[:3] for process in left]}")
            time.sleep(0.1)

    def unmount(self) -> None:
        if self.has_disk:
            subprocess.run(["umount", "--lazy", str(self.folder / "runs")], check=False)

    def wait(self) -> None:
        """Until the command ends; another one where it was stopped, or lacks something."""
        until = time.monotonic() + ENDING
        while self.driver.poll() is None:
            if time.monotonic() > until:
                raise LostError(f"a command has not ended after {ENDING:.0f} s")
            time.sleep(0.1)
        self.check_ended()

    def check_ended(self) -> None:
        """No trial that ended is trained again."""
        now = self.attempts()
        again = [trial_id for trial_id, attempts in self.ended.items() if now.get(trial_id) != attempts]
        if again:
            raise LostError(f"trained again, or lost: {again}")
        self.ended = now

    def attempts(self) -> dict[str, int]:
        return {name: record.attempts for name, record in self.ledger.records(self.ids).items()}

    @property
    def ids(self) -> list[str]:
        return [trial.id for trial in self.sweep.trials]

    @property
    def unended(self) -> list[str]:
        return [
            trial_id
            for trial_id in self.ids
            if self.ledger.folder(trial_id).exists() and not self.ledger.record(trial_id)
        ]

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("HOME") == str(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def epochs(self) -> list[tuple[str, int, int, int]]:
        """Each that was begun: trial, its first step, that after its last, process."""
        path = self.folder / "epochs"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(name, int(first), int(last), int(pid)) for name, first, last, pid in map(str.split, lines)]

    def worker(self) -> psutil.Process | None:
        """One that trains, or did a moment ago."""
        alive = {process.pid: process for process in self.processes()}
        pids = sorted({pid for *_, pid in self.epochs()} & alive.keys())
        return alive[self.rng.choice(pids)] if pids else None


# Faults: each says whether there was something to break


def kill_driver(soak: Soak) -> bool:
    soak.end()
    soak.driver = soak.start()
    return True


def press_ctrl_c(soak: Soak) -> bool:
    os.killpg(soak.driver.pid, signal.SIGINT)
    soak.driver.wait(ENDING)
    soak.driver = soak.start()
    return True


def kill_worker(soak: Soak) -> bool:
    return _signal_worker(soak, signal.SIGKILL)


def stop_worker(soak: Soak) -> bool:
    return _signal_worker(soak, signal.SIGSTOP)


def _signal_worker(soak: Soak, number: int) -> bool:
    while (worker := soak.worker()) is None:
        if soak.driver.poll() is not None:
            return False
        time.sleep(0.2)
    with suppress(psutil.NoSuchProcess):
        worker.send_signal(number)
    return True


def stop_server(soak: Soak) -> bool:
    processes = [soak.server, *soak.server.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    time.sleep(soak.rng.uniform(*HANGING))
    for process in processes:
        process.send_signal(signal.SIGCONT)
    return True


def fill_disk(soak: Soak) -> bool:
    """For some seconds, in which whatever is written fails."""
    if soak.has_disk:
        filler = soak.folder / "runs" / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(2**16)):
                pass
        time.sleep(soak.rng.uniform(*FULL))
        filler.unlink()
    return soak.has_disk


def truncate_checkpoint(soak: Soak) -> bool:
    return _damage(soak, _checkpoints, _truncate)


def flip_checkpoint(soak: Soak) -> bool:
    return _damage(soak, _checkpoints, _flip)


def truncate_file(soak: Soak) -> bool:
    return _damage(soak, _files, _truncate)


def flip_file(soak: Soak) -> bool:
    return _damage(soak, _files, _flip)


def _checkpoints(soak: Soak) -> list[Path]:
    """The newest of each trial that has not ended."""
    found = [
        sorted((soak.ledger.folder(trial_id) / "checkpoints").glob("step-*.ckpt"))[-1:] for trial_id in soak.unended
    ]
    return [path for paths in found for path in paths]


def _files(soak: Soak) -> list[Path]:
    """Of the ledger, and what is kept of the delivery to MLflow."""
    names = ("attempt.json", "metrics.parquet", "config.json", "failure.json")
    found = [soak.ledger.folder(trial_id) / name for trial_id in soak.unended for name in names]
    found += [soak.ledger.folder(trial_id) / "result.json" for trial_id in soak.ended]
    found.append(soak.ledger.sweep_folder(soak.sweep.name) / "tracked.json")
    return [path for path in found if path.exists()]


def _damage(soak: Soak, candidates: Callable[[Soak], list[Path]], how: Callable[[Path, random.Random], None]) -> bool:
    """While nobody runs it: what is damaged under a driver may be replaced before it is read."""
    while not candidates(soak) and soak.driver.poll() is None:
        time.sleep(0.2)
    soak.end()
    soak.check_ended()
    paths = candidates(soak)
    if paths:
        path = soak.rng.choice(paths)
        how(path, soak.rng)
        if path.name == "result.json":  # not trusted, so trained again
            soak.ended.pop(path.parent.name)
    soak.driver = soak.start()
    return bool(paths)


def _truncate(path: Path, rng: random.Random) -> None:
    with open(path, "r+b") as file:
        file.truncate(rng.randrange(path.stat().st_size))


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


FAULTS: dict[str, Callable[[Soak], bool]] = {
    "driver: SIGKILL": kill_driver,
    "driver: ctrl-C": press_ctrl_c,
    "worker: SIGKILL": kill_worker,
    "worker: SIGSTOP": stop_worker,
    "MLflow server: SIGSTOP": stop_server,
    "disk: full": fill_disk,
    "checkpoint: truncated": truncate_checkpoint,
    "checkpoint: a bit flipped": flip_checkpoint,
    "ledger file: truncated": truncate_file,
    "ledger file: a bit flipped": flip_file,
}


# The whole


def soak(folder: Path, minutes: float, seed: int, steps: int) -> SoakTally:
    rng, tally = random.Random(seed), SoakTally()
    sweep = write_sweep(folder, "undisturbed", steps)
    expected = {trial.id: trained(sweep, trial.id) for trial in sweep.trials}
    with _mlflow_server(folder) as (server, uri):
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until and not tally.faults:
            name = f"round-{tally.rounds}"
            one = Soak(folder / name, name, steps, server, uri, rng)
            injected = _round(one, until, tally, expected, folder / "server.db")
            tally.injected += injected
            tally.rounds += 1
            tally.trials += len(one.ids)
            if not tally.faults:
                tally.survived += injected
    return tally


def write_sweep(folder: Path, name: str, steps: int) -> Sweep:
    path = folder / "sweep.yaml"
    content = {"name": name} | SWEEP | {"training": TRAINING | {"steps": steps}}
    path.write_text(json.dumps(content))  # which is YAML too
    return load(path)


def _round(
    one: Soak, until: float, tally: SoakTally, expected: dict[str, list[EpochMetrics]], database: Path
) -> Counter[str]:
    """The faults of one sweep. What is not as it should be goes to the tally's faults."""
    injected: Counter[str] = Counter()
    marks: list[tuple[int, str]] = []
    try:
        while one.driver.poll() is None and time.monotonic() < until:
            time.sleep(one.rng.uniform(*PAUSE))
            name = tally.draw(one.rng)
            before = len(one.epochs())
            if one.driver.poll() is None and FAULTS[name](one):
                injected[name] += 1
                marks.append((before, name))
                _say(f"{name}; {len(one.attempts())} of {len(one.ids)} trials have ended")
        one.wait()
        if one.driver.returncode:
            one.driver = one.start()
            one.wait()
        if one.driver.returncode:
            raise LostError(f"exit code {one.driver.returncode}")
        _check(one, expected, database)
    except LostError as error:
        tally.faults.append(f"{error}\n{(one.folder / 'log').read_text()[-3000:]}")
    finally:
        with suppress(LostError):
            one.end()
        one.unmount()
    tally.lost += _steps_lost(one, marks)
    return injected


def trained(sweep: Sweep, trial_id: str) -> list[EpochMetrics]:
    """A trial's epochs as nothing disturbed them, times apart."""
    epochs: list[EpochMetrics] = []
    (config,) = (trial.config for trial in sweep.trials if trial.id == trial_id)
    train(config, epochs.append, device="cpu", threads=1)
    return _timeless(epochs)


def _timeless(epochs: list[EpochMetrics]) -> list[EpochMetrics]:
    nothing: dict[str, Any] = dict.fromkeys(OF_THE_MACHINE, 0.0)
    return [replace(epoch, **nothing) for epoch in epochs]


def _check(one: Soak, expected: dict[str, list[EpochMetrics]], database: Path) -> None:
    for trial_id, epochs in expected.items():
        record = one.ledger.record(trial_id)
        if record is None or record.result.errors != epochs[-1].test_error:
            raise LostError(f"{trial_id}: its result is not that of an undisturbed trial")
        if _timeless(one.ledger.epochs(trial_id)) != epochs:
            raise LostError(f"{trial_id}: its metrics are not those of an undisturbed trial")
    _check_runs(database, one.sweep.name, len(expected), sum(map(len, expected.values())))


def _check_runs(database: Path, name: str, trials: int, epochs: int) -> None:
    runs = (
        "SELECT runs.run_uuid FROM runs JOIN experiments USING (experiment_id) JOIN tags USING (run_uuid) "
        "WHERE experiments.name = ? AND tags.key = 'trial_id' AND runs.lifecycle_stage = 'active'"
    )
    source = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        states = source.execute(f"SELECT status, count(*) FROM runs WHERE run_uuid IN ({runs}) GROUP BY 1", [name])
        if (found := states.fetchall()) != [("FINISHED", trials)]:
            raise LostError(f"MLflow has {found} runs of {trials} trials")
        points = source.execute(
            "SELECT count(*), count(DISTINCT run_uuid || ' ' || step) FROM metrics "
            f"WHERE key = 'epoch' AND run_uuid IN ({runs})",
            [name],
        )
        if (counted := points.fetchone()) != (epochs, epochs):
            raise LostError(f"MLflow has {counted} of {epochs} epochs")
    finally:
        source.close()


def _steps_lost(one: Soak, marks: list[tuple[int, str]]) -> Counter[str]:
    """Those of epochs that were begun again, whole or not, counted for the last fault before."""
    lost: Counter[str] = Counter()
    begun: set[tuple[str, int]] = set()
    for number, (trial_id, first, last, _) in enumerate(one.epochs()):
        if (trial_id, first) in begun:
            lost[next((name for before, name in reversed(marks) if before <= number), "none")] += last - first
        begun.add((trial_id, first))
    return lost


@contextmanager
def _mlflow_server(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [str(BIN / "mlflow"), "server", "--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--workers", "1"],
        cwd=folder,
        env=_environment(folder) | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{uri}/health")
        yield psutil.Process(server.pid), uri
    finally:
        own = [*psutil.Process(server.pid).children(recursive=True), server]
        for process in own:
            process.kill()
        server.wait()


def _wait_for(url: str) -> None:
    until = time.monotonic() + ENDING
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _environment(folder: Path) -> dict[str, str]:
    """What is found by its home is ours."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "ORCHESTRATE_"))
    }
    return kept | {"HOME": str(folder)}


def _mount(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(folder)]
    return (
        shutil.which("mount") is not None and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _say(text: str) -> None:
    click.echo(text, err=True)


def as_rows(tally: SoakTally) -> list[dict[str, Any]]:
    return [
        {
            "fault": name,
            "injected": tally.injected[name],
            "survived": tally.survived[name],
            "steps_lost": tally.lost[name],
        }
        for name in FAULTS
    ]


def as_text(found: dict[str, Any]) -> str:
    lines = [f"{'fault':<28}{'injected':>9}{'survived':>9}{'steps lost':>11}"]
    lines += ["{fault:<28}{injected:>9}{survived:>9}{steps_lost:>11}".format(**row) for row in found["rows"]]
    on = ", ".join(f"{name} {value}" for name, value in found["on"].items())
    lines.append(
        f"{found['rounds']} sweeps, {found['trials']} trials; seed {found['seed']}, {found['minutes']:g} minutes; {on}"
    )
    return "\n".join([*lines, *found["faults"]])


@click.command()
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="The sweep that runs then is ended.",
)
@click.option("--seed", default=0, show_default=True, help="Of what is broken, and when.")
@click.option("--steps", type=click.IntRange(min=1), default=110, show_default=True, help="Of each trial.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def main(minutes: float, seed: int, steps: int, form: str) -> None:
    """Faults of all kinds at random moments of small sweeps: how many were injected and survived, what they cost."""
    logging.disable(logging.WARNING)  # of what was damaged on purpose
    with TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        tally = soak(Path(folder), minutes, seed, steps)
    cores = len(os.sched_getaffinity(0))
    found = {
        "rows": as_rows(tally),
        "rounds": tally.rounds,
        "trials": tally.trials,
        "minutes": minutes,
        "seed": seed,
        "steps": steps,
        "faults": tally.faults,
        "on": {"cores": cores, "python": platform.python_version()}
        | {name: version(name) for name in ("anytime-orchestrator", "torch", "ray", "mlflow")},
    }
    click.echo(json.dumps(found, indent=1) if form == "json" else as_text(found))
    sys.exit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
