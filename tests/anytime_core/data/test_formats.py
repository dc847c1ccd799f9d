"""Every data set is read as it lies on disk; every damaged file is refused by its name."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import pickle
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anytime_core.data import formats
from anytime_core.data.cache import load
from anytime_core.data.catalog import DATASETS
from anytime_core.data.dataset import Dataset, Images
from anytime_core.data.source_files import read
from anytime_core.errors import DataError

IN_FILES = [name for name, dataset in DATASETS.items() if dataset.files]
NEEDED = [(name, file) for name in IN_FILES for file in DATASETS[name].files if "meta" not in file]


def placed(root: Path, name: str, file: str) -> Path:
    return root / DATASETS[name].folders[0] / file


def published(monkeypatch: pytest.MonkeyPatch, name: str, sums: dict[str, str]) -> None:
    """Makes these the files and the md5 sums of a data set."""
    monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], files=sums))


def assert_same(found: Images, expected: Images) -> None:
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        array = getattr(found, part)
        np.testing.assert_array_equal(array, getattr(expected, part), err_msg=part)
        assert array.dtype == (np.uint8 if "images" in part else np.int64)
        assert array.flags.c_contiguous


def batch(**changes: Any) -> dict[str, Any]:
    """The content of one right CIFAR-10 batch of 3 images, with changes."""
    return {"data": np.zeros((3, 3072), np.uint8), "labels": [0, 1, 9]} | changes


def made(**changes: Any) -> Dataset:
    """The digits by another name, with changes."""
    return replace(DATASETS["digits"], name="mine", **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("one",)}, "mine: class_names holds 1 names, must hold at least 2"),
        ({"files": {"a.bin": "0"}}, "mine: page is empty, must say where a.bin can be downloaded"),
        ({"flip": True, "never_flips": True}, "mine: flip is true, must be false as never_flips is"),
    ],
)
def test_a_data_set_that_lacks_a_part_is_refused_when_it_is_made(changes, message) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        made(**changes)


@pytest.mark.parametrize("name", IN_FILES)
def test_reads_what_was_written(name, write, tmp_path) -> None:
    expected = write(name, tmp_path)
    assert_same(read(name, tmp_path, check_md5=False), expected)


def test_digits_need_no_files() -> None:
    images = read("digits", None)
    spec = DATASETS["digits"]
    assert images.train_images.shape == (spec.train_images, 1, 8, 8)
    assert images.test_images.shape == (spec.test_images, 1, 8, 8)
    assert (images.train_images.max(), images.train_labels.max(), images.test_labels.min()) == (16, 9, 0)
    every = pytest.importorskip("sklearn.datasets").load_digits()
    np.testing.assert_array_equal(images.test_images[1, 0], every.images[9])
    np.testing.assert_array_equal(images.train_labels[:9], every.target[[0, 1, 2, 3, 5, 6, 7, 8, 10]])


@pytest.mark.parametrize("folder", ["FashionMNIST/raw", "fashion_mnist", ""])
@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist_is_found_packed_or_not_in_each_folder(folder, packed, write, tmp_path) -> None:
    expected = write("fashion_mnist", tmp_path / "written")
    (tmp_path / "root" / folder).mkdir(parents=True)
    for file in (tmp_path / "written" / "FashionMNIST" / "raw").iterdir():
        target = tmp_path / "root" / folder / file.name
        if packed:
            target.write_bytes(file.read_bytes())
        else:
            target.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
    assert_same(read("fashion_mnist", tmp_path / "root", check_md5=False), expected)


def test_unpacked_files_are_not_read_as_if_they_were_checked(write, tmp_path, monkeypatch) -> None:
    expected = write("fashion_mnist", tmp_path)
    sums = {}
    for file in DATASETS["fashion_mnist"].files:
        packed = placed(tmp_path, "fashion_mnist", file)
        sums[file] = hashlib.md5(packed.read_bytes()).hexdigest()
    published(monkeypatch, "fashion_mnist", sums)
    unpacked = packed.with_suffix("")
    unpacked.write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    with pytest.raises(DataError) as caught:
        read("fashion_mnist", tmp_path)
    assert f"{unpacked}: unpacked, no published md5: keep the .gz; to download" in str(caught.value)
    assert str(caught.value).endswith("; --no-md5 takes them as they are")
    assert str(packed.with_name("train-labels-idx1-ubyte.gz")) not in str(caught.value)
    with pytest.raises(DataError, match="--no-md5 takes them as they are"):
        load("fashion_mnist", tmp_path)
    assert_same(read("fashion_mnist", tmp_path, check_md5=False), expected)


# What is published

COUNTS = {
    # classes, channels, size, training and test images
    "cifar10": (10, 3, 32, 50_000, 10_000),
    "cifar100": (100, 3, 32, 50_000, 10_000),
    "svhn": (10, 3, 32, 73_257 + 531_131, 26_032),
    "fashion_mnist": (10, 1, 28, 60_000, 10_000),
    "digits": (10, 1, 8, 1_438, 359),
}


def test_the_catalog_has_the_published_counts() -> None:
    found = {
        name: (spec.classes, spec.channels, spec.size, spec.train_images, spec.test_images)
        for name, spec in DATASETS.items()
        if name in COUNTS
    }
    assert found == COUNTS
    assert DATASETS["svhn"].train_images == 604_388
    usual = {"cifar10": (4, True), "cifar100": (4, True), "svhn": (4, False), "fashion_mnist": (4, True)}
    for name, augmentation in (usual | {"digits": (1, False)}).items():
        assert (DATASETS[name].pad, DATASETS[name].flip) == augmentation
    assert DATASETS["svhn"].never_flips


@pytest.mark.parametrize(("name", "file"), [(name, file) for name in IN_FILES for file in DATASETS[name].files])
def test_the_md5_sums_are_those_of_torchvision(name, file) -> None:
    """Read from its source text: it cannot be imported beside every torch."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        pytest.skip("torchvision is not installed")
    module = {"cifar10": "cifar", "cifar100": "cifar", "svhn": "svhn", "fashion_mnist": "mnist"}[name]
    source = Path(spec.origin).with_name("datasets") / f"{module}.py"
    beside = rf'"{re.escape(Path(file).name)}",[^]]{{0,60}}"{DATASETS[name].files[file]}"'
    assert re.search(beside, source.read_text()), DATASETS[name].files[file]


