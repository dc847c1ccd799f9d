"""Data that an extension reads, in a sweep file: identified by their images, refused with their lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from own_data import as_npz, pixels

from anytime_core.data.loader import Images
from orchestrator.errors import SweepError
from orchestrator.execution.worker import WorkerContext, unfit
from orchestrator.extensions import importing
from orchestrator.owndata import formats
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile import trust
from orchestrator.sweepfile.load import activate, load

READER = """
from dataclasses import dataclass
import numpy as np
from anytime_core.extend import Reader, register

@register("npy")
@dataclass(frozen=True, kw_only=True)
class Npy(Reader):
    invert: bool = False
    classes: tuple[str, ...] = ("cat", "dog")

    def read(self, path):
        arrays = {file.stem: np.load(file) for file in sorted(path.glob("*.npy"))}
        if "train_labels" not in arrays:
            raise ValueError("there is no train_labels.npy")
        if self.invert:
            arrays["train_images"] = 255 - arrays["train_images"]
        return {**arrays, "class_names": np.array(self.classes)}
"""
Write = Callable[..., Sweep]
PETS = "{name: pets, path: pets, format: npy}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv(trust.FOLDERS, str(tmp_path))
    (tmp_path / "npy.py").write_text(READER)
    (tmp_path / "pets").mkdir()
    for name, array in pixels().items():
        np.save(tmp_path / "pets" / f"{name}.npy", array)
    yield tmp_path
    activate([])


@pytest.fixture
def sweep_of(folder: Path) -> Write:
    """A sweep of these data sets, one a line from line 5 on."""

    def made(
        *entries: str,
        extensions: str = "[npy.py]",
        networks: str = "[{n: 1, c: 2}]",
        methods: str = "{ann: {}, aann: {strategy: aann}}",
    ) -> Sweep:
        listed = "".join(f"  - {entry}\n" for entry in entries)
        path = folder / "mine.yaml"
        path.write_text(
            f"name: mine\nextensions: {extensions}\nnetworks: {networks}\ndatasets:\n{listed}"
            f"methods: {methods}\n"
            "training: {steps: 4, batch_size: 4, learning_rate: {0: 0.1}}\n"
        )
        return load(path)

    return made


def ids(sweep: Sweep) -> set[str]:
    return {trial.id for trial in sweep.trials}


def test_trials_are_those_of_the_same_images_in_a_format_of_ours(sweep_of: Write, folder: Path) -> None:
    as_npz(folder / "pets.npz", pixels())
    assert ids(sweep_of(PETS)) == ids(sweep_of("{name: pets, path: pets.npz, format: npz}", extensions="[]"))


def test_a_reader_that_changes_moves_ids_only_if_it_reads_something_else(sweep_of: Write, folder: Path) -> None:
    before = sweep_of(PETS, "digits")
    (folder / "npy.py").write_text(READER.replace("arrays = ", "found = arrays = "))
    assert ids(sweep_of(PETS, "digits")) == ids(before)
    (folder / "npy.py").write_text(READER.replace("255 - ", "254 - ").replace("if self.invert", "if not self.invert"))
    after = sweep_of(PETS, "digits")
    assert {trial.cell.dataset for trial in after.trials if trial.id in ids(before)} == {"digits"}


def test_fields_are_keys_of_the_entry(sweep_of: Write) -> None:
    plain = sweep_of(PETS)
    inverted = sweep_of("{name: pets, path: pets, format: npy, invert: true, classes: [a, b], validation: 2}")
    assert not ids(plain) & ids(inverted)
    (data,) = {trial.config.data for trial in inverted.trials}
    assert data.own is not None
    assert (data.own.class_names, data.validation) == (("a", "b"), 2)


def test_a_worker_that_has_the_extension_reads_what_the_trial_is_of(sweep_of: Write, folder: Path) -> None:
    sweep = sweep_of(PETS)
    importing.activate([])
    (data,) = {trial.config.data for trial in sweep.trials}
    with pytest.raises(formats.DataError, match=r"reader npy of source .* is not here, or has changed; nothing can be"):
        formats.images_of(data, sweep.own_data, folder)
    where = WorkerContext(
        storage=folder, data_root=folder, extensions=sweep.extensions, own_data=json_round_trip(sweep.own_data)
    )
    assert unfit(where) is None
    images = formats.images_of(data, where.own_data, folder)
    assert isinstance(images, Images)
    assert len(images.train_images) == 12


def json_round_trip(sources):
    """What the reader is goes as text, so a source may arrive before its extension does."""
    assert all(isinstance(json.loads(source.reader), dict) for source in sources.values())
    return dict(sources)


def test_what_was_read_once_is_not_read_again(sweep_of: Write, folder: Path) -> None:
    marked = """count = len([*path.parent.glob("read *")])
        (path.parent / f"read {count}").touch()
        arrays = {"""
    counting = READER.replace("arrays = {", marked)
    (folder / "npy.py").write_text(counting)
    for _ in range(3):
        sweep_of(PETS)
    assert len([*folder.glob("read *")]) == 1
    np.save(folder / "pets" / "test_labels.npy", np.zeros(4, np.int64))
    sweep_of(PETS)
    assert len([*folder.glob("read *")]) == 2


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{name: pets, path: nowhere, format: npy}", "line 5: datasets.0.path: pets: .*nowhere is not there"),
        (
            "{name: pets, path: pets, format: numpy, invert: true}",
            "1 fault\n  line 5: datasets.0.format: given 'numpy'; must be one of image_folder, npz, parquet, npy$",
        ),
        (
            "{name: pets, path: pets, format: npy, invert: 3}",
            "line 5: datasets.0.invert: given 3; must be a valid bool",
        ),
        (
            "{name: pets, path: pets, format: npy, classes: cat}",
            "line 5: datasets.0.classes: given 'cat'; must be a valid list",
        ),
        (
            "{name: pets, path: pets, format: npy, inverted: true, size: 8}",
            r"2 faults\n  line 5: datasets.0.inverted: unknown key; allowed: .*, classes \(did you mean invert\?\)"
            "\n  line 5: datasets.0.size: given 8; is for pictures, and npy holds arrays: leave it out",
        ),
        (
            "{name: pets, path: pets/nothing, format: npy}",
            r"line 5: datasets.0.path: .*npy\.py, line 15: pets: .*: reader npy: there is no train_labels.npy",
        ),
        (
            "{name: pets, path: pets, format: image_folder, invert: true}",
            r"line 5: datasets.0.invert: unknown key; allowed: name, .*, path, format, size\n",
        ),
        ("{name: pets, path: pets, format: npy, classes: [cat, cat]}", "classes 'cat', 'cat' differ in case or spaces"),
    ],
)
def test_faults_are_told_with_their_lines(sweep_of: Write, folder: Path, entry: str, fault: str) -> None:
    (folder / "pets" / "nothing").mkdir()
    with pytest.raises(SweepError, match=fault):
        sweep_of(entry)


NETWORK = """
from anytime_core.extend import Network

@register("small")
@dataclass(frozen=True, kw_only=True)
class Small(Network):
    @property
    def predictions(self):
        return 2

    def build(self, classes, channels, size):
        raise NotImplementedError

    def up_to(self, prediction):
        return self

    def costs(self, classes, channels, size):
        print("costs of", size)
        return [1, 2] if size <= 8 else 1 / 0
"""


def test_a_fault_of_data_makes_none_of_networks(sweep_of: Write, folder: Path, capsys) -> None:
    (folder / "npy.py").write_text(READER + NETWORK)
    networks = "[{name: small}, {n: 1, c: 2}]"
    methods = "{ann: {}, opt: {regime: opt}, linear: {weights: linear}}"
    with pytest.raises(SweepError, match=r": 1 fault\n.*nowhere is not there$"):
        sweep_of("{name: pets, path: nowhere, format: npy}", networks=networks, methods=methods)
    assert "costs" not in capsys.readouterr().out
    assert sweep_of(PETS, networks=networks, methods=methods).trials


def test_data_that_are_gone_are_known_though_their_reader_has_changed(sweep_of: Write, folder: Path) -> None:
    before = sweep_of(PETS)
    (folder / "npy.py").write_text(READER.replace("255 - ", "254 - "))
    (folder / "pets").rename(folder / "gone")
    after = sweep_of(PETS)
    assert ids(after) == ids(before)
    assert "those of the data last read" in after.remarks[0]
    with pytest.raises(SweepError, match="pets is not there"):
        sweep_of("{name: pets, path: pets, format: npy, invert: true}")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("arrays = {", "raise SystemExit(0)  # {", "npy.py, line 13: pets: .*: reader npy: SystemExit: 0"),
        ("arrays = {", "files = 1 / 0  # {", "npy.py, line 13: pets: .*: reader npy: ZeroDivisionError: division by"),
        (
            "    def read",
            "    def __post_init__(self):\n        raise SystemExit(0)\n\n    def read",
            "0: SystemExit: 0",
        ),
    ],
)
def test_an_exit_of_a_reader_is_a_fault(sweep_of: Write, folder: Path, old: str, new: str, fault: str) -> None:
    (folder / "npy.py").write_text(READER.replace(old, new))
    with pytest.raises(SweepError, match=fault):
        sweep_of(PETS)


def test_a_reader_takes_no_name_of_ours_and_no_key_of_a_data_set(sweep_of: Write, folder: Path) -> None:
    (folder / "npy.py").write_text(READER.replace('"npy"', '"npz"'))
    with pytest.raises(SweepError, match="reader npz is one of ours; give it another name"):
        sweep_of(PETS)
    (folder / "npy.py").write_text(READER.replace("invert", "flip"))
    with pytest.raises(SweepError, match="Npy has a field flip, which is reserved"):
        sweep_of(PETS)
