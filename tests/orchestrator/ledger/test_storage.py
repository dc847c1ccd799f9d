"""The same ledger in a folder and in a bucket of a real S3 server process; locks, and leases where there are none."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from halves import contents
from s3_server import CREDENTIALS, s3_server

from anytime_core.files import UnfitFileError
from anytime_core.trained import load_network
from anytime_core.training import checkpoint
from anytime_core.training.checkpoint import Checkpoint
from anytime_core.training.trainer import train
from orchestrator.errors import HeldError, StorageError, UsageError
from orchestrator.execution import cleaning
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.ledger import checksummed, lock, notes
from orchestrator.ledger.bringing import Fate, bring, source_at
from orchestrator.ledger.guarantees_file import Calibration
from orchestrator.ledger.ledger import Ledger, SupersededError
from orchestrator.ledger.lock import Pace, TakenError
from orchestrator.ledger.storage import Location, Storage, beneath, checked, local_folder, storage_at
from orchestrator.stats.outcomes.guarantees import Guarantee
from orchestrator.sweep.trial import TrialState

REPOSITORY = Path(__file__).parents[3]
QUICK = Pace(renew=0.1, expires=1.0, settle=0.1)


@pytest.fixture(autouse=True)
def _heeds_ctrl_c() -> Iterator[None]:
    """What runs in the background of a shell may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, s3_server() as options:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield options


