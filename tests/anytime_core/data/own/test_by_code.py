"""A reader of an extension's: whatever it gives, raises or prints, it is images or one message."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_data import pixels

from anytime_core.config import KINDS, plain
from anytime_core.data.own import by_code, reading
from anytime_core.data.own.reading import OwnImages
from anytime_core.data.own.source import Source
from anytime_core.errors import DataError
from anytime_core.extend import Reader, register

Load = Callable[..., OwnImages]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Loads what a reader with these functions gives of a folder of two files."""
    (tmp_path / "odd").mkdir()
    for name in ("train.bin", "test.bin"):
        (tmp_path / "odd" / name).write_bytes(b"12")

    def loaded(read: Callable[[Path], Any] | None = None, files: Callable[[Path], Any] | None = None) -> OwnImages:
        @register("odd")
        @dataclass(frozen=True, kw_only=True)
        class Odd(Reader):
            def read(self, path: Path) -> Any:
                return read(path) if read else pixels()

        if files:
            Odd.files = lambda self, path: files(path)  # type: ignore[method-assign]
        source = Source(name="mine", path=tmp_path / "odd", format="odd", reader=json.dumps(plain(Odd())))
        return reading.load(source, by_code.form_of(source))

    yield loaded
    del KINDS["reader"]["odd"]


def raising(error: BaseException) -> Callable[[Path], Any]:
    def called(path: Path) -> Any:
        raise error

    return called


def changed(**arrays: Any) -> Callable[[Path], Any]:
    return lambda path: {**pixels(), **arrays}


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (lambda path: ["gone.bin"], "files names {path}/gone.bin, which is not there"),
        (lambda path: [path / "train.bin", path / "nowhere"], "files names {path}/nowhere, which is not there"),
        (lambda path: ["a\0b"], "files names {path}/a\0b, which is not there"),
        (lambda path: [], "files names nothing, must name what decides what is read"),
        (lambda path: iter(()), "files names nothing, must name what decides what is read"),
        (lambda path: [3], "files names 3, must name paths"),
        (lambda path: [b"train.bin"], "files names b'train.bin', must name paths"),
        (lambda path: "train.bin", "files gives 'train.bin', must give a list of paths"),
        (lambda path: b"train.bin", "files gives b'train.bin', must give a list of paths"),
        (lambda path: None, "files: TypeError: 'NoneType' object is not iterable"),
        (raising(OSError("no luck")), "files: OSError: no luck"),
        (raising(SystemExit(0)), "files: SystemExit: 0"),
        (raising(KeyError()), "files: KeyError"),
    ],
)
def test_files_that_are_none_are_refused(load: Load, tmp_path: Path, files: Callable[[Path], Any], fault: str) -> None:
    with pytest.raises(DataError) as error:
        load(files=files)
    path = tmp_path / "odd"
    assert str(error.value) == f"mine: {path}: reader odd: {fault.format(path=path)}"


@pytest.mark.parametrize(
    "files",
    [
        lambda path: ["train.bin"],
        lambda path: [path / "train.bin"],
        lambda path: (str(file) for file in path.glob("*.bin")),
        None,
    ],
)
def test_a_file_that_changes_is_read_again_however_it_is_named(load: Load, tmp_path: Path, files: Any) -> None:
    reads: list[Path] = []

    def read(path: Path) -> Any:
        reads.append(path)
        return pixels(seed=len(reads))

    contents = []
    for content in (b"12", b"12", b"123"):
        if content != (tmp_path / "odd" / "train.bin").read_bytes():
            (tmp_path / "odd" / "train.bin").write_bytes(content)
        contents.append(load(read, files).described.content)
    assert contents[0] == contents[1] != contents[2]
    assert len(reads) == 2


def test_relative_names_begin_at_the_folder_of_a_file(load: Load, tmp_path: Path) -> None:
    load()
    reader = KINDS["reader"]["odd"]()
    source = Source(name="mine", path=tmp_path / "odd" / "train.bin", format="odd", reader=json.dumps(plain(reader)))
    type(reader).files = lambda self, path: ["test.bin"]  # type: ignore[attr-defined]
    assert list(by_code.form_of(source).files(source.path)) == [str(tmp_path / "odd" / "test.bin")]


def test_a_link_that_leads_nowhere_is_no_fault(load: Load, tmp_path: Path) -> None:
    (tmp_path / "odd" / "link").symlink_to("nowhere")
    assert len(load().images.train_images) == len(pixels()["train_images"])


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (changed(train_images=[[1], [2, 3]]), ": reader odd: train_images can be no array: setting an array element"),
        (raising(OSError()), ": reader odd: OSError"),
        (raising(OSError("no luck")), ": reader odd: OSError: no luck"),
        (raising(ValueError()), ": reader odd: ValueError"),
        (raising(ValueError("first line\nsecond line")), ": reader odd: first line"),
        (raising(RuntimeError("\nfirst line\nsecond line")), ": reader odd: RuntimeError: first line"),
        (raising(SystemExit(0)), ": reader odd: SystemExit: 0"),
        (lambda path: None, ": reader odd: TypeError: 'NoneType' object is not iterable"),
        (
            changed(train_images=np.zeros((12, 0, 0), np.uint8)),
            ", read by odd, has 1 fault:\n    "
            "train_images is uint8 [12, 0, 0], and an image must have at least 1 pixel",
        ),
        (changed(more=1), ", read by odd, has 1 fault:\n    there is an array 'more'; allowed: "),
    ],
)
def test_what_is_no_data_set_is_one_message(load: Load, tmp_path: Path, read: Any, fault: str) -> None:
    with pytest.raises(DataError) as error:
        load(read)
    assert str(error.value).startswith(f"mine: {tmp_path / 'odd'}{fault}")
    if "\n    " not in fault:
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("of", [torch.from_numpy, lambda array: array.tolist()])
def test_tensors_and_pairs_will_do(load: Load, of: Callable[[Any], Any]) -> None:
    given = {
        name: of(array) if name.endswith("labels") else torch.from_numpy(array) for name, array in pixels().items()
    }
    assert load(lambda path: iter(given.items())).described == load().described


def test_more_than_is_allowed_is_refused(load: Load, tmp_path: Path) -> None:
    images = np.broadcast_to(np.uint8(1), (1 << 30, 1, 33))
    with pytest.raises(DataError, match=r"mine: .*odd: reader odd: gives more than 32 GiB, which is allowed"):
        load(changed(train_images=images))


def test_what_a_reader_prints_is_no_output(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    def said(what: str, value: Any) -> Any:
        print(what)
        return value

    load(lambda path: said("reading", pixels()), lambda path: (said("listing", one) for one in ["train.bin"]))
    done = capsys.readouterr()
    assert done.out == ""
    assert {"reading", "listing"} == set(done.err.split())
    assert sys.stdout is not sys.stderr
