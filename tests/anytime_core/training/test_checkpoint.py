"""A checkpoint is read back as it was written or not at all, whatever happened to the files and their writer."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import math
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anytime_core import files
from anytime_core.files import write_atomically
from anytime_core.training import checkpoint
from anytime_core.training.checkpoint import Checkpoint, latest, latest_step, pack, save, unpack, valid

REPOSITORY = Path(__file__).parents[3]


def content(step: int) -> Checkpoint:
    rng = np.random.default_rng(step)
    arrays = {
        "network/weight": rng.random((3, 2, 5), dtype=np.float32),
        "network/count": np.array(step),
        "empty": np.zeros((0, 3)),
    }
    return Checkpoint(arrays, {"step": step, "name": "näme", "nested": [1, {"a": None}]})


def assert_same(found: Checkpoint | None, expected: Checkpoint) -> None:
    assert found is not None
    assert found.meta == expected.meta
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


def path_of(folder: Path, step: int) -> Path:
    return folder / f"step-{step:09d}.ckpt"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sealed(payload: bytes) -> bytes:
    """With a right checksum, as a forger would write it."""
    return payload + hashlib.sha256(payload).digest()


# What is written


def test_what_is_saved_is_read_back(tmp_path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    save(folder, 10, content(10))
    assert names(folder) == [path_of(folder, 10).name]
    assert_same(latest(folder), content(10))


def test_the_losses_of_a_diverged_trial_are_read_back() -> None:
    losses = unpack(pack(Checkpoint({}, {"loss": [math.nan, math.inf, -math.inf, 1e300]}))).meta["loss"]
    assert math.isnan(losses[0])
    assert losses[1:] == [math.inf, -math.inf, 1e300]


def test_the_two_newest_are_kept(tmp_path) -> None:
    for step in (5, 10, 999_999_999, 1_000_000_000, 10_000_000_000):
        save(tmp_path, step, content(step))
    assert latest_step(tmp_path) == 10_000_000_000
    assert names(tmp_path) == ["step-1000000000.ckpt", "step-10000000000.ckpt"]


def test_a_folder_without_checkpoints_has_none(tmp_path) -> None:
    assert latest(tmp_path) is latest_step(tmp_path) is latest(tmp_path / "no folder") is None
    for name in ("step-abc.ckpt", "step-000000001.ckpt.bak", "steps.txt"):
        (tmp_path / name).write_bytes(pack(content(1)))
    assert latest(tmp_path) is latest_step(tmp_path) is None
    save(tmp_path, 2, content(2))
    assert len(names(tmp_path)) == 4


# Damage


def test_a_file_cut_short_anywhere_is_refused() -> None:
    whole = pack(content(1))
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r".+"):
            unpack(whole[:length])
    assert_same(unpack(whole), content(1))


def test_a_flipped_bit_anywhere_is_refused() -> None:
    whole, rng = pack(content(1)), random.Random(0)
    for offset in range(len(whole)):
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << rng.randrange(8)
        with pytest.raises(ValueError, match="checksum does not match"):
            unpack(bytes(damaged))


def cut(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size))


def flip(path: Path, rng: random.Random) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)


def lengthen(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(1 + rng.randrange(40)))


def empty(path: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def zero(path: Path, rng: random.Random) -> None:
    """As some file systems leave a file after a power failure: its length without its content."""
    path.write_bytes(bytes(path.stat().st_size))


def misplace(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, flip, lengthen, empty, zero, misplace])
@pytest.mark.parametrize("seed", range(5))
def test_the_one_before_stands_in_for_a_damaged_one(damage, seed, tmp_path, caplog) -> None:
    for step in (10, 20):
        save(tmp_path, step, content(step))
    damage(path_of(tmp_path, 20), random.Random(seed))
    with caplog.at_level(logging.WARNING):
        assert_same(latest(tmp_path), content(10))
    assert str(path_of(tmp_path, 20)) in caplog.text
    assert latest_step(tmp_path) == 20  # by its name


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_where_both_are_damaged_there_is_none_and_a_new_start_is_kept(damage, tmp_path) -> None:
    for step in (10, 20):
        save(tmp_path, step, content(step))
        damage(path_of(tmp_path, step), random.Random(1))
    assert latest(tmp_path) is None
    save(tmp_path, 5, content(5))
    assert_same(latest(tmp_path), content(5))
    assert latest_step(tmp_path) == 5
    save(tmp_path, 10, content(10))
    assert [found.meta["step"] for found in valid(tmp_path)] == [10, 5]


def test_a_file_that_cannot_be_read_now_is_not_taken_for_damaged(tmp_path, monkeypatch) -> None:
    """Else a store that does not answer for a while would cost a trial all that it has."""
    for step in (10, 20):
        save(tmp_path, step, content(step))

    def no_answer(*_: object) -> bytes:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    with monkeypatch.context() as down:
        down.setattr(files, "read_plain", no_answer)
        with pytest.raises(TimeoutError):
            latest(tmp_path)
    assert_same(latest(tmp_path), content(20))


def test_a_late_writer_does_not_take_the_checkpoints_of_a_later_attempt(tmp_path) -> None:
    for step in (10, 20, 30):
        save(tmp_path, step, content(step))
    save(tmp_path, 10, content(10))
    assert [found.meta["step"] for found in valid(tmp_path)] == [30, 20, 10]
    checkpoint.keep_newest(tmp_path)
    assert names(tmp_path) == [path_of(tmp_path, 30).name]


# Pickles


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def archive(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


META = {checkpoint.META: np.frombuffer(json.dumps({"step": 1}).encode(), np.uint8)}


def array_file(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "forge",
    [
        lambda harm: archive(weight=np.array([harm], object), **META),
        lambda harm: archive(**{checkpoint.META: np.array([harm], object)}),
        lambda harm: array_file(np.array([harm], object)),
        lambda harm: pickle.dumps(harm),
    ],
)
def test_a_forged_checkpoint_runs_no_code(forge, tmp_path) -> None:
    harm = tmp_path / "harm"
    save(tmp_path, 1, content(1))
    payload = forge(Harm(harm))
    path_of(tmp_path, 2).write_bytes(sealed(payload))
    assert_same(latest(tmp_path), content(1))
    assert not harm.exists()
    loaded = np.load(io.BytesIO(payload), allow_pickle=True)  # the harm is real
    if isinstance(loaded, np.lib.npyio.NpzFile):
        dict(loaded)
    assert harm.exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"PK\x03\x04",
        array_file(np.zeros(3)),
        archive(weight=np.zeros(3)),
        archive(**{checkpoint.META: np.zeros(3, np.uint8)}),
        archive(**{checkpoint.META: np.frombuffer(b'"\xff"', np.uint8)}),
    ],
)
def test_what_is_sealed_but_no_checkpoint_is_refused(payload) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpack(sealed(payload))
    assert unpack(sealed(archive(**META))).meta == {"step": 1}  # sealed as a checkpoint is


def test_objects_are_not_written() -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        pack(Checkpoint({"weight": np.array([None])}, {}))


# Writers that do not finish


@contextmanager
def disk_with(free: int) -> Iterator[None]:
    """No file can grow beyond ``free`` bytes: a write takes what fits, and the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("free", [0, 1, 700])
