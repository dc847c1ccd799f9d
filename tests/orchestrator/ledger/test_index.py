"""What the ledger says of many trials is what it says of each, whatever became of the index."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from anytime_core.files import LocalFolder
from orchestrator.ledger import index
from orchestrator.ledger.index import Index, IndexEntry
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.trials import FEW
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState

COUNT = FEW + 50


@pytest.fixture(scope="module")
def trials(make_trial) -> list[Trial]:
    return [make_trial(seed=seed) for seed in range(COUNT)]


@pytest.fixture(scope="module")
def records(trials, make_record) -> dict[str, TrialRecord]:
    found = {trial.id: make_record(trial, (30.0 + seed / 7, 20.0, seed)) for seed, trial in enumerate(trials)}
    return found | {trials[5].id: make_record(trials[5], None)}


def write(ledger: Ledger, record: TrialRecord, *, age: float = 3600) -> Path:
    path = ledger.folder(record.trial_id) / "result.json"
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(record)))
    os.utime(temporary, (time.time() - age,) * 2)
    temporary.replace(path)
    return path


@pytest.fixture
def filled(ledger, records) -> Ledger:
    """All trials ended an hour ago; nothing is indexed."""
    for record in records.values():
        write(ledger, record)
    return ledger


@pytest.fixture
def indexed(filled, records) -> Ledger:
    assert filled.records(records) == records
    assert file(filled).is_file()
    return filled


def file(ledger: Ledger) -> Path:
    return ledger.storage / "index.bin"


def better(record: TrialRecord) -> TrialRecord:
    """Another one, as long as JSON."""
    return replace(record, result=replace(record.result, device="gpu"))


# What it is for


def test_many_are_as_each_alone(filled, records) -> None:
    for _ in range(3):  # without an index, and with one
        found = filled.records(records)
        assert found == {name: filled.record(name) for name in records} == records
        assert list(found) == list(records)


def test_some_of_an_index_are_read_in_the_order_asked_for(indexed, records) -> None:
    names = list(records)[::-1][: FEW + 1]
    assert list(indexed.records(names).items()) == [(name, records[name]) for name in names]


def test_what_has_not_changed_is_not_read_again(indexed, records) -> None:
    for name in records:
        path = indexed.folder(name) / "result.json"
        status = path.stat()
        path.write_bytes(b"x" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert indexed.records(records) == records


def test_the_records_of_an_index_can_be_written_as_json(indexed, records) -> None:
    for name, record in indexed.records(records).items():
        assert json.dumps(record.config) == json.dumps(records[name].config)
        assert json.dumps(record.provenance) == json.dumps(records[name].provenance)


def test_a_few_trials_need_no_index(ledger, records) -> None:
    some = dict(list(records.items())[:FEW])
    for record in some.values():
        write(ledger, record)
    assert ledger.records(some) == some
    assert not file(ledger).exists()


def test_a_few_new_trials_are_read_beside_the_index(filled, records) -> None:
    names = list(records)
    late = names[-20:]
    shutil.rmtree(filled.folder(late[0]))
    filled.records(names)
    before = file(filled).read_bytes()
    write(filled, records[late[0]])
    assert filled.records(names) == records
    assert file(filled).read_bytes() == before


def test_what_changed_a_moment_ago_is_not_indexed_yet(ledger, records) -> None:
    for record in records.values():
        write(ledger, record, age=0)
    assert ledger.records(records) == records
    assert not file(ledger).exists()


# Whatever becomes of the results


def by_rename(ledger: Ledger, record: TrialRecord) -> None:
    write(ledger, record)


def with_the_same_time(ledger: Ledger, record: TrialRecord) -> None:
    status = (ledger.folder(record.trial_id) / "result.json").stat()
    path = write(ledger, record)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def in_place(ledger: Ledger, record: TrialRecord) -> None:
    (ledger.folder(record.trial_id) / "result.json").write_text(json.dumps(asdict(record)))


@pytest.mark.parametrize("change", [by_rename, with_the_same_time, in_place])
def test_a_changed_result_is_read_again(indexed, records, change: Callable[[Ledger, TrialRecord], None]) -> None:
    name = list(records)[7]
    changed = better(records[name])
    change(indexed, changed)
    for _ in range(2):
        assert indexed.records(records) == records | {name: changed}


def test_a_deleted_trial_does_not_come_back(indexed, records) -> None:
    names = list(records)
    shutil.rmtree(indexed.folder(names[0]))
    (indexed.folder(names[1]) / "result.json").unlink()
    left = {name: records[name] for name in names[2:]}
    assert indexed.records(names) == left
    for record in left.values():
        write(indexed, record)  # all changed: the index is made anew
    assert indexed.records(names) == left
    shutil.rmtree(indexed.folder(names[2]))
    assert names[2] not in indexed.records(names)


def test_trials_of_other_sweeps_stay_in_the_index(indexed, records, make_trial, make_record) -> None:
    others = [make_trial(seed=1000 + seed) for seed in range(COUNT)]
    new = {trial.id: make_record(trial, (3.0, 2.0, 1.0)) for trial in others}
    for record in new.values():
        write(indexed, record)
    assert indexed.records(new) == new
    stamps = indexed._stamps(records | new)
    assert Index(LocalFolder(indexed.local), "index.bin").records(stamps) == records | new


def test_an_index_of_before_is_no_harm(indexed, records) -> None:
    old = file(indexed).read_bytes()
    names = list(records)
    changed = {name: better(records[name]) if place % 2 else records[name] for place, name in enumerate(names)}
    for record in changed.values():
        write(indexed, record)
    shutil.rmtree(indexed.folder(names[3]))
    del changed[names[3]]
    file(indexed).write_bytes(old)
    assert indexed.records(names) == changed


def test_a_damaged_result_is_not_indexed(filled, records, caplog) -> None:
    name = list(records)[9]
    (filled.folder(name) / "result.json").write_bytes(b"{")
    left = {other: record for other, record in records.items() if other != name}
    for _ in range(2):
        caplog.clear()
        assert filled.records(records) == left
        assert f"{name}/result.json is damaged" in caplog.text


# Whatever becomes of the index


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_index_is_as_good_as_none(indexed, records, seed) -> None:
    rng, whole = random.Random(seed), file(indexed).read_bytes()
    for _ in range(10):
        damaged = bytearray(whole)
        match rng.randrange(3):
            case 0:
                damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            case 1:
                del damaged[rng.randrange(len(whole)) :]
            case 2:
                start = rng.randrange(len(whole))
                damaged[start : start + rng.randrange(1, 2000)] = rng.randbytes(rng.randrange(2000))
        file(indexed).write_bytes(damaged)
        assert indexed.records(records) == records


@pytest.mark.parametrize("content", [b"", b"ARROW1", bytes(100)])
def test_a_file_that_is_no_index_is_replaced(filled, records, content) -> None:
    file(filled).write_bytes(content)
    assert filled.records(records) == records
    assert len(file(filled).read_bytes()) > 1000


def test_an_index_of_another_version_is_not_used(filled, records, monkeypatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(index, "VERSION", "0 errors")
        filled.records(records)
    before = file(filled).read_bytes()
    assert filled.records(records) == records
    assert file(filled).read_bytes() != before


def test_a_storage_that_cannot_be_written_is_read(filled, records) -> None:
    file(filled).mkdir()
    for _ in range(2):
        assert filled.records(records) == records
    assert sorted(path.name for path in filled.storage.iterdir()) == ["id", "index.bin", "sweeps", "trials"]


def test_a_record_that_the_index_cannot_hold_is_read_from_its_file(filled, records) -> None:
    name = list(records)[11]
    odd = replace(records[name], provenance={"note": "x" * 2**15})
    write(filled, odd)
    for _ in range(2):
        assert filled.records(records) == records | {name: odd}


def test_whatever_a_version_may_write_comes_back(tmp_path, records, trials) -> None:
    first, second, third = (records[trial.id] for trial in trials[:3])
    odd = {
        record.trial_id: record
        for record in (
            replace(first, attempts=2**62),
            replace(second, provenance={"seconds": 1e300, "list": [[], {}], "none": None, "text": "\ud800 ü\n"}),
            replace(third, result=replace(third.result, seconds=-0.0, steps=2**60)),
        )
    }
    stamps = {name: (2**62 - place, place, 2**64 - 1 - place) for place, name in enumerate(odd)}
    place = LocalFolder(tmp_path), "index.bin"
    Index(*place).update({name: IndexEntry(stamps[name], odd[name]) for name in odd}, existing=odd)
    assert Index(*place).records(stamps) == odd
    assert Index(*place).records(dict.fromkeys(odd, (1, 2, 3))) == {}


PROCESS = """
import json, sys
from pathlib import Path
from orchestrator.ledger.ledger import Ledger

