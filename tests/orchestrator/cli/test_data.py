"""The files of data sets are checked."""

from __future__ import annotations

import json


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
