"""The same content in any format is the same data; parquet files as Hugging Face's hub has them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own_data import as_folder, as_npz, as_parquet, pixels, png

from anytime_core.config import DataConfig
from anytime_core.data.own.source import Source
from anytime_core.errors import DataError
from orchestrator.owndata import formats


def load(path: Path, form: str) -> Any:
    return formats.load(Source(name="mine", path=path, format=form)).described


@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_content_is_the_same_in_every_format(tmp_path: Path, channels: int) -> None:
    arrays = pixels(channels=channels, counts={"train": 6, "test": 2, "validation": 1})
    found = [
        load(as_folder(tmp_path / "folder", arrays), "image_folder"),
        load(as_npz(tmp_path / "mine.npz", arrays), "npz"),
        load(as_parquet(tmp_path / "structs", arrays), "parquet"),
        load(as_parquet(tmp_path / "bytes", arrays, struct=False), "parquet"),
    ]
    assert len(set(found)) == 1
    assert found[0].channels == channels


def test_without_metadata_classes_have_numbers(tmp_path: Path) -> None:
    assert load(as_parquet(tmp_path / "p", pixels(), classes=None), "parquet").class_names == ("0", "1")


def _table(root: Path, name: str = "train.parquet", **columns: Any) -> None:
    pq.write_table(pa.table(columns), root / name)


IMAGE = png(pixels()["train_images"][0])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda root: (root / "test-00000-of-00001.parquet").unlink(), "there is no usable file test*.parquet"),
        (lambda root: _table(root, image=[IMAGE], klass=[0]), "train.parquet has the columns image, klass; must have"),
        (lambda root: _table(root, image=["a"], label=[0]), "train.parquet: column image is string, must be binary"),
        (lambda root: _table(root, image=[IMAGE], label=["0"]), "train.parquet: column label is string, must be whole"),
        (lambda root: _table(root, image=[IMAGE], label=[0]), "files differ in the class names of their metadata"),
        (lambda root: (root / "train1.parquet").write_bytes(b"PAR1"), "train1.parquet is no sound parquet file ("),
        (
            lambda root: os.symlink("/etc/hostname", root / "train1.parquet"),
            "train1.parquet is a symbolic link out of the folder",
        ),
    ],
)
def test_a_fault_of_a_file_is_named(tmp_path: Path, change: Callable[[Path], object], fault: str) -> None:
    root = as_parquet(tmp_path / "p", pixels())
    change(root)
    with pytest.raises(DataError) as error:
        load(root, "parquet")
    assert f"    {fault}" in str(error.value)


def test_faults_of_rows_are_named(tmp_path: Path) -> None:
    root = as_parquet(tmp_path / "p", pixels(), classes=None)
    _table(root, image=[IMAGE, None, b"x", IMAGE], label=pa.array([0, 1, 1, None], pa.int64()))
    with pytest.raises(DataError) as error:
        load(root, "parquet")
    assert [line.strip() for line in str(error.value).splitlines()[1:]] == [
        "train.parquet row 1 has no bytes of a picture",
        "train.parquet row 2 is no PNG or JPEG picture",
        "train.parquet row 3 has no label",
    ]


@pytest.mark.parametrize("write", [as_folder, as_parquet])
def test_a_format_is_told_by_its_looks(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path / "mine", pixels())
    assert formats.load(formats.source_at(path)).described.train_images == 12
    with pytest.raises(DataError, match="is no data set: must be a folder with train/CLASS"):
        formats.source_at(tmp_path)


def test_images_are_those_of_the_trial_or_none(tmp_path: Path) -> None:
    path = as_npz(tmp_path / "mine.npz", pixels())
    source = Source(name="mine", path=path, format="npz")
    data = DataConfig(name="mine", own=formats.load(source).described)
    assert len(formats.images_of(data, {"mine": source}, tmp_path).train_images) == 12
    with pytest.raises(DataError, match="nothing says where it lies"):
        formats.images_of(data, {}, tmp_path)
    as_npz(path, pixels(seed=1))
    now = formats.load(source).described.content
    with pytest.raises(
        DataError, match=rf"the content of .*mine\.npz is {now} here, and that of the trial is {data.own.content}"
    ):
        formats.images_of(data, {"mine": source}, tmp_path)


def test_the_catalogs_images_are_still_found(tmp_path: Path) -> None:
    assert formats.images_of(DataConfig(name="digits"), {}, tmp_path).train_images.shape == (1438, 1, 8, 8)


def test_what_is_gone_is_remembered_as_it_was_last_read(tmp_path: Path) -> None:
    path = as_folder(tmp_path / "mine", pixels())
    source = Source(name="mine", path=path, format="image_folder")
    assert formats.remembered(source) is None
    own = formats.load(source).described
    formats.remember(source, own)
    shutil.rmtree(path)
    assert formats.remembered(source) == own
