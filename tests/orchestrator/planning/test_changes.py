"""A plan says which change of an extension makes trials new that ran before; what ran with it can still be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from written import RAMP

from anytime_core.networks import Feedback
from orchestrator.analysis import trace
from orchestrator.extensions import importing
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import changes
from orchestrator.planning import plan as planning
from orchestrator.report.status import read_tables
from orchestrator.report.views import render
from orchestrator.report.views import trial as render_trial
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile import reported, schema, trust
from orchestrator.sweepfile.load import load

SWEEP = """name: mine
extensions: [ramp.py]
networks: [{n: 1, c: 2}]
datasets: [digits]
methods:
  ann: {}
  ramp: {weights: ramp, grid: {power: [1, 2]}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(trust.FOLDERS, str(tmp_path))
    (tmp_path / "ramp.py").write_text(RAMP)
    (tmp_path / "mine.yaml").write_text(SWEEP)
    yield tmp_path
    importing.activate([])
    reported.install()
    schema.rebuild()


@pytest.fixture
def ended(folder: Path, ledger: Ledger, make_record) -> Sweep:
    """A sweep all of whose trials have run."""
    sweep = load(folder / "mine.yaml")
    for trial in sweep.trials:
        ledger.finish(ledger.begin(trial), make_record(trial, (60.0, 50.0, 40.0)))
    return sweep


def reasons(folder: Path, ledger: Ledger, earlier: Sweep) -> dict[str, str]:
    sweep = load(folder / "mine.yaml")
    plan = planning.make(sweep.trials, ledger)
    told = changes.explained(plan, ledger, [trial.id for trial in earlier.trials], sweep.extensions)
    return {entry.trial.cell.method: entry.reason for entry in told.to_run}


def test_a_change_of_the_code_is_the_reason(folder, ledger, ended) -> None:
    assert reasons(folder, ledger, ended) == {}
    (folder / "ramp.py").write_text(f"# a comment\n{RAMP}")
    assert reasons(folder, ledger, ended) == {}
    (folder / "ramp.py").write_text(RAMP.replace("0.01", "0.02"))
    said = "ramp.py changed (weights ramp); it ran before that"
    assert reasons(folder, ledger, ended) == {"ramp power=1": said, "ramp power=2": said}


def test_a_new_version_of_a_network_of_ours_is_the_reason_and_an_extension_is_not(
    folder, ledger, monkeypatch, make_record
) -> None:
    (folder / "mine.yaml").write_text(SWEEP.replace("{n: 1, c: 2}", "{name: feedback, iterations: 1, c: 2}"))
    before = load(folder / "mine.yaml")
    for trial in before.trials:
        ledger.finish(ledger.begin(trial), make_record(trial, (60.0, 50.0, 40.0)))
    monkeypatch.setattr(Feedback, "source", "2")
    said = "this package changed (network feedback); it ran before that"
    assert {*reasons(folder, ledger, before).values()} == {said}
    (folder / "ramp.py").write_text(RAMP.replace("0.01", "0.02"))
    both = "this package changed (network feedback) and ramp.py changed (weights ramp); it ran before that"
    assert reasons(folder, ledger, before) == {"ann": said, "ramp power=1": both, "ramp power=2": both}
    monkeypatch.setattr(Feedback, "source", "1")
    assert reasons(folder, ledger, before)["ramp power=1"] == "ramp.py changed (weights ramp); it ran before that"


def test_a_new_point_of_the_grid_is_only_new(folder, ledger, ended) -> None:
    (folder / "mine.yaml").write_text(SWEEP.replace("[1, 2]", "[1, 2, 3]"))
    assert "changed" not in reasons(folder, ledger, ended)["ramp power=3"]


def test_results_of_an_extension_that_is_gone_or_changed_are_shown(folder, ledger, ended) -> None:
    """By a sweep that was read before, as a report of all its trials has them: nothing needs the code."""
    trial = next(trial for trial in ended.trials if trial.cell.method == "ramp power=2")
    for active in ("changed", "gone"):
        if active == "changed":
            (folder / "ramp.py").write_text(RAMP.replace("0.01", "0.02"))
            load(folder / "mine.yaml")
        else:
            importing.activate([])
        record = ledger.record(trial.id)
        assert record is not None
        assert record.config["regime"]["weights"]["name"] == "ramp"
        text = render_trial.trace_text(trace.trace(ended, trace.find(ended, "ramp power=2"), ledger))
        assert "ramp" in text
        assert "ramp power=2" in render.report_text(read_tables(ended, ledger))
