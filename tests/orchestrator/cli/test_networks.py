"""The commands on trained networks look first whether they can keep what they make."""

from __future__ import annotations

from pathlib import Path

import pytest

QUICKSTART = str(Path(__file__).parents[3] / "sweeps" / "quickstart.yaml")


@pytest.mark.parametrize(("command", "below"), [("profile", ""), ("export", "aann.zip")])
def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(
    orchestrate, tmp_path, one_finished, command, below
) -> None:
    one_finished(tmp_path / "runs")
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "folder" / below
    done = orchestrate(command, QUICKSTART, "ann", "2,8", "seed", "0", "--output", str(output))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: --output ")
    assert f"{tmp_path / 'file'} cannot be written: Not a directory; give another" in done.err


def test_a_folder_that_is_not_there_yet_is_not_made_for_what_fails(orchestrate, tmp_path) -> None:
    done = orchestrate("profile", QUICKSTART, "nobody", "--output", str(tmp_path / "new" / "folder"))
    assert done.code == 2
    assert "no cell is 'nobody'" in done.err
    assert not (tmp_path / "new").exists()
