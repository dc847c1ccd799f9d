"""What docs/data.md shows works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from own_data import as_folder, as_parquet, pixels

from orchestrator.cli import cli
from orchestrator.owndata.formats import FORMATS
from orchestrator.sweepfile.load import load

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text()


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.S)
    return str(found)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sweep file of the page, with such data as it names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    exec(block("python"), {})
    counts = {"train": 12, "test": 3}
    as_folder(tmp_path / "data" / "leaves", pixels(size=20, counts=counts), ("oak", "elm"))
    as_parquet(tmp_path / "cards", pixels(counts=counts))
    (tmp_path / "mine.yaml").write_text(block("yaml"))
    return tmp_path / "mine.yaml"


def test_the_sweep_of_the_page_is_sound(mine: Path) -> None:
    sweep = load(mine)
    own = {trial.cell.dataset: trial.config.data.own for trial in sweep.trials}
    assert {name: data and (data.channels, data.size) for name, data in own.items()} == {
        "leaves": (3, 16),
        "spectra": (5, 12),
        "cards": (3, 8),
        "digits": None,
    }
    assert sweep.validated == {"spectra", "cards"}


@pytest.mark.parametrize("line", [line for line in block("sh").splitlines() if " data check " in line])
def test_the_checks_of_the_page_run(mine: Path, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "oak" in done.output


def test_the_page_names_every_format() -> None:
    assert re.findall(r"^\*\*`(\w+)`\*\*:", PAGE, re.M) == list(FORMATS)
