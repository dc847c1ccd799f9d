"""Two sweeps of one name on one storage, of trials that have ended: nothing is trained, and Ray does not start."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from told import TEXT, Told

from orchestrator.cli import cli
from orchestrator.ledger import needs, notes

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


def runs_of(told: Told) -> dict[str, Any]:
    """By trial id, without the summary."""
    found = told.client.search_runs([told.experiment], "tags.trial_id != ''")
    return {run.data.tags["trial_id"]: run for run in found}


def test_a_method_that_is_out_of_the_sweep_looks_so_in_mlflow_until_it_is_back(
    sweep: Callable[[str], str], told: Told
) -> None:
    def listed() -> dict[str, str]:
        """In the order of the view, with whether each is current."""
        runs = sorted(runs_of(told).values(), key=lambda run: run.data.tags["place"])
        return {run.info.run_name: run.data.tags["current"] for run in runs}

    sweep(TEXT)
    before = listed()
    assert before == {"ann (1,2) digits s0": "yes", "opt (1,2) digits u3 s0": "yes"}
    fewer = TEXT.replace("  opt: {regime: opt, at: [1]}\n", "")
    for _ in range(2):
        sweep(fewer)
        assert list(listed().items()) == [("ann (1,2) digits s0", "yes"), ("dropped: opt (1,2) digits u3 s0", "no")]
    sweep(TEXT)
    assert listed() == before


def without_ages(rows: str) -> list[dict[str, object]]:
    """What `gc` lists, but for how long ago that was changed."""
    return [{name: value for name, value in row.items() if name != "age"} for row in json.loads(rows)]


def test_what_no_sweep_needs_is_gone_from_the_storage_and_from_mlflow_and_can_be_trained_again(
    sweep: Callable[[str], str], told: Told, tmp_path: Path
) -> None:
    gone = next(trial.id for trial in told.sweep.trials if trial.cell.method == "opt")
    sweep(TEXT)
    sweep(TEXT.replace("  opt: {regime: opt, at: [1]}\n", ""))
    command = ["gc", "--storage", str(told.ledger.local), "--format", "json"]
    listed = CliRunner().invoke(cli, command)
    assert [row["name"] for row in json.loads(listed.stdout)] == [f"trials/{gone}"]
    assert gone in told.ledger.begun()
    assert gone in runs_of(told)
    done = CliRunner().invoke(cli, [*command, "--delete"])
    assert done.exit_code == 0
    assert without_ages(done.stdout) == without_ages(listed.stdout)
    assert done.stderr.startswith("MLflow: 1 run deleted; ")
    assert gone not in told.ledger.begun()
    assert gone not in runs_of(told)
    assert len(runs_of(told)) == 1
    again = CliRunner().invoke(cli, ["plan", str(tmp_path / "small.yaml"), "--storage", str(told.ledger.local)])
    assert "2 trials: 1 finished, 1 to run" in again.output


def test_where_mlflow_cannot_be_told_of_what_is_gone_the_command_says_so(told: Told) -> None:
    needs.declare(replace(told.sweep, trials=told.sweep.trials[:1], cells={}), told.ledger)
    options = ["--storage", str(told.ledger.local), "--tracking-uri", "http://127.0.0.1:1", "--delete"]
    done = CliRunner().invoke(cli, ["gc", *options])
    assert len(told.ledger.begun()) == 1
    assert done.exit_code == 1
    assert "MLflow at http://127.0.0.1:1 cannot be told" in done.stderr
    assert "it still lists the runs of 1 trial that are gone" in done.stderr


def test_notes_are_tags_of_their_runs_until_they_are_removed(sweep: Callable[[str], str], told: Told) -> None:
    def tags() -> dict[str, str]:
        runs = told.client.search_runs([told.experiment])
        return {run.info.run_name: run.data.tags["notes"] for run in runs if "notes" in run.data.tags}

    sweep(TEXT)
    trial = next(trial for trial in told.sweep.trials if trial.cell.method == "ann")
    written = [
        notes.add(told.ledger, "trials", trial.id, "odd <b>", "me"),
        notes.add(told.ledger, "sweeps", "small", "all of it", "me"),
    ]
    sweep(TEXT)
    assert tags() == {
        "ann (1,2) digits s0": f"{written[0].time} me: odd <b>",
        "summary": f"{written[1].time} me: all of it",
    }
    for note in written:
        notes.remove(told.ledger, note)
    sweep(TEXT)
    assert tags() == {}