@pytest.mark.parametrize(("name", "file"), [(name, file) for name in IN_FILES for file in DATASETS[name].files])
def test_a_missing_file_is_named_with_the_command_that_gets_it(name, file, write, tmp_path) -> None:
    write(name, tmp_path)
    missing = placed(tmp_path, name, file)
    missing.unlink()
    with pytest.raises(DataError) as caught:
        read(name, tmp_path, check_md5=False)
    assert f"not found: {missing}" in str(caught.value)
    assert f"orchestrate data fetch {name} --root {tmp_path}" in str(caught.value)


@pytest.mark.parametrize("name", IN_FILES)
def test_files_need_a_root(name) -> None:
    with pytest.raises(DataError, match=f"{name} lies in files: give the folder"):
        read(name, None)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="'cifar11', must be one of cifar10, cifar100, svhn, fashion_mnist, digits"):
        read("cifar11", None)


@pytest.mark.parametrize("name", IN_FILES)
def test_other_than_the_published_files_are_refused_all_at_once(name, write, tmp_path) -> None:
    write(name, tmp_path)
    with pytest.raises(DataError) as caught:
        read(name, tmp_path)
    assert all(f"{placed(tmp_path, name, file)}: wrong md5" in str(caught.value) for file in DATASETS[name].files)


@pytest.mark.parametrize("name", IN_FILES)
def test_files_of_the_published_md5_are_read(name, write, tmp_path, monkeypatch) -> None:
    expected = write(name, tmp_path)
    sums = {file: hashlib.md5(placed(tmp_path, name, file).read_bytes()).hexdigest() for file in DATASETS[name].files}
    published(monkeypatch, name, sums)
    assert_same(read(name, tmp_path), expected)


