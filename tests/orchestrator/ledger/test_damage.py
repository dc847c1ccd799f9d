"""Whatever becomes of the bytes of a file, the ledger never takes it for another content, never crashes on it, says so,
and the same trial run again ends in the same numbers. Every file of real trials, cut, flipped and overwritten."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from anytime_core.result import EpochMetrics
from anytime_core.training import checkpoint
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.trial import Trial, TrialState
from orchestrator.tracking import delivered

Damage = Callable[[bytes, random.Random], bytes]
NEWEST = "checkpoints/step-000000044.ckpt"
FILES = {
    "finished": ("config.json", "attempt.json", "failure.json", "result.json", "metrics.parquet", NEWEST),
    "failed": ("config.json", "attempt.json", "failure.json", "metrics.parquet", NEWEST),
    "interrupted": ("config.json", "attempt.json", "metrics.parquet", NEWEST),
}
"""Of trials of each kind. The finished one failed before."""
CASES = [(kind, name) for kind, names in FILES.items() for name in names]
REDUNDANT = {(kind, "config.json") for kind in FILES} | {("finished", "failure.json"), ("finished", "metrics.parquet")}
"""What these tell is told by others as well."""


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flip(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def tear(content: bytes, rng: random.Random) -> bytes:
    """Its second part was never written, but counts to its length."""
    start = rng.randrange(len(content))
    return content[:start] + bytes(len(content) - start)


def scribble(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + rng.randbytes(min(64, len(content) - start)) + content[start + 64 :]


def digit(content: bytes, rng: random.Random) -> bytes:
    """Another digit in the place of one: valid JSON stays valid."""
    places = [place for place, byte in enumerate(content) if 48 <= byte <= 57]
    damaged, place = bytearray(content), rng.choice(places)
    damaged[place] = rng.choice([byte for byte in b"123456789" if byte != damaged[place]])
    return bytes(damaged)


DAMAGES: tuple[Damage, ...] = (cut, flip, tear, scribble, digit)


def raising(error: BaseException) -> Callable[[list[EpochMetrics]], None]:
    """At the end, when all but the result is written."""

    def report(epochs: list[EpochMetrics]) -> None:
        if epochs[-1].epoch == 2:
            raise error

    return report


@pytest.fixture(scope="module")
def trial(make_trial) -> Trial:
    return make_trial()


def run(trial: Trial, storage: Path, report: Callable[[list[EpochMetrics]], None]) -> tuple[str, ...]:
    where = WorkerContext(storage=storage, data_root=storage / "data")
    return run_trial(trial, where, report).notes


@pytest.fixture(scope="module")
def storages(trial, tmp_path_factory) -> dict[str, Path]:
    """Of real trials of each kind. To be read."""
    made = {kind: tmp_path_factory.mktemp(kind) for kind in FILES}
    run(trial, made["failed"], raising(RuntimeError("a bug")))
    shutil.copytree(made["failed"], made["finished"], dirs_exist_ok=True)
    run(trial, made["finished"], lambda epochs: None)
    with pytest.raises(KeyboardInterrupt):
        run(trial, made["interrupted"], raising(KeyboardInterrupt()))
    return made


@pytest.fixture
def finished(storages) -> Path:
    return storages["finished"]  # type: ignore[no-any-return]


def read_all(ledger: Ledger, trial: Trial) -> dict[str, Any]:
    """By every reader there is."""
    latest = checkpoint.latest(ledger.checkpoints(trial.id))
    return {
        "record": ledger.record(trial.id),
        "standing": ledger.standings([trial.id])[trial.id],
        "attempt": ledger.attempt(trial.id),
        "failure": ledger.last_failure(trial.id),
        "epochs": [asdict(epoch) for epoch in ledger.epochs(trial.id)],
        "step": latest and latest.meta["history"][-1]["step"],
    }


def absent(name: str, found: dict[str, Any]) -> bool:
    """Whether what a file tells counts as not there."""
    match name:
        case "result.json":
            return found["record"] is None and found["standing"].state is not TrialState.FINISHED
        case "attempt.json":
            return found["attempt"] is None and found["standing"].state is not TrialState.PENDING  # it has checkpoints
        case "failure.json":
            return found["failure"] is None and found["standing"].state is TrialState.INTERRUPTED
        case "metrics.parquet":  # those of the checkpoint stand in
            return len(found["epochs"]) == 2
        case _ if name == NEWEST:
            return found["step"] == (22 if found["record"] is None else None)
        case _:
            return False


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_damaged_file_is_as_good_as_none_and_the_log_says_so(
    kind, name, damage, trial, storages, tmp_path, caplog, monkeypatch
) -> None:
    monkeypatch.setattr(checkpoint, "unpack", cache(checkpoint.unpack))  # slow, and the same bytes give the same
    whole = Ledger(storages[kind])
    ledger = Ledger(shutil.copytree(whole.local, tmp_path / "runs"))
    path, rng = ledger.folder(trial.id) / name, random.Random(f"{damage.__name__} {name}")
    content = path.read_bytes()
    expected, refused = read_all(whole, trial), 0
    for _ in range(60):
        path.write_bytes(damage(content, rng))
        caplog.clear()
        found = read_all(ledger, trial)
        if found == expected:  # it does not matter, or another file stands in
            continue
        assert absent(name, found), f"{name} was taken for another"
        assert str(path) in caplog.text or trial.id in caplog.text
        refused += 1
    assert (refused > 3) == ((kind, name) not in REDUNDANT)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_trial_with_a_damaged_file_ends_in_the_same_numbers(kind, name, trial, storages, finished, tmp_path) -> None:
    whole = Ledger(storages[kind])
    expected = Ledger(finished)
    for seed in range(2):
        ledger = Ledger(shutil.copytree(whole.local, tmp_path / f"runs{seed}"))
        path, rng = ledger.folder(trial.id) / name, random.Random(seed)
        content = path.read_bytes()
        path.write_bytes(rng.choice(DAMAGES[:4])(content, rng))
        notes = run(trial, ledger.local, lambda epochs: None)
        record, right = ledger.record(trial.id), expected.record(trial.id)
        assert record is not None
        assert right is not None
        assert replace(record.result, seconds=0) == replace(right.result, seconds=0)
        assert record.provenance["network_hash"] == right.provenance["network_hash"]
        assert [epoch.step for epoch in ledger.epochs(trial.id)] == [22, 44]
        if name == "result.json":
            assert (path.parent / "result.json.damaged").exists()
            assert any("result.json is damaged" in note for note in notes)
        if name == NEWEST and kind != "finished":
            assert any("falling back to the one before" in note for note in notes)


def test_metrics_that_are_damaged_are_those_of_the_checkpoint(finished, trial, tmp_path, caplog) -> None:
    ledger = Ledger(shutil.copytree(finished, tmp_path / "runs"))
    whole = ledger.epochs(trial.id)
    path = ledger.folder(trial.id) / "metrics.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert ledger.epochs(trial.id) == whole
    assert f"{path} is damaged" in caplog.text
    assert "the 2 epochs of its checkpoint stand in" in caplog.text
    shutil.rmtree(ledger.folder(trial.id) / "checkpoints")
    assert ledger.epochs(trial.id) == []
    assert "it counts as empty" in caplog.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_not_used(damage, ledger, make_trial, make_record, monkeypatch) -> None:
    monkeypatch.setattr("orchestrator.ledger.trials.FEW", 1)
    monkeypatch.setattr("orchestrator.ledger.trials.SETTLED", -(10**10))
    trials = [make_trial(seed=seed) for seed in range(3)]
    records = {trial.id: make_record(trial, (3.0, 2.0, 1.0 + trial.config.seed)) for trial in trials}
    for trial in trials:
        ledger.finish(ledger.begin(trial), records[trial.id])
    assert ledger.records(records) == records
    path, rng = ledger.local / "index.bin", random.Random(0)
    content = path.read_bytes()
    for _ in range(30):
        path.write_bytes(damage(content, rng))
        assert ledger.records(records) == records


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_the_driver_notes_may_be_damaged(damage, ledger, load_text, tmp_path) -> None:
    sweep = load_text("name: small\nnetworks: [{n: 1, c: 2}]\ndatasets: [digits]\nmethods: {ann: {}}\n")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "mlflow.db").touch()
    ledger.begin(sweep.trials[0])
    with ledger.drive("small") as folder:
        trials = delivered.marks_of(ledger, sweep)
        told = delivered.Delivered(trials=trials, summary=delivered.summary_mark(sweep, trials, ledger))
        delivered.remember(ledger, "small", uri, told)
        assert delivered.is_current(ledger, sweep, uri)
    rng = random.Random(0)
    whole = {name: (folder / name).read_bytes() for name in ("driver.json", "tracked.json")}
    for _ in range(40):
        for name, content in whole.items():
            (folder / name).write_bytes(damage(content, rng))
        assert ledger.driver("small") is None
        assert delivered.is_current(ledger, sweep, uri) in (True, False)
        with ledger.drive("small"):
            assert ledger.driver("small") is not None


def test_a_ledger_of_an_older_version_is_read(finished, trial, tmp_path) -> None:
    """Its files had no checksums, and its checkpoints did not say on what data and with what they were trained."""
    import json

    import pyarrow.parquet as pq

    ledger = Ledger(shutil.copytree(finished, tmp_path / "runs"))
    expected = read_all(ledger, trial)
    folder = ledger.folder(trial.id)
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text())
        assert (content.pop("sha256", None) is None) == (path.name == "config.json")
        path.write_text(json.dumps(content, indent=1))
    pq.write_table(pq.read_table(folder / "metrics.parquet").replace_schema_metadata(), folder / "metrics.parquet")
    (newest,) = (folder / "checkpoints").iterdir()
    saved = checkpoint.unpack(newest.read_bytes())
    meta = {name: value for name, value in saved.meta.items() if name in ("config", "history")}
    assert meta.keys() < saved.meta.keys()
    newest.write_bytes(checkpoint.pack(checkpoint.Checkpoint(saved.arrays, meta)))
    assert read_all(ledger, trial) == expected
    (folder / "result.json").unlink()
    assert run(trial, ledger.local, lambda epochs: None) == ()
    assert ledger.state(trial.id) is TrialState.FINISHED


def test_nothing_is_said_of_what_is_whole(finished, trial, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        read_all(Ledger(finished), trial)
    assert caplog.text == ""
