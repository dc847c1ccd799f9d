"""Looks for files in a storage folder that harm whoever reads them, as somebody else may have written them.

::

    python benchmarks/fuzz_readers.py                  # ten minutes
    python benchmarks/fuzz_readers.py --minutes 0.2    # to see that it works
    python benchmarks/fuzz_readers.py --seed 7 --only 123    # one case again, with its traceback

Each case spoils one file of a storage of real trials, with a checksum that is right again, or puts in its place what is
no file. All readers then read the storage in a process of its own. They must give an answer or an error that is meant
for the user, within ``--seconds`` and with ``--megabytes`` more memory at most. For Linux.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np

from anytime_core.config import to_dict
from anytime_core.cost import trial_costs
from anytime_core.data import cache
from anytime_core.data.dataset import Images
from anytime_core.errors import TrainerError
from anytime_core.model.network import build_network
from anytime_core.result import EpochMetrics, TrialResult
from anytime_core.trained import load_network, network_hash, trained_on
from anytime_core.training import checkpoint
from anytime_core.training.checkpoint import Checkpoint
from orchestrator.analysis import trace
from orchestrator.errors import OrchestratorError
from orchestrator.ledger import checksummed, epochs_file, index, live_status, needs, trials
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.live_status import Running, StatusSnapshot
from orchestrator.planning import estimate
from orchestrator.planning import plan as planning
from orchestrator.report import status as report
from orchestrator.report.views import render, status
from orchestrator.sweep.devices import Device
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialRecord, config_of
from orchestrator.sweepfile.load import load
from orchestrator.tracking import delivered, run_files

TEXT = """\
name: fuzzed
networks: [{n: 1, c: 2}, {n: 2, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
training: {steps: 44, batch_size: 64}
"""
DEVICE = Device(name="a CPU", part=1)
SILENT = ("record", "driver", "run_files", "drive")
"""Readers that may have no answer."""
MEANT = (OrchestratorError, TrainerError)
"""Errors whose text is for the user."""


# A storage


def write_storage(folder: Path) -> Sweep:
    """Three trials have ended, and one was interrupted. Nothing is trained: their networks are as they begin."""
    (folder / "sweep.yaml").write_text(TEXT)
    sweep, made = load(folder / "sweep.yaml"), Ledger(folder / "runs")
    made.make()
    for place, trial in enumerate(sweep.trials):
        _write_trial(made, trial, ended=place > 0)
    marks = delivered.marks_of(made, sweep)
    told = delivered.Delivered(trials=marks, summary="x", experiment="1", runs=dict.fromkeys(marks, "0" * 32))
    with made.drive(sweep.name):
        pass
    delivered.remember(made, sweep.name, "http://127.0.0.1:1", told)
    needs.declare(sweep, made)
    running = Running(trial_id=sweep.trials[0].id, step=22, place="here", error=9.5)
    snapshot = StatusSnapshot(time=1.7e9, seconds_left=60.0, running=(running,), errors=("ann: none",))
    made.write_status(sweep.name, asdict(snapshot))
    images, labels = np.zeros((4, 1, 8, 8), np.uint8), np.zeros(4, np.int64)
    arrays = Images(train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    cache._stored(arrays, {}, folder / "runs" / "cache")
    made.records(trial.id for trial in sweep.trials)  # writes the index
    return sweep


def _write_trial(made: Ledger, trial: Trial, *, ended: bool) -> None:
    attempt, units = made.begin(trial, "fuzzed", "1 CPU", "id"), trial.config.predicting_units
    epochs = [_epoch(number, len(units)) for number in (1, 2)]
    made.write_epochs(attempt, units, trial_costs(trial.config), epochs)
    arrays = {f"network/{name}": value.numpy() for name, value in build_network(trial.config).state_dict().items()}
    arrays |= {f"normalisation/{name}": np.ones((1, 1, 1, 1), np.float32) for name in ("mean", "std")}
    meta = {"config": to_dict(trial.config), "history": [asdict(it) for it in epochs], "trained_on": ["cpu"]}
    for epoch in epochs:
        checkpoint.save(made.checkpoints(trial.id), epoch.step, Checkpoint(arrays, meta))
    made.fail(attempt, "no memory", "Traceback: [...]", kind="bug", signature="x")
    if ended:
        result = TrialResult(
            state="finished",
            units=units,
            costs=tuple(trial_costs(trial.config)),
            errors=epochs[-1].test_error,
            steps=44,
            seconds=1.5,
            device="cpu",
        )
        provenance = {"device_name": DEVICE.name, "threads": 1, "sources": "a", "data_hash": "b"}
        made.finish(
            attempt,
            TrialRecord(
                trial_id=trial.id, config=to_dict(trial.config), result=result, attempts=1, provenance=provenance
            ),
        )
        os.utime(made.folder(trial.id) / "result.json", (1.7e9, 1.7e9))  # long ago, and so in the index


def _epoch(number: int, predictions: int) -> EpochMetrics:
    losses = tuple(1 / (number + place + 1) for place in range(predictions))
    return EpochMetrics(
        epoch=number,
        step=22 * number,
        learning_rate=0.1,
        train_loss=losses,
        train_error=losses,
        test_loss=losses,
        test_error=losses,
        probabilities=losses,
        seconds=0.5,
        timestamp=1.7e9,
    )


# All that reads it


def readers(folder: Path, sweep: Sweep) -> Iterator[tuple[str, Callable[[], object]]]:
    made, ids = Ledger(folder / "runs"), [trial.id for trial in sweep.trials]
    for trial_id in ids[:2]:
        place = made.checkpoints(trial_id)
        yield "record", partial(_record, made, trial_id)
        yield "standing", partial(made.standing, trial_id)
        yield "epochs", partial(made.epochs, trial_id)
        yield "files", partial(made.files, trial_id)
        yield "latest", partial(checkpoint.latest, place)
        yield "load_network", partial(load_network, place, unfinished=True)
        yield "network_hash", partial(network_hash, place)
        yield "trained_on", partial(trained_on, place)
    yield "records", lambda: made.records(ids)
    yield "driver", lambda: str(made.driver(sweep.name))
    yield "snapshot", lambda: live_status.last_snapshot(made, sweep.name)
    yield (
        "delivered",
        lambda: (
            delivered.is_current(made, sweep, "http://127.0.0.1:1"),
            delivered.run_links(made, sweep.name),
            delivered.last_trials(made, sweep.name),
        ),
    )
    yield "plan", lambda: planning.summary(planning.make(sweep.trials, made))
    yield "speeds", lambda: [estimate.Speeds.of(made).step(trial.config, DEVICE) for trial in sweep.trials]
    yield "status", lambda: status.status_text(report.status(sweep, made))
    yield "report", lambda: render.report_text(report.read_tables(sweep, made))
    yield "trace", lambda: trace.find(sweep, "ann 1,2")
    yield "cache", lambda: cache._opened(folder / "runs" / "cache")
    yield "run_files", lambda: _run_files(made, sweep.trials[1], folder / "told")
    yield "drive", lambda: _driven(made, sweep.name)


def _record(made: Ledger, trial_id: str) -> object:
    record = made.record(trial_id)
    return record and config_of(record)


def _run_files(made: Ledger, trial: Trial, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    run_files.write(trial, made.state(trial.id), made, folder, largest=1e9)


def _driven(made: Ledger, sweep: str) -> None:
    with made.drive(sweep):
        pass


# What may lie in the place of a file

Spoil = Callable[[Path, random.Random], object]
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 0.5, 1e308, 1e-300, 2**62, 10**18, 2**63, 10**400, -(10**30)),
    *("", "x" * 100_000, "\x1b]0;x\x07\u202e", "\ud800", "NaN", "../../x", "9" * 5000),
    *([], {}, [[]] * 10, [1, "a"], {"a": {"b": []}}, [0.5] * 100_000),
)
TEXTS = (
    *(b"", b"{", b"[" * 10**6, b'{"a":' * 10**5, b"NaN", b"1e999", b"null", b"0" * 10**7),
    *(b"\xff\xfe\x00", b'{"a": 1, "a": 2}', b'{"sha256": 1}', b"[]", b'"\\ud800"'),
)


def flipped(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 20))):
        damaged[rng.randrange(len(damaged))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(damaged[: rng.choice((len(damaged), len(damaged), rng.randrange(1, len(damaged) + 1)))])


def changed(value: Any, rng: random.Random) -> Any:
    """With another value somewhere in it."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    if not inner or rng.random() < 0.15:
        return rng.choice(VALUES)
    name, item = rng.choice(inner)
    if rng.random() < 0.1:
        del (value := dict(inner))[name]
    else:
        value = dict(inner) | {name: changed(item, rng)}
    return value if not inner or isinstance(inner[0][0], str) else list(value.values())


def flip(path: Path, rng: random.Random) -> None:
    path.write_bytes(flipped(path.read_bytes() or b" ", rng))


def text(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.choice(TEXTS))


def json_value(path: Path, rng: random.Random) -> None:
    content = json.loads(path.read_bytes())
    sealed = isinstance(content, dict) and content.pop(checksummed.SEAL, None)
    content = changed(content, rng)
    with suppress(ValueError):
        if sealed and isinstance(content, dict):
            content[checksummed.SEAL] = checksummed._digest(content)
    path.write_text(json.dumps(content))


def checkpoint_value(path: Path, rng: random.Random) -> None:
    saved = checkpoint.unpack(path.read_bytes())
    arrays, meta = dict(saved.arrays), dict(saved.meta)
    name = rng.choice(list(arrays))
    match rng.randrange(4):
        case 0:
            arrays[name] = np.zeros(
                rng.choice(((), (0, 10**9), (3,), (1000, 1000))), rng.choice(("f4", "i8", "S9", "?"))
            )
        case 1:
            del arrays[name]
        case _:
            meta = changed(meta, rng)
    path.write_bytes(checkpoint.pack(Checkpoint(arrays, meta)))


def checkpoint_bytes(path: Path, rng: random.Random) -> None:
    payload = flipped(path.read_bytes()[: -checkpoint.DIGEST_SIZE], rng)
    path.write_bytes(payload + hashlib.sha256(payload).digest())


def index_bytes(path: Path, rng: random.Random) -> None:
    plain = index._unpacked(path.read_bytes())
    plain = rng.choice((flipped(plain, rng), bytes(1 << 26), plain[:8] + b"[" * 10**6, plain + b"x"))
    payload = zlib.compress(plain, 1)
    path.write_bytes(payload + hashlib.sha256(payload).digest())


def parquet_value(path: Path, rng: random.Random) -> None:
    """Without a checksum, as an older version wrote it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pylist()
    for _ in range(rng.choice((1, 5))):
        row, name = rng.choice(rows), rng.choice(epochs_file.SCHEMA.names)
        row[name] = rng.choice((None, -1, 0, 2**31 - 1)) if name != "trial_id" else rng.choice((None, "x" * 1000))
    many = rows * rng.choice((0, 1, 1, 1000, 30_000))
    pq.write_table(pa.Table.from_pylist(many, schema=epochs_file.SCHEMA), path, compression="zstd")


def trap(path: Path, rng: random.Random) -> None:
    path.unlink()
    match rng.randrange(7):
        case 0:
            os.mkfifo(path)
        case 1:
            path.symlink_to(rng.choice(("/dev/zero", "/dev/random", "/dev/stdin", "/etc/passwd", "nowhere", path.name)))
        case 2:
            path.mkdir()
        case 3:
            with open(path, "wb") as file:
                file.truncate(rng.choice((10**6, 10**8, 10**12)))
        case 4:
            with socket.socket(socket.AF_UNIX) as made, suppress(OSError):
                made.bind(str(path))
        case 5:
            shutil.rmtree(path.parent, ignore_errors=True)
            path.parent.symlink_to("/usr/lib")
        case _:
            shutil.rmtree(path.parent, ignore_errors=True)
            os.mkfifo(path.parent)


SPOILS: dict[str, tuple[Spoil, ...]] = {
    ".json": (json_value, json_value, json_value, flip, text, trap),
    ".ckpt": (checkpoint_value, checkpoint_value, checkpoint_bytes, flip, text, trap),
    ".parquet": (parquet_value, parquet_value, flip, flip, text, trap),
    ".bin": (index_bytes, index_bytes, flip, text, trap),
    ".npy": (flip, flip, text, trap),
    "": (flip, text, trap),
}


# A case


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """``wrong`` says how each reader failed whose failure is not meant for the user."""

    number: int
    what: str
    wrong: tuple[str, ...] = ()
    seconds: float = 0.0


def drawn(folder: Path, rng: random.Random) -> tuple[Path, Spoil]:
    """A file of those of one kind, and what is done to it."""
    paths = sorted(path for path in (folder / "runs").rglob("*") if path.is_file() and path.name != "lock")
    kind = rng.choice(list(SPOILS))
    return rng.choice([path for path in paths if path.suffix == kind]), rng.choice(SPOILS[kind])


def run_case(original: Path, folder: Path, sweep: Sweep, seed: int, number: int) -> Case:
    rng = random.Random(f"{seed} {number}")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    path, spoil = drawn(folder, rng)
    what = f"{spoil.__name__} of {path.relative_to(folder)}"
    spoil(path, rng)
    wrong, began = [], time.monotonic()
    for name, read in readers(folder, sweep):
        try:
            read()
        except MEANT:
            pass
        except BaseException as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            wrong.append(f"{name}: {type(error).__name__}: {str(error)[:100]} ({Path(at.filename).name}:{at.lineno})")
    return Case(number=number, what=what, wrong=tuple(wrong), seconds=time.monotonic() - began)


def work(link: Connection, original: Path, folder: Path, sweep: Sweep, seed: int, megabytes: int) -> None:
    """Runs the cases whose numbers come, with so much memory more than it has now."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20),) * 2)
    trials.FEW = 1  # so that the index is used
    logging.disable(logging.CRITICAL)
    while True:
        link.send(run_case(original, folder, sweep, seed, link.recv()))


class Reader:
    """A process that runs cases, and another when it ends."""

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments
        self._begin()

    def _begin(self) -> None:
        self._link, other = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=work, args=(other, *self._arguments))
        self._process.start()
        other.close()

    def run(self, number: int, seconds: float) -> Case:
        self._link.send(number)
        fault = "it takes too long"
        try:
            if self._link.poll(seconds):
                case: Case = self._link.recv()
                return case
        except (EOFError, ConnectionError):
            self._process.join()
            fault = f"the process ends with {self._process.exitcode}"
        self.end()
        self._begin()
        return Case(number=number, what="?", wrong=(fault,))

    def end(self) -> None:
        if self._process.is_alive():
            os.kill(self._process.pid or 0, signal.SIGKILL)
        self._process.join()


def fuzz(folder: Path, *, seed: int, minutes: float, seconds: float, megabytes: int) -> Iterator[Case]:
    original, copy = folder / "original", folder / "spoilt"
    original.mkdir()
    trials.FEW, before = 1, trials.FEW
    try:
        sweep = write_storage(original)
    finally:
        trials.FEW = before
    for name, read in readers(original, sweep):
        if read() is None and name not in SILENT:
            raise AssertionError(f"{name} finds nothing in storage that nobody has spoilt")
    reader, until, number = Reader(original, copy, sweep, seed, megabytes), time.monotonic() + 60 * minutes, 0
    try:
        while time.monotonic() < until:
            case = reader.run(number, seconds)
            yield case if case.what != "?" else replace(case, what=_what(original, seed, number))
            number += 1
    finally:
        reader.end()


def _what(original: Path, seed: int, number: int) -> str:
    """Of a case that ended its process."""
    path, spoil = drawn(original, random.Random(f"{seed} {number}"))
    return f"{spoil.__name__} of {path.relative_to(original)}"


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="That all readers may take together.")
@click.option("--megabytes", default=1024, show_default=True)
@click.option("--only", type=int, help="The number of the one case to run, in this process.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def main(minutes: float, seed: int, seconds: float, megabytes: int, only: int | None, form: str) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        if only is not None:
            (folder / "original").mkdir()
            trials.FEW = 1
            sweep = write_storage(folder / "original")
            click.echo(run_case(folder / "original", folder / "spoilt", sweep, seed, only))
            return
        counts: Counter[str] = Counter()
        slowest, bad = 0.0, []
        for case in fuzz(folder, seed=seed, minutes=minutes, seconds=seconds, megabytes=megabytes):
            counts[case.what.partition(" ")[0]] += 1
            slowest = max(slowest, case.seconds)
            if case.wrong:
                bad.append(case)
                click.echo(f"case {case.number}, {case.what}: {'; '.join(case.wrong)}", err=True)
    figures = {"cases": sum(counts.values()), "wrong": len(bad), "slowest": round(slowest, 3), **counts}
    click.echo(
        json.dumps(figures) if form == "json" else "  ".join(f"{name} {value}" for name, value in figures.items())
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
