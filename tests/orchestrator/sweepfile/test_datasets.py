"""Data sets of a user's own in a sweep file: read into the trials' identity, or refused with their lines."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from own_data import as_folder, as_npz, as_parquet, pixels
from PIL import Image

from anytime_core.config import OwnData
from anytime_core.data.catalog import DATASETS
from orchestrator.errors import SweepError
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load

Write = Callable[..., Sweep]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))


@pytest.fixture
def sweep_of(tmp_path: Path) -> Write:
    """A sweep of these data sets, one a line from line 4 on, whose file lies beside the data."""

    def made(*entries: str, batch: int = 4) -> Sweep:
        listed = "".join(f"  - {entry}\n" for entry in entries)
        path = tmp_path / "mine.yaml"
        path.write_text(
            f"name: mine\nnetworks: [{{n: 1, c: 2}}]\ndatasets:\n{listed}"
            "methods: {ann: {}, aann: {strategy: aann}}\n"
            f"training: {{steps: 4, batch_size: {batch}, learning_rate: {{0: 0.1}}}}\n"
        )
        return load(path)

    return made


FOLDER = "{name: pets, path: pets, format: image_folder}"


def ids(sweep: Sweep) -> set[str]:
    return {trial.id for trial in sweep.trials}


def test_all_three_formats_give_one_identity(sweep_of: Write, tmp_path: Path) -> None:
    as_folder(tmp_path / "pets", pixels())
    as_npz(tmp_path / "pets.npz", pixels())
    as_parquet(tmp_path / "tables" / "pets", pixels())
    sweeps = [
        sweep_of(FOLDER),
        sweep_of("{name: pets, path: ./pets.npz, format: npz}"),
        sweep_of(f"{{name: pets, path: {tmp_path}/tables/pets, format: parquet}}"),
    ]
    assert len({frozenset(ids(sweep)) for sweep in sweeps}) == 1
    (data,) = {trial.config.data for trial in sweeps[0].trials}
    assert isinstance(data.own, OwnData)
    assert (data.name, data.pad, data.flip, data.own.class_names) == ("pets", 1, False, ("cat", "dog"))
    assert str(tmp_path) not in repr(data)
    assert sweeps[0].own_data["pets"].path == tmp_path / "pets"


def test_one_pixel_moves_exactly_its_trials(sweep_of: Write, tmp_path: Path) -> None:
    as_folder(tmp_path / "pets", pixels())
    before = sweep_of(FOLDER, "digits")
    path = tmp_path / "pets" / "train" / "cat" / "000.png"
    changed = np.array(Image.open(path))
    changed[3, 3, 0] ^= 1
    Image.fromarray(changed).save(path)
    after = sweep_of(FOLDER, "digits")
    assert {trial.cell.dataset for trial in after.trials if trial.id in ids(before)} == {"digits"}
    assert len(ids(before) & ids(after)) == 2


def test_the_catalogs_trials_hold_nothing_new(sweep_of: Write) -> None:
    (data,) = {trial.config.data for trial in sweep_of("digits").trials}
    assert (data.own, data.own_validation) == (None, False)


def test_a_split_of_its_own_is_evaluated_on(sweep_of: Write, tmp_path: Path) -> None:
    as_folder(tmp_path / "pets", pixels(counts={"train": 6, "test": 2, "validation": 2}))
    sweep = sweep_of("{name: pets, path: pets, format: image_folder, validation: own}")
    assert sweep.validated == {"pets"}
    assert sweep_of(FOLDER).validated == frozenset()
    with pytest.raises(
        SweepError, match="validation is 3, and pets has a split of its own for it; must be own, or left"
    ):
        sweep_of("{name: pets, path: pets, format: image_folder, validation: 3}")


def test_images_are_held_out_where_there_is_no_such_split(sweep_of: Write, tmp_path: Path) -> None:
    as_folder(tmp_path / "pets", pixels())
    assert sweep_of("{name: pets, path: pets, format: image_folder, validation: 3}").validated == {"pets"}


def test_results_can_be_found_when_the_data_are_gone(sweep_of: Write, tmp_path: Path) -> None:
    as_folder(tmp_path / "pets", pixels())
    before = sweep_of(FOLDER)
    shutil.rmtree(tmp_path / "pets")
    after = sweep_of(FOLDER)
    assert ids(after) == ids(before)
    assert after.notes == (f"pets: {tmp_path}/pets is not there; its trials are those of the data last read",)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{name: pets, path: nowhere, format: image_folder}", "line 4: datasets.0.path: pets: "),
        ("{name: pets, format: npz}", "line 4: datasets.0.path: is missing; must be a file or folder"),
        (
            "{name: pets, path: pets}",
            "line 4: datasets.0.format: is missing; must be one of image_folder, npz, parquet",
        ),
        ("{name: pets, path: 3, format: npz}", "line 4: datasets.0.path: given 3; must be a file or folder"),
        (
            "{name: pets, path: pets, format: zip}",
            "line 4: datasets.0.format: given 'zip'; must be one of image_folder",
        ),
        ("{name: pets, path: pets, format: [npz]}", "line 4: datasets.0.format: given ['npz']; must be one of image"),
        (
            "{name: pets, path: pets, format: image_folder, size: 0}",
            "line 4: datasets.0.size: given 0; must be a whole number of pixels from 1 to 4096",
        ),
        (
            "{name: pets, path: pets, format: image_folder, size: yes}",
            "line 4: datasets.0.size: given True; must be a whole number of pixels from 1 to 4096",
        ),
        (
            "{name: pets, path: pets.npz, format: npz, size: 8}",
            "line 4: datasets.0.size: given 8; is for pictures, and npz holds arrays: leave it out",
        ),
        ("{path: pets, format: image_folder}", "line 4: datasets.0.name: is missing"),
        ("{name: a/b, path: pets, format: image_folder}", "line 4: datasets.0.name: given 'a/b'; must be at most 64"),
        (
            "{name: cifar10, path: pets, format: image_folder}",
            "line 4: datasets.0.name: cifar10 is a data set of ours, which has no path, format, size; give yours",
        ),
        (
            "{name: pets, path: pets, format: npz, own: {content: x}}",
            "line 4: datasets.0.own: unknown key; allowed: name, validation, pad",
        ),
        (
            "{name: pets, path: pets, format: image_folder, paht: x}",
            "line 4: datasets.0.paht: unknown key; allowed: name, validation, pad, flip, brightness, contrast, path, "
            "format, size (did you mean path?)",
        ),
        (
            "{name: pets, path: pets, format: image_folder, validation: own}",
            "line 4: datasets.0: validation is own, and pets has no split of its own for validation",
        ),
        (
            "{name: digits, validation: own}",
            "line 4: datasets.0: validation is own, and digits has no split of its own",
        ),
        (
            "{name: pets, path: pets, format: image_folder, validation: 12}",
            "line 4: datasets.0: validation is 12, must be less than the 12 training images",
        ),
        (
            "{name: pets, path: pets, format: image_folder, pad: 9}",
            "line 4: datasets.0: pad is 9, must be at most the image's 8 pixels",
        ),
        ("pets", f"line 4: datasets.0: no data set is named 'pets'; allowed: {', '.join(DATASETS)}, or give path and"),
    ],
)
def test_a_fault_has_its_line_and_no_other_is_told(sweep_of: Write, tmp_path: Path, entry: str, fault: str) -> None:
    as_folder(tmp_path / "pets", pixels())
    with pytest.raises(SweepError) as error:
        sweep_of(entry)
    head, said = str(error.value).splitlines()
    assert head.endswith(": 1 fault")
    assert said.strip().startswith(fault)


def test_faults_of_data_and_of_the_file_are_told_together(sweep_of: Write, tmp_path: Path) -> None:
    root = as_folder(tmp_path / "pets", pixels())
    (root / "train" / "cat" / "a.png").write_bytes(b"x")
    (root / "test" / "cow").mkdir()
    with pytest.raises(SweepError) as error:
        sweep_of("{name: pets, path: pets, format: image_folder, pad: -1}", "mnist", batch=1)
    lines = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert lines[0] == "line 4: datasets.0: pad is -1, must be at least 0"
    assert lines[1] == f"line 4: datasets.0.path: pets: {root} has 2 faults:"
    assert lines[2:4] == ["test/cow is a class that train/ does not have", "train/cat/a.png is no PNG or JPEG picture"]
    assert [line.partition(":")[0] for line in lines[4:]] == ["line 5", "line 7"]


def test_a_batch_must_fit_the_data(sweep_of: Write, tmp_path: Path) -> None:
    as_folder(tmp_path / "pets", pixels())
    with pytest.raises(SweepError, match="batch_size: given 13; must be at most the 12 training images of pets"):
        sweep_of(FOLDER, batch=13)