def test_a_full_disk_leaves_the_ones_before(free, tmp_path) -> None:
    for step in (10, 20):
        save(tmp_path, step, content(step))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert free < len(pack(content(30)))
    with disk_with(free), pytest.raises(OSError, match="File too large"):
        save(tmp_path, 30, content(30))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert_same(latest(tmp_path), content(20))


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file(function, tmp_path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, function, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert names(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"


KILLED = """
import os, signal, sys
from pathlib import Path
from anytime_core.files import write_atomically

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

path, moment = Path(sys.argv[1]), sys.argv[2]
if moment == "before the rename":
    os.replace = die
elif moment == "after the rename":
    replace = os.replace
    os.replace = lambda *names, **folders: (replace(*names, **folders), die())
else:
    os.fsync = die
write_atomically(path, b"new" * 100_000)
"""


@pytest.mark.parametrize("moment", ["before the sync", "before the rename", "after the rename"])
def test_a_killed_write_leaves_the_old_file_or_the_new(moment, tmp_path) -> None:
    path = tmp_path / "step-000000002.ckpt"
    path.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), moment], cwd=REPOSITORY, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == (b"new" * 100_000 if moment == "after the rename" else b"old")
    leftovers = [name for name in names(tmp_path) if name != path.name]
    assert len(leftovers) == (moment != "after the rename")
    assert latest_step(tmp_path) == 2
    save(tmp_path, 3, content(3))
    assert set(leftovers) <= set(names(tmp_path))  # its writer may be alive
    for name in leftovers:
        an_hour_ago = time.time() - files.STALE - 60
        os.utime(tmp_path / name, (an_hour_ago, an_hour_ago))
    save(tmp_path, 4, content(4))
    assert names(tmp_path) == ["step-000000003.ckpt", "step-000000004.ckpt"]


def test_the_write_that_removes_leftovers_may_find_them_gone(tmp_path, monkeypatch) -> None:
    """Another process may have been first."""
    leftover = tmp_path / ".step-000000001.ckpt.1.0123abcd"
    leftover.write_bytes(b"")
    listdir = os.listdir

    def overtaken(folder: Path) -> list[str]:
        found = listdir(folder)
        leftover.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(os, "listdir", overtaken)
    save(tmp_path, 2, content(2))
    assert names(tmp_path) == ["step-000000002.ckpt"]