@pytest.fixture
def bucket(server, tmp_path, monkeypatch) -> str:
    """A prefix of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"s3://bucket/{uuid4().hex}/runs{server}"


@pytest.fixture(params=["folder", "bucket"])
def location(request, tmp_path) -> Location:
    return tmp_path / "runs" if request.param == "folder" else str(request.getfixturevalue("bucket"))


@pytest.fixture
def storage(location) -> Storage:
    made = storage_at(location)
    made.make()
    return made


# Files


def test_trials_are_brought_from_there_and_to_there(location: Location, first: Ledger, tmp_path: Path) -> None:
    there, back = Ledger(location), Ledger(tmp_path / "back")
    for source, target in ((first, there), (there, back)):
        found = bring(source_at(source.storage, target), target, sorted(first.begun()))
        assert [each.fate for each in found] == [Fate.COPIED, Fate.COPIED]
    sent, arrived = (contents(ledger.local / "trials") for ledger in (first, back))
    assert {name for name in sent if sent[name] != arrived[name]} == {f"{name}/attempt.json" for name in first.begun()}


def test_what_is_written_is_read_back(storage) -> None:
    for content in (b"", b"one", os.urandom(7_000_000), b"two"):
        storage.write("trials/a/file", content)
        assert storage.read("trials/a/file") == content
    assert storage.exists("trials/a/file")
    assert storage.exists()
    assert storage.address("trials/a/file").endswith("/runs/trials/a/file")


def test_what_is_not_there_is_told(storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read("trials/a/file")
    assert not storage.exists("trials/a/file")
    assert storage.names("trials") == []
    assert storage.stamps(["trials/a/file"]) == {}
    storage.delete("trials/a/file")


def test_a_folder_lists_what_is_directly_in_it(storage) -> None:
    for name in ("trials/a/one", "trials/a/deeper/two", "trials/b/three", "trialsome"):
        storage.write(name, b"")
    assert sorted(storage.names("trials")) == ["a", "b"]
    assert sorted(storage.names("trials/a")) == ["deeper", "one"]
    assert sorted(storage.below("trials/a").names()) == ["deeper", "one"]
    assert storage.below("trials").below("a").read("one") == b""
    storage.delete("trials/b/three")
    assert storage.names("trials/b") == []


def test_all_below_a_name_is_walked_and_cleared_and_nothing_beside_it(storage) -> None:
    inside = {
        f"trials/a/{name}": b"x" * size for name, size in (("one", 1), ("deeper/two", 2), ("deeper/still/three", 3))
    }
    for name, content in {**inside, "trials/b/other": b"", "trials/ab": b""}.items():
        storage.write(name, content)
    assert {name: size for name, (_, size, _) in storage.walk("trials/a").items()} == {
        name: len(content) for name, content in inside.items()
    }
    storage.clear("trials/a")
    storage.clear("trials/none")
    assert storage.walk("trials/a") == storage.walk("trials/none") == {}
    assert sorted(storage.names("trials")) == ["ab", "b"]
    assert storage.exists("trials/b/other")


def test_what_no_sweep_needs_goes_from_a_folder_and_from_a_bucket(location, make_trial, make_record) -> None:
    ledger, (needed, other) = Ledger(location), (make_trial(seed=seed) for seed in (0, 1))
    ledger.make()
    for trial in (needed, other):
        ledger.finish(ledger.begin(trial, "small"), make_record(trial, (3.0, 2.0, 1.0)))
    ledger.write_trials("small", [needed.id])
    notes.add(ledger, "trials", other.id, "odd")
    settings = cleaning.CleaningSettings(tracking_uri="sqlite:////nowhere/mlflow.db")
    cleaned = cleaning.clean(ledger, settings)
    assert ([item.name for item in cleaned.items], cleaned.troubles) == ([f"trials/{other.id}"], ())
    assert cleaned.items[0].size > 500
    assert (set(ledger.begun()), notes.read(ledger, "trials", [other.id])) == ({needed.id}, {})
    assert ledger.record(needed.id) is not None


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (Path("runs"), Path("runs/reruns")),
        ("s3://bucket/a/runs/?region=x&scheme=http", "s3://bucket/a/runs/reruns?region=x&scheme=http"),
        ("s3://bucket", "s3://bucket/reruns"),
    ],
)
def test_a_storage_beneath_another_has_its_options(location, expected) -> None:
    assert beneath(location, "reruns") == expected


def test_a_renamed_file_is_under_its_new_name_alone(storage) -> None:
    storage.write("a/old", b"content")
    storage.rename("a/old", "a/new")
    assert storage.names("a") == ["new"]
    assert storage.read("a/new") == b"content"


@pytest.mark.parametrize("count", [1, 100])
def test_a_stamp_tells_a_changed_file(storage, count) -> None:
    names = [f"trials/{index}/result.json" for index in range(count)]
    for name in names:
        storage.write(name, b"one")
    before = storage.stamps([*names, "trials/none/result.json"])
    assert before.keys() == set(names)
    storage.write(names[0], b"another")
    after = storage.stamps(names)
    assert {name for name in names if before[name] != after[name]} == {names[0]}


def test_many_are_read_in_their_order(storage) -> None:
    names = [f"file{index}" for index in range(30)]
    for name in names:
        storage.write(name, name.encode())
    assert list(storage.each(storage.read, names)) == [name.encode() for name in names]


def test_a_guard_forbids_a_write(storage) -> None:
    def forbid() -> nullcontext:
        raise SupersededError

    storage.write("file", b"old")
    with pytest.raises(SupersededError):
        storage.write("file", b"new", forbid)
    assert storage.read("file", 1 << 25) == b"old"
    assert storage.names() == ["file"]


def test_an_interrupted_write_leaves_no_half_of_a_file(bucket, monkeypatch) -> None:
    """A stream that ctrl-C ends would be closed, and keep what it has."""
    storage = storage_at(bucket)
    storage.write("file", b"old")
    content = os.urandom(30_000_000)
    timer = threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        timer.start()
        while True:
            storage.write("file", content)
    except KeyboardInterrupt:
        pass
    assert storage.read("file", 1 << 25) in (b"old", content)


# Where it is


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "allowed: a folder, or s3://BUCKET/PREFIX"),
        ("s3://", "must name a bucket"),
        ("s3:///prefix", "must name a bucket"),
        ("gs://bucket", "allowed: a folder, or s3://BUCKET/PREFIX"),
        ("s3://bucket/x?regoin=a&scheme=http", "unknown option regoin; allowed: endpoint_override, region"),
        ("s3://key:secret@bucket/x", "set AWS_ACCESS_KEY_ID"),
        ("s3://bucket/x?endpoint_override=http://key:secret@host", "set AWS_ACCESS_KEY_ID"),
        ("s3://bucket/a b", "must not contain # or blanks"),
    ],
)
def test_an_address_that_cannot_be_is_refused_without_its_secrets(address, said) -> None:
    with pytest.raises(UsageError, match=said.replace("?", r"\?")) as caught:
        checked(address)
    assert "secret" not in str(caught.value)


def test_a_path_is_a_path(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert checked("runs") == Path("runs")
    assert storage_at("runs").location == storage_at("runs").local == tmp_path / "runs"
    assert not storage_at("runs").exists()


def test_two_stores_do_not_share_the_files_on_this_machine() -> None:
    places = [
        *("s3://bucket/a", "s3://bucket/b", "s3://other/a"),
        *("s3://bucket/a?endpoint_override=http://one", "s3://bucket/a?endpoint_override=http://two"),
    ]
    assert len({local_folder(place) for place in places}) == len(places)
    assert local_folder("s3://bucket/a?region=x") == local_folder("s3://bucket/a/")


def test_a_bucket_that_is_not_there_and_a_store_that_is_down_are_told(server) -> None:
    with pytest.raises(StorageError, match=r"storage cannot be written: .*bucket does not exist") as caught:
        Ledger(f"s3://nobucket/runs{server}").make()
    assert "\n" not in str(caught.value)
    down = Ledger("s3://bucket/runs?endpoint_override=http://127.0.0.1:9&region=us-east-1")
    with pytest.raises(StorageError, match=r"s3://bucket/runs/trials/a/result.json: cannot be read: .*not connect"):
        down.record("a")


def test_a_ledger_imports_no_pyarrow_for_a_folder(tmp_path) -> None:
    code = (
        "import sys; from orchestrator.ledger.ledger import Ledger; "
        f"Ledger({str(tmp_path)!r}).make(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "orchestrator.ledger.ledger" in done.stdout.split()
    assert not {"pyarrow", "torch", "ray", "mlflow"} & set(done.stdout.split())


# The ledger


@pytest.fixture
def ledger(location) -> Ledger:
    made = Ledger(location)
    made.make()
    return made


def test_a_trial_goes_from_state_to_state(ledger, make_trial, make_record, make_epochs) -> None:
    trial = make_trial()
    record = make_record(trial, (30.5, 20.25, 10.125))
    assert ledger.state(trial.id) is TrialState.PENDING
    late, attempt = ledger.begin(trial), ledger.begin(trial)
    assert ledger.state(trial.id) is TrialState.INTERRUPTED
    ledger.write_epochs(attempt, (1, 2, 3), (10, 20, 30), make_epochs(2, 3))
    ledger.fail(attempt, "no memory", "Traceback")
    assert ledger.standings([trial.id])[trial.id].failure == "no memory"
    for step in (22, 44):
        checkpoint.save(ledger.checkpoints(trial.id), step, Checkpoint({}, {"step": step}))
    assert ledger.step(trial.id) == 44
    with pytest.raises(SupersededError):
        ledger.finish(late, record)
    attempt = ledger.begin(trial)
    assert (ledger.log(trial.id), ledger.log_size(trial.id)) == ("", None)
    ledger.write_log(attempt, b"one\n")
    ledger.write_log(attempt, b"one\ntwo\n")
    assert (ledger.log(trial.id), ledger.log_size(trial.id)) == ("one\ntwo\n", 8)
    ledger.finish(attempt, record)
    assert ledger.record(trial.id) == record
    assert ledger.records([trial.id, "another"]) == {trial.id: record}
    assert ledger.epochs(trial.id) == make_epochs(2, 3)
    assert [found.meta["step"] for found in checkpoint.valid(ledger.checkpoints(trial.id))] == [44]
    assert set(ledger.files(trial.id)) == {
        *("config.json", "result.json", "metrics.parquet", "failure.json", "log.txt", "checkpoint")
    }
    assert (Ledger(ledger.storage).attempts(trial.id), ledger.exists()) == (3, True)


def test_many_results_are_read_by_the_index(ledger, make_trial, make_record, monkeypatch) -> None:
    monkeypatch.setattr("orchestrator.ledger.trials.FEW", 2)
    monkeypatch.setattr("orchestrator.ledger.trials.SETTLED", -10_000_000_000)
    trials = [make_trial(seed=seed) for seed in range(4)]
    records = {trial.id: make_record(trial, (3.0, 2.0, 1.0 + trial.config.seed)) for trial in trials}
    for trial in trials:
        ledger.finish(ledger.begin(trial), records[trial.id])
    assert ledger.records(records) == records
    monkeypatch.setattr(Ledger, "record", pytest.fail)
    assert Ledger(ledger.storage).records(records) == records


def test_an_interrupted_trial_goes_on_to_the_same_bits(ledger, make_trial, tmp_path) -> None:
    trial = make_trial()
    where = WorkerContext(storage=ledger.storage, data_root=tmp_path / "data")
    direct = train(trial.config, device="cpu", threads=1)

    def interrupt(epochs: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, where, interrupt)
    assert ledger.step(trial.id) == 22
    run_trial(trial, where, lambda epochs: None)
    record = ledger.record(trial.id)
    assert record is not None
    assert record.result.errors == direct.errors
    assert record.attempts == 2
    assert "resumed_elsewhere" not in record.provenance
    assert load_network(ledger.checkpoints(trial.id)).predicting_units == (1, 2, 3)


def test_going_on_with_other_threads_is_noted(ledger, make_trial, tmp_path) -> None:
    trial = make_trial()
    where = WorkerContext(storage=ledger.storage, data_root=tmp_path / "data")

    def interrupt(epochs: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(trial, where, interrupt)
    run_trial(replace(trial, resources=replace(trial.resources, cpus=2)), where, lambda epochs: None)
    record = ledger.record(trial.id)
    assert record is not None
    assert record.provenance["resumed_elsewhere"] == "cpu, 1 thread; cpu, 2 threads"


def test_guarantees_live_in_a_folder_and_in_a_bucket_alike(ledger) -> None:
    found = Guarantee(threshold=0.75, loss="lost", risk=0.02, delta=None, losses=3, allowed=4, n=250)
    kept = [Calibration(split="validation", guarantee=replace(found, delta=delta)) for delta in (None, 0.1)]
    for each in (*kept, kept[0]):
        ledger.keep_guarantee("ab12", "network", each)
    assert ledger.guarantees("ab12").calibrations == (kept[1], kept[0])
    assert [*ledger.files("ab12")] == ["guarantees.json"]


def test_what_others_are_to_see_is_published(ledger) -> None:
    folder = ledger.sweep_folder("small") / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "report.html").write_text("a report")
    (folder / "figures" / "cost.svg").write_text("a figure")
    place = ledger.publish(folder)
    assert place.endswith("/runs/sweeps/small/report")
    published = storage_at(ledger.storage)
    assert published.read("sweeps/small/report/report.html") == b"a report"
    assert published.read("sweeps/small/report/figures/cost.svg") == b"a figure"


# Whoever else can write to the storage

DAMAGED = (b"", b"{", b"[" * 10**6, b"1e999", b"\xff\xfe", b'{"a": 1, "a": 1}', b"[]", bytes(9_000_000))
PLACES = ("result.json", "attempt.json", "metrics.parquet", "checkpoints/step-000000044.ckpt")


@pytest.mark.parametrize("name", PLACES)
def test_whatever_lies_in_the_place_of_a_file_is_damaged(name, location, make_trial, make_record, caplog) -> None:
    ledger, trial = Ledger(location), make_trial()
    ledger.make()
    ledger.begin(trial)
    path = f"trials/{trial.id}/{name}"
    for content in DAMAGED:
        storage_at(location).write(path, content)
        caplog.clear()
        assert ledger.record(trial.id) is None
        assert ledger.epochs(trial.id) == []
        assert ledger.attempts(trial.id) == (name != "attempt.json")
        assert checkpoint.latest(ledger.checkpoints(trial.id)) is None
        assert "damaged" in caplog.text


def test_what_is_too_large_is_not_fetched(storage) -> None:
    storage.write("file", bytes(1000))
    with pytest.raises(UnfitFileError, match="is 1000 bytes long, of at most 999"):
        storage.read("file", 999)
    assert storage.read("file", 1000) == bytes(1000)


def test_an_index_that_somebody_spoilt_is_not_used(location, make_trial, make_record, monkeypatch) -> None:
    monkeypatch.setattr("orchestrator.ledger.trials.FEW", 1)
    monkeypatch.setattr("orchestrator.ledger.trials.SETTLED", -(10**10))
    ledger = Ledger(location)
    ledger.make()
    trials = [make_trial(seed=seed) for seed in range(3)]
    records = {trial.id: make_record(trial, (3.0, 2.0, 1.0)) for trial in trials}
    for trial in trials:
        ledger.finish(ledger.begin(trial), records[trial.id])
    for content in DAMAGED:
        storage_at(location).write("index.bin", content)
        assert ledger.records(records) == records


# One driver at a time

HOLDER = """
import sys, time
from orchestrator.ledger import lock
from orchestrator.ledger.ledger import Ledger