@pytest.mark.parametrize(("name", "file"), NEEDED)
def test_a_file_cut_short_anywhere_is_refused_by_name(name, file, write, tmp_path) -> None:
    write(name, tmp_path)
    path = placed(tmp_path, name, file)
    content = path.read_bytes()
    for length in [0, *np.random.default_rng(2).integers(len(content), size=12), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(DataError) as caught:
            read(name, tmp_path, check_md5=False)
        assert str(path) in str(caught.value), length


@pytest.mark.parametrize(("name", "file"), NEEDED)
def test_garbage_is_refused_by_name(name, file, write, tmp_path) -> None:
    write(name, tmp_path)
    path = placed(tmp_path, name, file)
    path.write_bytes(np.random.default_rng(3).bytes(1000))
    with pytest.raises(DataError) as caught:
        read(name, tmp_path, check_md5=False)
    assert str(path) in str(caught.value)


class Payload:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("inside", ["labels", "data", "filenames"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("function", [os.mkdir, eval, np.save])
def test_a_pickle_cannot_run_code(inside, protocol, function, tmp_path) -> None:
    harm, path = tmp_path / "harm.npy", tmp_path / "batch"
    argument = f"__import__('os').mkdir({str(harm)!r})" if function is eval else str(harm)
    payload = Payload(function, argument, *([0] if function is np.save else []))
    path.write_bytes(pickle.dumps(batch(**{inside: payload}), protocol=protocol))
    with pytest.raises(DataError, match=r"asks for .*, must ask for nothing but numpy") as caught:
        formats.cifar10(DATASETS["cifar10"], [path] * 7)
    assert str(path) in str(caught.value)
    assert not harm.exists()
    pickle.loads(path.read_bytes())  # the payload is real
    assert harm.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (batch(data=np.array([[None] * 3072] * 3)), "holds an array of dtype 'O8', must be 'u1'"),
        (batch(labels=np.array([None, None, None])), "holds an array of dtype 'O8', must be 'u1'"),
        (batch(data=np.zeros((3, 3072), np.float32)), "holds an array of dtype 'f4', must be 'u1'"),
        (batch(data=np.zeros((3, 3071), np.uint8)), r"data is uint8 \[3, 3071\], must be uint8 \[N, 3072\]"),
        (batch(data=np.zeros((3, 3, 1024), np.uint8)), r"data is uint8 \[3, 3, 1024\], must be uint8 \[N, 3072\]"),
        (batch(data=[[0] * 3072] * 3), r"data is list, must be uint8 \[N, 3072\]"),
        (batch(labels=[0, 1]), r"labels are int64 \[2\], must be integers \[3\]"),
        (batch(labels=[0, 1, 10]), "image 2 has label 10, must be 0 to 9"),
        (batch(labels=[0, -1, 9]), "image 1 has label -1, must be 0 to 9"),
        (batch(labels=[0, 1.5, 2]), r"labels are float64 \[3\], must be integers \[3\]"),
        (batch(labels=["0", "1", "2"]), r"labels are <U1 \[3\], must be integers"),
        (batch(labels=[0, 2**80, 2]), r"labels are object \[3\], must be integers"),
        (batch(labels=[[0], [1, 2], 3]), "cannot be read as a pickled batch"),
        (batch(labels=None), r"labels are object \[\], must be integers"),
        ({"data": 0}, r"holds \['data'\], must hold \['data', 'labels'\]"),
        ([1, 2, 3], r"holds list, must hold \['data', 'labels'\]"),
    ],
)
def test_a_batch_of_wrong_content_is_refused(content, message, tmp_path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=message) as caught:
        formats.cifar10(DATASETS["cifar10"], [path] * 7)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1], [11]]}, "image 1 has label 11, must be 0 to 9"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1]]}, r"labels are \w+ \[1\], must be integers \[2\]"),
        ({"X": np.zeros((2, 32, 32, 3), np.uint8), "y": [[1], [2]]}, r"X is uint8 \[2, 32, 32, 3\], must be uint8 \["),
        ({"X": np.zeros((32, 32, 3, 2)), "y": [[1], [2]]}, r"X is float64 .*, must be uint8 \[32, 32, 3, N\]"),
        ({"X": np.array([["a", 1]], object), "y": [[1]]}, "X is object"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8)}, r"must hold \['X', 'y'\]"),
    ],
)
def test_a_mat_file_of_wrong_content_is_refused(content, message, tmp_path) -> None:
    path = tmp_path / "train_32x32.mat"
    pytest.importorskip("scipy.io").savemat(path, content)
    with pytest.raises(DataError, match=message) as caught:
        formats.svhn(DATASETS["svhn"], [path] * 3)
    assert str(path) in str(caught.value)


