"""The files of data sets are checked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from own_data import as_folder, pixels


def test_the_files_of_a_data_set_are_checked_one_by_one(orchestrate, tmp_path) -> None:
    done = orchestrate("data", "check", "svhn")
    assert done.code == 1
    assert done.out.startswith("svhn below runs/data\n")
    assert done.out.count(" missing") == 3
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "test_32x32.mat").write_bytes(b"not it")
    for place in ({"ORCHESTRATE_DATA_ROOT": "images"}, {}):
        root = [] if place else ["--root", "images"]
        done = orchestrate("data", "check", "svhn", "--format", "json", *root, **place)
        assert done.code == 1
        assert json.loads(done.out) == [
            {"file": "images/train_32x32.mat", "state": "missing"},
            {"file": "images/extra_32x32.mat", "state": "missing"},
            {"file": "images/test_32x32.mat", "state": "wrong md5"},
        ]


def test_a_data_set_without_files_is_as_it_should_be(orchestrate) -> None:
    done = orchestrate("data", "check", "digits")
    assert (done.code, done.out) == (0, "digits has no files of its own: there is nothing to check\n")


@pytest.fixture
def pets(tmp_path) -> Path:
    return as_folder(tmp_path / "pets", pixels())


SWEEP = """
name: mine
networks: [{n: 1, c: 2}]
datasets: [{name: pets, path: pets, format: image_folder}, digits]
methods: {ann: {}}
training: {steps: 4, batch_size: 4, learning_rate: {0: 0.1}}
"""


def test_what_data_of_ones_own_hold_is_shown(orchestrate, tmp_path, pets) -> None:
    (pets / "train" / ".DS_Store").write_bytes(b"")
    (tmp_path / "mine.yaml").write_text(SWEEP)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    shown = {given: orchestrate("data", "check", given, **cache) for given in ("pets", "mine.yaml")}
    assert shown["pets"].out == shown["mine.yaml"].out
    for words in (
        "8 x 8 pixels, 3 channels",
        " cat         6      2\n",
        " all        12      4\n",
        "ignored: 1 file such as",
    ):
        assert words in shown["pets"].out
    (document,) = json.loads(orchestrate("data", "check", "mine.yaml", "--format", "json", **cache).out)
    assert document["images"] == {"train": {"cat": 6, "dog": 6}, "test": {"cat": 2, "dog": 2}}
    train = pixels()["train_images"] / 1.0
    assert document["mean"] == pytest.approx(train.mean((0, 2, 3)))
    assert document["std"] == pytest.approx(train.std((0, 2, 3)))
    assert f"content: {document['content']}" in shown["pets"].out
    rows = orchestrate("data", "check", "pets", "--size", "4", "--format", "csv", **cache).out.splitlines()
    assert rows == ["data,class,train,test", "pets,cat,6,2", "pets,dog,6,2"]


def test_what_is_wrong_with_data_of_ones_own_is_an_error_of_input(orchestrate, tmp_path, pets) -> None:
    (pets / "test" / "cat" / "a.png").write_bytes(b"x")
    done = orchestrate("data", "check", "pets", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("pets has 1 fault:\n    test/cat/a.png is no PNG or JPEG picture\n")
    done = orchestrate("data", "check", "petz")
    assert done.code == 2
    assert "'digits', or a file or folder." in done.err
