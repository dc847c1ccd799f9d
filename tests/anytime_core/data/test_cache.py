"""A data set is converted once, and what the cache gives is always what the files hold."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from pathlib import Path

import numpy as np
import pytest
from traps import TRAPS, secret_in

from anytime_core.data import cache, source_files
from anytime_core.data.cache import content_hash, load
from anytime_core.data.dataset import Images
from anytime_core.errors import DataError

PARTS = [field.name for field in fields(Images) if field.default is MISSING]
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch) -> Path:
    """The user's own cache folder, away from the true one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return tmp_path / "user" / "anytime_core"


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "root"


def assert_same(found: Images, expected: Images, *, mapped: bool = True) -> None:
    for part in PARTS:
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part), err_msg=part)
        assert isinstance(getattr(found, part), np.memmap) == mapped


def folders(parent: Path) -> list[Path]:
    return sorted(parent.iterdir()) if parent.is_dir() else []


def unreadable(*_: object, **__: object) -> None:
    raise AssertionError("the files were read again")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn", "fashion_mnist"])
def test_the_second_load_maps_what_the_first_converted(name, root, write, monkeypatch) -> None:
    expected = write(name, root)
    assert_same(load(name, root, check_md5=False), expected)
    monkeypatch.setattr(source_files, "read", unreadable)
    again = load(name, root, check_md5=False)
    assert_same(again, expected)
    assert not again.train_images.flags.writeable
    assert [folder.name.split("-")[0] for folder in folders(root / ".cache")] == [name]


def test_digits_need_neither_root_nor_cache(user_cache) -> None:
    assert load("digits", None).train_images.shape == (1438, 1, 8, 8)
    assert not user_cache.exists()


def test_faults_of_names_and_files_are_data_errors(root) -> None:
    with pytest.raises(DataError, match="'mnist', must be one of cifar10"):
        load("mnist", root)
    with pytest.raises(DataError, match="svhn lies in files"):
        load("svhn", None)
    with pytest.raises(DataError, match=f"orchestrate data fetch svhn --root {root}"):
        load("svhn", root)
    assert not root.exists()


def test_an_unchecked_cache_does_not_stand_for_a_checked_one(root, write) -> None:
    write("cifar100", root)
    load("cifar100", root, check_md5=False)
    with pytest.raises(DataError, match="wrong md5"):
        load("cifar100", root)


def test_a_changed_file_makes_a_new_cache(root, write) -> None:
    write("fashion_mnist", root)
    before = load("fashion_mnist", root, check_md5=False)
    labels = root / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    changed = gzip.decompress(labels.read_bytes())[:-1] + bytes([9 - before.test_labels[-1]])
    stat = labels.stat()
    labels.write_bytes(gzip.compress(changed))
    os.utime(labels, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = load("fashion_mnist", root, check_md5=False)
    assert after.test_labels[-1] == 9 - before.test_labels[-1]
    assert content_hash(after) != content_hash(before)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"0")


def garble(file: Path) -> None:
    file.write_bytes(b"not an array" * 20)


def reshape(file: Path) -> None:
    array = np.load(file)
    np.save(file, array.reshape(array.shape[::-1] if array.ndim > 1 else (1, -1)))


def retype(file: Path) -> None:
    array = np.load(file)
    np.save(file, array.view(np.int8 if array.dtype == np.uint8 else np.uint64))


@pytest.mark.parametrize("damage", [cut, lengthen, garble, reshape, retype, Path.unlink])
@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_cache_is_made_again(damage, part, root, write) -> None:
    expected = write("cifar10", root)
    load("cifar10", root, check_md5=False)
    (folder,) = folders(root / ".cache")
    damage(folder / f"{part}.npy")
    assert_same(load("cifar10", root, check_md5=False), expected)
    assert folders(root / ".cache") == [folder]


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"arrays": 3}', "\0"])
def test_a_cache_without_a_right_manifest_is_made_again(content, root, write) -> None:
    expected = write("cifar10", root)
    load("cifar10", root, check_md5=False)
    (folder,) = folders(root / ".cache")
    manifest = folder / cache.MANIFEST
    manifest.unlink() if content is None else manifest.write_text(content)
    assert_same(load("cifar10", root, check_md5=False), expected)
    assert set(json.loads(manifest.read_text())["arrays"]) == set(PARTS)


def test_without_a_writable_root_the_users_cache_is_used(root, write, user_cache, monkeypatch) -> None:
    expected = write("cifar10", root)
    (root / ".cache").write_text("in the way")
    assert_same(load("cifar10", root, check_md5=False), expected)
    assert len(folders(user_cache)) == 1
    monkeypatch.setattr(source_files, "read", unreadable)
    assert_same(load("cifar10", root, check_md5=False), expected)