def idx(magic: int, *shape: int, size: int) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + bytes(size)


IMAGES, LABELS = idx(2051, 2, 28, 28, size=1568), idx(2049, 2, size=2)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (idx(2049, 2, 28, 28, size=1568), LABELS, "images: its magic number is 2049, must be 2051"),
        (IMAGES, idx(2051, 2, size=2), "labels: its magic number is 2051, must be 2049"),
        (idx(2051, 2, 28, 28, size=1569), LABELS, "images: has 1569 bytes after its header, must be 1568"),
        (idx(2051, 2, 32, 32, size=2048), LABELS, r"images: its content is uint8 \[2, 32, 32\], must be uint8 \[N, 28"),
        (idx(2051, 0, 28, 28, size=0), LABELS, r"images: its content is uint8 \[0, 28, 28\]"),
        (IMAGES, idx(2049, 3, size=3), r"labels: labels are uint8 \[3\], must be integers \[2\]"),
        (IMAGES, LABELS[:-1] + b"\x0a", "labels: image 1 has label 10, must be 0 to 9"),
    ],
)
def test_an_idx_file_of_wrong_content_is_refused(images, labels, message, tmp_path) -> None:
    (tmp_path / "images").write_bytes(images)
    (tmp_path / "labels").write_bytes(labels)
    with pytest.raises(DataError, match=f"{tmp_path}/{message}"):
        formats.idx_files(DATASETS["fashion_mnist"], [tmp_path / "images", tmp_path / "labels"] * 2)


def test_what_cannot_be_imported_is_said_with_its_purpose() -> None:
    with pytest.raises(DataError, match="to fly, and no_such_package cannot be imported: ModuleNotFoundError"):
        formats.optional_module("no_such_package.wings", "to fly")


@pytest.mark.parametrize(("name", "train", "test"), [("cifar10", 5438, 1017), ("cifar100", 1117, 916)])
def test_real_cifar_images_are_read_exactly(name, train, test, real_root) -> None:
    images = read(name, real_root, check_md5=False)
    truth = np.load(Path(__file__).parents[4] / "shared" / "data" / f"{name}_lossless_prefix.npz")
    labels = "y" if name == "cifar10" else "fine"
    assert (len(images.train_images), len(images.test_images)) == (train, test)
    for part in ("train", "test"):
        np.testing.assert_array_equal(getattr(images, f"{part}_images"), truth[f"x_{part}"].transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(getattr(images, f"{part}_labels"), truth[f"{labels}_{part}"])


def test_real_svhn_images_are_read_exactly(real_root) -> None:
    images = read("svhn", real_root, check_md5=False)
    truth = np.load(Path(__file__).parents[4] / "shared" / "data" / "svhn_train_prefix_labelled.npz")
    pixels, labels = truth["x_train"].transpose(0, 3, 1, 2), truth["y_train"]
    np.testing.assert_array_equal(images.train_images, pixels[:883])
    np.testing.assert_array_equal(images.train_labels, labels[:883] % 10)
    np.testing.assert_array_equal(images.test_images, pixels[883:])
    np.testing.assert_array_equal(images.test_labels, labels[883:] % 10)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_real_prefixes_are_not_taken_for_the_published_files(name, real_root) -> None:
    with pytest.raises(DataError, match="wrong md5"):
        read(name, real_root)


# What lies near


@pytest.mark.parametrize(
    ("name", "place", "hint"),
    [
        ("cifar10", "cifar-10-python.tar.gz", "cifar-10-python.tar.gz is an archive: unpack it in {root}"),
        ("cifar100", "down/cifar-100-python.tgz", "down/cifar-100-python.tgz is an archive: unpack it in {root}"),
        ("cifar10", "mine/cifar-10-batches-py/data_batch_1", "give {root}/mine as the folder of the data sets"),
        ("svhn", "svhn/train_32x32.mat", "give {root}/svhn as the folder of the data sets"),
        (
            "fashion_mnist",
            "FashionMNIST/raw/train-images.idx3-ubyte",
            "train-images.idx3-ubyte looks like one: rename it to train-images-idx3-ubyte;",
        ),
    ],
)
def test_what_lies_near_is_named_with_what_to_do(name, place, hint, tmp_path) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read(name, tmp_path)
    assert hint.format(root=tmp_path) in str(caught.value)
