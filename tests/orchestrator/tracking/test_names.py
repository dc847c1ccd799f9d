"""Two sweeps of one name on one storage, of trials that have ended: nothing is trained, and Ray does not start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from told import TEXT, Told

from orchestrator.cli import cli

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own are not ours to mend


@pytest.fixture
def sweep(told: Told, tmp_path: Path) -> Callable[[str], str]:
    """Runs a sweep file of this text, and returns what was said."""

    def run(text: str) -> str:
        (tmp_path / "sweep.yaml").write_text(text)
        command = ["sweep", str(tmp_path / "sweep.yaml"), "--storage", str(told.ledger.local)]
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_a_sweep_says_that_it_replaces_another_of_its_name(sweep: Callable[[str], str], told: Told) -> None:
    assert "had other trials" not in sweep(TEXT)
    fewer = TEXT.replace("  opt: {regime: opt, at: [1]}\n", "")
    said = sweep(fewer)
    assert "the last sweep named small had other trials: 1 of its 2 trials is in this one" in said
    assert str(told.ledger.sweep_folder("small") / "report") in said
    assert "had other trials" not in sweep(fewer), "it is said once"
    assert "had other trials" not in sweep(TEXT), "nothing of the last one is lost"


def test_of_a_sweep_by_an_earlier_version_what_mlflow_was_told_is_known(
    sweep: Callable[[str], str], told: Told
) -> None:
    assert not (told.ledger.sweep_folder("small") / "trials.json").exists()
    assert "1 of its 2 trials is in this one" in sweep(TEXT.replace("  opt: {regime: opt, at: [1]}\n", ""))
