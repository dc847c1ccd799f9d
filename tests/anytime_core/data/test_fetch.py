"""Fetching downloads only what is not there, and says how to do it by hand where it fails."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import pytest

from anytime_core.data.catalog import DATASETS
from anytime_core.data.fetch import check, fetch
from anytime_core.data.source_files import USABLE
from anytime_core.errors import DataError

IN_FILES = [name for name, dataset in DATASETS.items() if dataset.files]


@pytest.fixture
def published(write, tmp_path, monkeypatch):
    """Makes the random data set of a name the published one; returns the folder it was written to."""

    def publish(name: str) -> Path:
        source = tmp_path / "published" / name
        write(name, source)
        folder = source / DATASETS[name].folders[0]
        sums = {file: hashlib.md5((folder / file).read_bytes()).hexdigest() for file in DATASETS[name].files}
        monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], files=sums))
        return source

    return publish


@pytest.fixture
def torchvision(monkeypatch):
    """Puts ``downloader``, which is called with (class, root, options), in the place of torchvision's classes."""

    def installed(downloader) -> None:
        datasets = ModuleType("torchvision.datasets")
        for kind in ("CIFAR10", "CIFAR100", "SVHN", "FashionMNIST"):
            setattr(datasets, kind, lambda root, kind=kind, **options: downloader(kind, root, options))
        monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)

    return installed


def refuse(*_: object) -> None:
    raise AssertionError("nothing was to be downloaded")


@pytest.mark.parametrize("name", IN_FILES)
def test_fetches_each_part_into_the_root(name, published, torchvision, write, tmp_path) -> None:
    published(name)
    calls = []

    def download(kind, root, options) -> None:
        calls.append((kind, options.pop("split", None)))
        assert options == {"download": True}
        write(name, root)

    torchvision(download)
    fetch(name, tmp_path / "root")
    assert {file.state for file in check(name, tmp_path / "root")} == {"ok"}
    kinds = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashion_mnist": "FashionMNIST"}
    splits = [("SVHN", split) for split in ("train", "extra", "test")]
    assert calls == ([(kinds[name], None)] if name in kinds else splits)


@pytest.mark.parametrize("name", IN_FILES)
def test_what_is_there_is_not_fetched_again(name, published, torchvision) -> None:
    root = published(name)
    torchvision(refuse)
    fetch(name, root)


def test_digits_have_nothing_to_fetch_and_say_so(torchvision, tmp_path, capsys) -> None:
    torchvision(refuse)
    fetch("digits", tmp_path)
    assert "digits comes with an installed package: nothing to fetch" in capsys.readouterr().out
    assert check("digits", tmp_path) == []


@pytest.mark.parametrize("name", IN_FILES)
@pytest.mark.parametrize("error", [URLError("no route to host"), RuntimeError("File not found or corrupted.")])
def test_without_a_network_it_says_how_to_do_it_by_hand(name, error, torchvision, tmp_path) -> None:
    def fail(*_: object) -> None:
        raise error

    torchvision(fail)
    with pytest.raises(DataError) as caught:
        fetch(name, tmp_path)
    for part in (
        type(error).__name__,
        str(error),
        DATASETS[name].page,
        *(str(tmp_path / file) for file in DATASETS[name].files),
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("fault", ["raise RuntimeError('operator torchvision::nms does not exist')", "import absent"])
def test_a_torchvision_that_cannot_be_imported_is_said(fault, tmp_path, monkeypatch) -> None:
    (tmp_path / "site" / "torchvision").mkdir(parents=True)
    (tmp_path / "site" / "torchvision" / "__init__.py").write_text(fault)
    for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(DataError, match="torchvision cannot be imported") as caught:
        fetch("cifar10", tmp_path)
    assert "https://www.cs.toronto.edu/~kriz/cifar.html" in str(caught.value)


def test_a_download_that_leaves_wrong_files_is_refused(torchvision, write, tmp_path) -> None:
    torchvision(lambda kind, root, options: write("cifar100", root))
    with pytest.raises(DataError, match="delete these files") as caught:
        fetch("cifar100", tmp_path)
    assert f"{tmp_path / 'cifar-100-python' / 'train'}: wrong md5" in str(caught.value)


@pytest.mark.parametrize("function", [check, fetch])
def test_an_unknown_name_is_answered_with_the_known_ones(function, tmp_path) -> None:
    with pytest.raises(DataError, match="'imagenet', must be one of cifar10, cifar100"):
        function("imagenet", tmp_path)


def test_check_tells_the_state_of_every_file(published) -> None:
    root = published("cifar10")
    folder = root / "cifar-10-batches-py"
    (folder / "data_batch_2").unlink()
    (folder / "test_batch").write_bytes(b"other")
    states = {file.path.name: file.state for file in check("cifar10", root)}
    assert (states.pop("data_batch_2"), states.pop("test_batch")) == ("missing", "wrong md5")
    assert set(states.values()) == {"ok"}
    assert len(states) == 5


UNPACKED = "unpacked, no published md5: keep the .gz"


def test_check_says_where_no_md5_is_published(published) -> None:
    root = published("fashion_mnist")
    packed = root / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    packed.rename(packed.with_suffix(""))
    states = [(file.path.name, file.state) for file in check("fashion_mnist", root)]
    assert states[-1] == ("t10k-labels-idx1-ubyte", UNPACKED)
    assert UNPACKED not in USABLE
    assert {state for _, state in states[:-1]} == {"ok"}
    packed.with_suffix("").rename(packed)
    packed.with_suffix("").write_bytes(b"what lies unpacked beside it is not read")
    assert {file.state for file in check("fashion_mnist", root)} == {"ok"}


def test_what_lies_unpacked_is_not_taken_for_fetched(published, torchvision) -> None:
    """torchvision downloads nothing where it finds the unpacked files."""
    root = published("fashion_mnist")
    for packed in sorted((root / "FashionMNIST" / "raw").iterdir()):
        packed.rename(packed.with_suffix(""))
    torchvision(lambda *_: None)
    with pytest.raises(DataError, match=f"t10k-labels-idx1-ubyte: {UNPACKED}; delete these files and fetch again"):
        fetch("fashion_mnist", root)