lock.PACE = lock.Pace(renew=0.1, expires=1.0, settle=0.1)
with Ledger(sys.argv[1]).drive("small"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["lock", "lease on a shared folder", "lease in a bucket"])
def driven(request, tmp_path, monkeypatch) -> Ledger:
    monkeypatch.setattr(lock, "PACE", QUICK)
    if request.param == "lease on a shared folder":

        def unsupported(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", unsupported)
    made = Ledger(request.getfixturevalue("bucket") if "bucket" in request.param else tmp_path / "runs")
    made.make()
    return made


def test_a_sweep_has_one_driver_and_is_free_after_it(driven) -> None:
    assert driven.driver("small") is None
    for _ in range(2):
        with driven.drive("small") as folder:
            assert folder.is_dir()
            driver = driven.driver("small")
            assert driver is not None
            assert driver.pid == os.getpid()
            with pytest.raises(HeldError, match=f"already being run by process {os.getpid()}"), driven.drive("small"):
                pass
            with driven.drive("another"):
                pass
        assert driven.driver("small") is None


def test_an_error_of_the_sweep_itself_is_not_one_of_its_storage(driven) -> None:
    with pytest.raises(OSError, match="of the sweep"), driven.drive("small"):
        raise OSError(errno.EIO, "of the sweep")
    assert driven.driver("small") is None


def test_a_killed_driver_of_this_machine_is_known_to_be_dead(bucket, monkeypatch, caplog) -> None:
    monkeypatch.setattr(lock, "PACE", QUICK)
    ledger = Ledger(bucket)
    command = [sys.executable, "-c", HOLDER, bucket]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            driver = ledger.driver("small")
            assert driver is not None
            assert driver.pid == holder.pid
            with pytest.raises(HeldError, match=f"run by process {holder.pid} on "), ledger.drive("small"):
                pass
        finally:
            holder.kill()
            holder.wait()
    assert ledger.driver("small") is None
    caplog.clear()
    with ledger.drive("small"):
        assert "to see whether" not in caplog.text


def test_a_moment_is_had_alone_where_there_are_locks_and_elsewhere_too(driven, request) -> None:
    storage, inside = storage_at(driven.storage), []
    storage.write("trials/a/file", b"")
    with lock.alone(storage, "trials/a/lock", 10):
        started = threading.Thread(target=lambda: _enter(storage, inside))
        started.start()
        started.join(0.3)
        assert inside == ([] if request.node.callspec.params["driven"] == "lock" else [True])
    started.join()
    assert inside == [True]


def _enter(storage: Storage, inside: list[bool]) -> None:
    with lock.alone(storage, "trials/a/lock", 10):
        inside.append(True)


def lease(**values: object) -> bytes:
    said = {"host": "elsewhere", "pid": 3, "since": "2020-01-01T00:00:00+00:00"}
    mine = {"token": "another", "beat": 1, "machine": "another", "process": 3, "renewed": time.time()}
    return checksummed.pack(said | mine | values)


@pytest.mark.parametrize("driven", ["lease on a shared folder", "lease in a bucket"], indirect=True)
def test_a_lease_of_another_machine_is_taken_once_it_has_not_changed_for_long_enough(driven, caplog) -> None:
    name, storage = "sweeps/small/driver.json", storage_at(driven.storage)
    storage.write(name, lease())
    assert str(driven.driver("small")) == "process 3 on elsewhere since 2020-01-01T00:00:00+00:00"
    began = time.monotonic()
    with driven.drive("small"):
        waited = time.monotonic() - began
        driver = driven.driver("small")
        assert driver is not None
        assert driver.pid == os.getpid()
    assert waited >= QUICK.expires
    assert "waiting for up to 1 s to see whether process 3 on elsewhere is alive" in caplog.text


def test_a_damaged_lease_is_taken_in_the_end(bucket, monkeypatch) -> None:
    monkeypatch.setattr(lock, "PACE", QUICK)
    storage_at(bucket).write("sweeps/small/driver.json", b"{")
    assert Ledger(bucket).driver("small") is None
    with Ledger(bucket).drive("small"):
        pass


def test_a_lease_of_another_machine_that_was_given_up_long_ago_is_not_shown(bucket) -> None:
    storage_at(bucket).write("sweeps/small/driver.json", lease(renewed=time.time() - 3600))
    assert Ledger(bucket).driver("small") is None


def test_whose_lease_is_taken_is_interrupted_and_told_by_whom(bucket, monkeypatch) -> None:
    monkeypatch.setattr(lock, "PACE", QUICK)
    storage, interrupted = storage_at(bucket), []

    def drive() -> None:
        with Ledger(bucket).drive("small"):
            try:
                storage.write("sweeps/small/driver.json", lease())
                time.sleep(60)
            except KeyboardInterrupt:
                interrupted.append(True)

    with pytest.raises(HeldError, match="already being run by process 3 on elsewhere"):
        drive()
    assert interrupted
    assert checksummed.unpack(storage.read("sweeps/small/driver.json"))["token"] == "another"


def test_of_several_that_take_a_lease_at_once_one_has_it(bucket, monkeypatch) -> None:
    """In two rounds, so that a lease that never was and one that was given up are both fought for. A second holder is
    only noted: it would interrupt this process, which runs other tests too."""
    interrupts: list[bool] = []
    monkeypatch.setattr(lock, "_interrupt", lambda: interrupts.append(True))
    storage, pace = storage_at(bucket), replace(QUICK, settle=1.5, expires=10.0)
    for _ in range(2):
        assert len(_fight(storage, pace, 5)) == 1
    assert not interrupts


def _fight(storage: Storage, pace: Pace, takers: int) -> list[int]:
    """Who has the lease, of several that take it at once; given back when all know."""
    held, together = [], threading.Barrier(takers)

    def take(number: int) -> None:
        with suppress(TakenError), ExitStack() as stack:
            together.wait()
            try:
                stack.enter_context(lock._leased(storage, "lease", {"host": str(number)}, pace))
                held.append(number)
            finally:
                together.wait()

    threads = [threading.Thread(target=take, args=(number,)) for number in range(takers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return held


@pytest.mark.parametrize("prefix", ["läufe/größe", "%6Caufe", "実験", "a+b/c&d"])
def test_a_prefix_may_hold_any_letter(bucket, prefix) -> None:
    storage = storage_at(bucket.replace("/runs", f"/{prefix}"))
    storage.write("folder/file", b"content")
    assert storage.read("folder/file") == b"content"
    assert storage.names("folder") == ["file"]
    assert storage.stamps(["folder/file"]).keys() == {"folder/file"}
