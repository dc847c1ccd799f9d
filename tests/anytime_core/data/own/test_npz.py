"""An .npz file becomes a data set: its layouts, its limits, and nothing unpickled."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_data import as_npz, pixels

from anytime_core.data.own import npz, reading
from anytime_core.data.own.reading import OwnImages
from anytime_core.data.own.source import Source
from anytime_core.errors import DataError


def load(path: Path) -> OwnImages:
    return reading.load(Source(name="spectra", path=path, format="npz"), npz.FORMAT)


def written(path: Path, **changes: Any) -> Path:
    arrays = {name: value for name, value in (pixels() | changes).items() if value is not None}
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_channels_may_be_first_or_last(tmp_path: Path, channels: int) -> None:
    arrays = pixels(channels=channels)
    last = {name: value.transpose(0, 2, 3, 1) if value.ndim == 4 else value for name, value in arrays.items()}
    first, second = load(as_npz(tmp_path / "a.npz", arrays)), load(as_npz(tmp_path / "b.npz", last))
    assert first.described == second.described
    assert first.described.channels == channels


def test_one_channel_may_be_left_out_and_classes_may_have_no_names(tmp_path: Path) -> None:
    arrays = pixels(channels=1)
    flat = {name: value[:, 0] if value.ndim == 4 else value for name, value in arrays.items()}
    found = load(written(tmp_path / "a.npz", **flat))
    assert found.described.channels == 1
    assert found.class_names == ("0", "1")


def test_the_order_of_images_is_none_of_the_content(tmp_path: Path) -> None:
    arrays = pixels()
    backwards = {name: value[::-1] for name, value in arrays.items()}
    assert load(as_npz(tmp_path / "a.npz", arrays)).described == load(as_npz(tmp_path / "b.npz", backwards)).described


def test_labels_and_class_names_are_part_of_the_content(tmp_path: Path) -> None:
    arrays = pixels()
    swapped = arrays | {"train_labels": 1 - arrays["train_labels"]}
    found = [
        load(as_npz(tmp_path / f"{index}.npz", values, names)).described
        for index, (values, names) in enumerate([(arrays, ("a", "b")), (swapped, ("a", "b")), (arrays, ("a", "c"))])
    ]
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"train_images": None}, "there is no array train_images"),
        ({"validation_images": pixels()["test_images"]}, "there is no array validation_labels"),
        ({"extra": np.zeros(3)}, "there is an array 'extra'; allowed: train_images, train_labels"),
        ({"train_images": np.zeros((12, 3, 8, 8))}, "train_images is float64 [12, 3, 8, 8], must be uint8 [N,S,S], "),
        ({"train_labels": np.zeros(12)}, "train_labels is float64 [12], must be whole numbers [N]"),
        ({"train_labels": np.arange(11) % 2}, "train_labels are 11, and train_images 12; must be as many"),
        ({"train_images": np.zeros((12, 8, 6, 3), np.uint8)}, "train_images are [12, 8, 6, 3], which are no squares"),
        ({"train_images": np.zeros((12, 1, 6), np.uint8)}, "train_images are [12, 1, 6], which are no squares"),
        (
            {"train_images": np.zeros((12, 3, 3, 3), np.uint8)},
            "train_images are [12, 3, 3, 3], where channels may be first or last",
        ),
        (
            {"test_images": np.zeros((4, 3, 6, 6), np.uint8)},
            "test_images are [3, 6, 6] an image, as [C,S,S], and train",
        ),
        ({"train_labels": np.arange(12) % 2 * 2}, "class '1' has no training images that can be used"),
        ({"test_labels": np.array([0, 1, 7, -1])}, "test_images[2] has label 7, must be 0 to 1"),
        ({"train_labels": np.zeros(12, int), "test_labels": np.zeros(4, int)}, "there is 1 class, must be at least 2"),
        ({"class_names": np.array(["a", "A"])}, "classes 'a', 'A' differ in case or spaces at most"),
        ({"class_names": np.array(["a", ""])}, "class '' has no name that can be shown"),
        ({"class_names": np.array([1, 2])}, "class_names is int64 [2], must be text [K]"),
        (
            {"test_images": np.zeros((0, 3, 8, 8), np.uint8), "test_labels": np.zeros(0, int)},
            "there are no test images",
        ),
    ],
)
def test_a_fault_is_named(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(DataError, match=r"^spectra: .*a\.npz has \d+ fault") as error:
        load(written(tmp_path / "a.npz", **changes))
    assert re.sub(r"\s+", " ", str(error.value)).count(fault), str(error.value)


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("sprung"),))


def test_a_pickle_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "a.npz", train_images=np.array([_Trap()] * 12, object))
    with pytest.raises(DataError, match="train_images holds Python objects, which are never unpickled"):
        load(path)
    assert not Path("sprung").exists()


def _with_header(path: Path, shape: tuple[int, ...]) -> Path:
    """A file whose training images say that they have another shape than they do."""
    written(path, train_images=None)
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_images.npy", file.getvalue())
    return path


def test_a_header_that_lies_fills_no_memory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train_images has 0 bytes, must be 192,000 for"):
        load(_with_header(tmp_path / "a.npz", (1000, 3, 8, 8)))
    with pytest.raises(DataError, match="holds more than 32 GiB"):
        load(_with_header(tmp_path / "b.npz", (1 << 40, 3, 8, 8)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_another_kind_of_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz is no sound \.npz file"):
        load(tmp_path / "a.npz")


def test_one_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = as_npz(tmp_path / "a.npz", pixels())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"a\.npz is no sound \.npz file"):
        load(path)


def test_images_without_pixels_are_refused(tmp_path: Path) -> None:
    empty = np.zeros((12, 0, 0), np.uint8)
    with pytest.raises(DataError, match=r"train_images is uint8 \[12, 0, 0\], and an image must have at least 1 pixel"):
        load(written(tmp_path / "a.npz", train_images=empty))