@pytest.mark.parametrize("home", ["a file", "none"])
def test_where_nothing_is_writable_images_stay_in_memory(home, root, write, tmp_path, monkeypatch) -> None:
    expected = write("cifar10", root)
    (root / ".cache").write_text("in the way")
    (tmp_path / "user").write_text("in the way")
    if home == "none":
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        monkeypatch.chdir(tmp_path)
    assert_same(load("cifar10", root, check_md5=False), expected, mapped=False)
    assert not (tmp_path / "~").exists()


def test_a_full_disk_leaves_nothing_behind(root, write, user_cache, monkeypatch) -> None:
    expected = write("cifar10", root)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert_same(load("cifar10", root, check_md5=False), expected, mapped=False)
    assert folders(root / ".cache") == folders(user_cache) == []


WORKER = """
import sys
from pathlib import Path
from anytime_core.data.cache import content_hash, load
import numpy as np
print("ready", flush=True)
sys.stdin.readline()
images = load("cifar10", Path(sys.argv[1]), check_md5=False)
assert isinstance(images.train_images, np.memmap)
print(content_hash(images))
"""


@pytest.mark.parametrize("damaged", [False, True])
def test_processes_that_convert_at_once_share_one_cache(damaged, root, write, user_cache) -> None:
    expected = write("cifar10", root)
    if damaged:
        load("cifar10", root, check_md5=False)
        cut(folders(root / ".cache")[0] / "train_images.npy")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        for _ in range(4)
    ]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 4
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    assert {worker.communicate(timeout=120)[0].strip() for worker in workers} == {content_hash(expected)}
    assert [worker.returncode for worker in workers] == [0] * 4
    assert_same(load("cifar10", root, check_md5=False), expected)
    if not damaged:
        assert len(folders(root / ".cache")) == 1
        assert not user_cache.exists()


def test_a_process_that_is_overtaken_uses_the_cache_of_the_first(root, write, monkeypatch) -> None:
    expected = write("cifar10", root)
    read = source_files.read

    def overtaken(*arguments: object, **options: object) -> Images:
        monkeypatch.setattr(source_files, "read", read)
        load("cifar10", root, check_md5=False)
        first.append(folders(root / ".cache")[0].stat().st_ino)
        return read(*arguments, **options)

    first: list[int] = []
    monkeypatch.setattr(source_files, "read", overtaken)
    assert_same(load("cifar10", root, check_md5=False), expected)
    assert [folder.stat().st_ino for folder in folders(root / ".cache")] == first


def test_the_content_hash_tells_numbers_apart_not_places(root, write, tmp_path) -> None:
    expected = write("cifar10", root)
    mapped = load("cifar10", root, check_md5=False)
    known = content_hash(expected)
    assert len(known) == 16
    assert content_hash(mapped) == known
    changed = expected.train_images.copy()
    changed[0, 0, 0, 0] += 1
    others = [
        replace(expected, train_images=changed),
        replace(mapped, train_images=mapped.train_images[::-1]),
        replace(mapped, train_images=mapped.train_images[:-1], train_labels=mapped.train_labels[:-1]),
        replace(mapped, train_images=mapped.test_images, test_images=mapped.train_images),
        replace(mapped, test_labels=mapped.test_labels.astype(np.int32)),
    ]
    assert len({known, *map(content_hash, others)}) == 1 + len(others)


def test_the_content_hash_of_a_cache_is_not_computed_again(root, write, monkeypatch) -> None:
    write("cifar10", root)
    mapped = load("cifar10", root, check_md5=False)
    known = content_hash(mapped)
    monkeypatch.setattr(cache, "_hash", unreadable)
    assert content_hash(mapped) == known


def test_real_images_come_back_from_the_cache(real_root, tmp_path) -> None:
    for name in ("cifar10", "cifar100", "svhn"):
        expected = source_files.read(name, real_root, check_md5=False)
        assert_same(load(name, real_root, check_md5=False), expected)
        assert_same(load(name, real_root, check_md5=False), expected)


def test_it_is_known_whether_a_data_set_is_converted(root, write) -> None:
    with pytest.raises(DataError, match="not found"):
        cache.is_converted("cifar10", root)
    write("cifar10", root)
    assert not cache.is_converted("cifar10", root)
    load("cifar10", root, check_md5=False)
    assert cache.is_converted("cifar10", root)
    assert cache.is_converted("digits", None)


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("name", ["train_images.npy", "manifest.json"])
def test_a_trap_in_a_cache_costs_a_new_one(name, trap, root, write, tmp_path) -> None:
    expected = write("fashion_mnist", root)
    load("fashion_mnist", root, check_md5=False)
    (folder,) = folders(root / ".cache")
    (folder / name).unlink()
    trap(folder / name, secret_in(tmp_path / "home"))
    assert_same(load("fashion_mnist", root, check_md5=False), expected)