ledger, names = Ledger(Path(sys.argv[1])), json.loads(Path(sys.argv[2]).read_text())
for turn in range(20):
    found = ledger.records(names)
    assert list(found) == names and all(found[name].trial_id == name for name in names), turn
    if turn % 2:
        (ledger.storage / "index.bin").unlink(missing_ok=True)
"""


def test_two_processes_may_write_it_at_once(filled, records, tmp_path) -> None:
    (tmp_path / "names.json").write_text(json.dumps(list(records)))
    command = [sys.executable, "-c", PROCESS, str(filled.storage), str(tmp_path / "names.json")]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert filled.records(records) == records
    assert Index(LocalFolder(filled.local), "index.bin").records(filled._stamps(records)) == records
    assert sorted(path.name for path in filled.storage.iterdir()) == ["id", "index.bin", "sweeps", "trials"]


# Where trials stand


def test_where_many_stand_is_where_each_stands(indexed, trials, make_trial) -> None:
    began, failed, never, again = (make_trial(seed=2000 + seed) for seed in range(4))
    indexed.begin(began)
    indexed.fail(indexed.begin(failed), "no memory", "")
    indexed.fail(indexed.begin(again), "no memory", "")
    indexed.begin(again)
    names = [trial.id for trial in (began, *trials, failed, never, again)]
    standings = indexed.standings(names)
    assert standings == {name: indexed.standing(name) for name in names}
    assert list(standings) == names
    told = [(found.state, found.attempts, found.failure) for found in map(standings.get, names[:1] + names[-3:])]
    assert told == [
        (TrialState.INTERRUPTED, 1, None),
        (TrialState.FAILED, 1, "no memory"),
        (TrialState.PENDING, 0, None),
        (TrialState.INTERRUPTED, 2, None),
    ]
    assert standings[trials[5].id].state is TrialState.DIVERGED


def test_nothing_is_made_where_there_is_no_storage(tmp_path, records) -> None:
    ledger = Ledger(tmp_path / "none")
    assert ledger.records(records) == {}
    assert {found.state for found in ledger.standings(records).values()} == {TrialState.PENDING}
    assert not ledger.storage.exists()


# Whoever wrote it


def resealed(ledger: Ledger, plain: bytes) -> None:
    payload = zlib.compress(plain, 1)
    file(ledger).write_bytes(payload + hashlib.sha256(payload).digest())


@pytest.mark.parametrize("seed", range(4))
def test_an_index_that_somebody_made_is_right_or_not_used(indexed, records, seed) -> None:
    """What it says nobody can check, but it is what readers rely on."""
    rng, whole = random.Random(seed), index._unpacked(file(indexed).read_bytes())
    head = whole.index(b"}", whole.index(b'"shared"'))
    for _ in range(25):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 5))):
            place = rng.randrange(rng.choice((8, head, len(whole))))
            damaged[place] = rng.choice((0, 127, 128, 255, rng.randrange(256)))
        resealed(indexed, bytes(damaged))
        found = indexed.records(records)
        assert list(found) == list(records)
        for name, record in found.items():
            assert len(record.result.errors) == len(records[name].result.errors)
            assert all(map(math.isfinite, (*record.result.errors, record.result.seconds)))
            assert isinstance(record.config["data"]["name"], str)


@pytest.mark.parametrize(
    "plain", [b"", b"\xff" * 16, bytes(2**29 + 2**20), (2**62).to_bytes(8, sys.byteorder) + b"{}", b"[" * 10**6]
)
def test_an_index_of_nothing_is_not_used(plain, indexed, records) -> None:
    resealed(indexed, plain)
    assert indexed.records(records) == records


def test_an_index_of_an_earlier_version_is_made_anew(indexed, records) -> None:
    """It was a table of Arrow's, which is no longer opened."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema({"trial_id": pa.string()})) as writer:
        writer.write_table(pa.table({"trial_id": ["a"]}))
    payload = sink.getvalue().to_pybytes()
    file(indexed).write_bytes(payload + hashlib.sha256(payload).digest())
    for _ in range(2):
        assert indexed.records(records) == records
    assert index._unpacked(file(indexed).read_bytes())
