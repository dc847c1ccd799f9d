"""A data set of a user's own is read once, and again when its files change; the trainer takes no other images."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from own_data import as_npz, pixels
from trials import digits_trial

from anytime_core import train
from anytime_core.config import DataConfig, TrialConfig, from_dict, to_dict
from anytime_core.data.own import image_folder, npz, reading
from anytime_core.data.own.reading import OwnImages
from anytime_core.data.own.source import Faults, Format, Found, Source
from anytime_core.errors import DataError
from anytime_core.trained import load_network

reads = 0


def _counting(source: Source, faults: Faults) -> Found:
    global reads
    reads += 1
    return npz.read(source, faults)


FORM = replace(npz.FORMAT, read=_counting)


def load(path: Path) -> OwnImages:
    return reading.load(Source(name="mine", path=path, format="npz"), FORM)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    global reads
    reads = 0
    return as_npz(tmp_path / "data" / "mine.npz", pixels(counts={"train": 6, "test": 2, "validation": 3}))


def test_a_second_load_reads_nothing(mine: Path) -> None:
    first, second = load(mine), load(mine)
    assert reads == 1
    assert first.described == second.described
    assert isinstance(second.images.train_images, np.memmap)
    assert (mine.parent / ".cache").is_dir()


def test_a_touched_file_is_read_again_and_is_the_same_content(mine: Path) -> None:
    before = load(mine).described
    os.utime(mine, ns=(1, 1))
    assert load(mine).described == before
    assert reads == 2


def test_a_damaged_cache_is_made_anew(mine: Path) -> None:
    before = load(mine).described
    for path in (mine.parent / ".cache").rglob("validation_labels.npy"):
        path.write_bytes(b"x")
    assert load(mine).described == before
    assert reads == 2


def test_without_a_folder_to_write_to_it_works_from_memory(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine.parent / ".cache").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(mine))
    assert load(mine).described == load(mine).described
    assert reads == 2


def test_what_changes_while_it_is_read_is_refused(mine: Path) -> None:
    def changing(source: Source, faults: Faults) -> Found:
        os.utime(source.path, ns=(1, 1))
        return npz.read(source, faults)

    with pytest.raises(DataError, match="changed while it was read"):
        reading.load(Source(name="mine", path=mine, format="npz"), replace(FORM, read=changing))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^mine: .*gone\.npz is not there$"):
        load(tmp_path / "gone.npz")


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000])
def test_a_path_that_cannot_be_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"is not there$"):
        load(tmp_path / name)


@pytest.mark.parametrize("form", [npz.FORMAT, image_folder.FORMAT])
def test_a_path_of_another_kind_is_named(mine: Path, form: Format) -> None:
    path = mine if form is image_folder.FORMAT else mine.parent
    with pytest.raises(DataError, match=rf"^mine: {re.escape(str(path))}"):
        reading.load(Source(name="mine", path=path, format="?"), form)


def test_the_last_images_are_a_mixture(tmp_path: Path) -> None:
    arrays = pixels(counts={"train": 100, "test": 2})
    by_class = np.argsort(arrays["train_labels"], kind="stable")
    ordered = arrays | {f"train_{part}": arrays[f"train_{part}"][by_class] for part in ("images", "labels")}
    labels = load(as_npz(tmp_path / "mine.npz", ordered)).images.train_labels
    assert 10 < labels[-50:].sum() < 40


def trial(found: OwnImages, **data: object) -> TrialConfig:
    config = DataConfig(name="mine", pad=1, own=found.described, **data)  # type: ignore[arg-type]
    return digits_trial(c=2, steps=4, batch_size=4, data=config)


@pytest.mark.parametrize(("data", "evaluated"), [({}, 4), ({"validation": 5}, 5), ({"own_validation": True}, 6)])
def test_a_trial_trains_and_its_network_is_read_without_the_data(
    mine: Path, tmp_path: Path, data: dict[str, object], evaluated: int
) -> None:
    found = load(mine)
    config = trial(found, **data)
    errors = train(config, checkpoints=tmp_path / "run", images=found.images, device="cpu").errors
    assert all(error * evaluated / 100 == pytest.approx(round(error * evaluated / 100)) for error in errors)
    shutil.rmtree(mine.parent)
    network = load_network(tmp_path / "run")
    assert (network.spec.channels, network.spec.size, network.spec.brightest) == (3, 8, 255)
    assert from_dict(to_dict(config)) == config


def test_a_trial_is_one_on_its_own_data_alone(mine: Path, tmp_path: Path) -> None:
    config = trial(load(mine))
    other = load(as_npz(tmp_path / "other.npz", pixels(seed=1)))
    with pytest.raises(DataError, match=f"content here is {other.described.content}, and that of the trial is"):
        train(config, images=other.images)
    with pytest.raises(DataError, match="mine is a data set of the user's own: give its images"):
        train(config)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"own_validation": True}, "validation is own, and digits has no split of its own for validation"),
        ({"own_validation": True, "validation": 3}, "validation is own, and digits has no split"),
    ],
)
def test_a_split_that_is_not_there_is_refused(data: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        DataConfig(name="digits", **data)  # type: ignore[arg-type]
