"""Results of extensions that are gone, or have changed: they are read, shown and compared, and nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from own_data import pixels
from written import NET, RAMP, READER, REPORTS, TWICE

from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.extensions import importing
from orchestrator.ledger import last_run
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile import reported, schema, trust
from orchestrator.sweepfile.load import load

FILES = {"nets.py": NET, "ramp.py": RAMP, "twice.py": TWICE, "npy.py": READER, "reports.py": REPORTS}
SWEEP = """name: g
extensions: [nets.py, ramp.py, twice.py, npy.py]
networks: [{n: 1, c: 2}, {name: pair}]
datasets: [{name: pets, path: pets, format: npy}]
methods: {ann: {}, ramp: {weights: ramp}, twice: {regime: twice}}
training: {steps: 4, batch_size: 4, learning_rate: {0: 0.1}}
report: {baseline: ann}
"""
OTHER = """name: other
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}}
training: {steps: 22, batch_size: 64, learning_rate: {0: 0.1}}
"""
GONE = "  line 2: extensions.0: nets.py: cannot be read: No such file or directory\n"
Run = Callable[[Sweep], None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, value in {trust.FOLDERS: str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "user")}.items():
        monkeypatch.setenv(name, value)
        environment[name] = value
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pets").mkdir()
    for name, array in pixels().items():
        np.save(tmp_path / "pets" / f"{name}.npy", array)
    (tmp_path / "g.yaml").write_text(SWEEP)
    (tmp_path / "other.yaml").write_text(OTHER)
    yield tmp_path
    importing.activate([])
    reported.install()
    schema.rebuild()


@pytest.fixture
def run(ledger: Ledger, folder: Path) -> Run:
    """Trains a sweep, as its driver does, but for the last trial."""

    def ran(sweep: Sweep) -> None:
        last_run.remember(sweep, ledger)
        where = WorkerContext(
            storage=ledger.storage,
            data_root=folder / "data",
            extensions=sweep.extensions,
            own_data=sweep.own_data,
        )
        for trial in sweep.trials[:-1]:
            assert run_trial(trial, where, lambda epochs: None).error is None

    return ran


def remove(folder: Path, *names: str) -> None:
    for name in names or FILES:
        (folder / name).unlink()


def test_a_sweep_is_shown_as_it_last_ran(orchestrate, folder: Path, run: Run) -> None:
    sweep = load(folder / "g.yaml")
    run(sweep)
    ended, left = (sweep.trials[place].id for place in (-2, -1))
    commands = [
        ["report", "g.yaml", "--format", "json"],
        ["report", "g.yaml", "--verdict"],
        ["report", "g.yaml", "--power"],
        ["status", "g.yaml"],
        ["show", "g.yaml", "ramp pair", "--format", "json"],
        ["show", "g.yaml", ended],
        ["diff", "g.yaml", "ramp pair", ended],
    ]
    before = [orchestrate(*command) for command in commands]
    assert [(done.code, done.err) for done in before] == [(0, "")] * len(commands)
    remove(folder)
    for done, command in zip(before, commands, strict=True):
        now = orchestrate(*command)
        assert now.code == 0
        if "json" in command:
            assert json.loads(now.out) == json.loads(done.out)
        else:
            assert _without_steps_left(now.out) == _without_steps_left(done.out)
        assert now.err.startswith(f"note: g.yaml: 4 faults\n{GONE}")
        assert now.err.endswith("\n  shown is the sweep as it was last run\n")
    assert f"{left}" in orchestrate("status", "g.yaml").out
    assert orchestrate("show", "g.yaml", left).out.startswith("twice pair pets seed 0: pending\n")
    for command in ("plan", "sweep", "reproduce", "profile"):
        refused = orchestrate(command, "g.yaml", *(["ramp", "pair"] if command == "reproduce" else []))
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.startswith(f"error: g.yaml: 4 faults\n{GONE}")


def _without_steps_left(text: str) -> list[list[str]]:
    """The words of each line, sorted; those of a trial that has not ended say how many steps there are, and how long
    they take, as only code knows."""
    lines = [line.split() for line in text.splitlines()]
    return sorted(words for words in lines if "pending" not in words and words[:3] != ["the", "rest", "takes"])


def test_figures_are_drawn_as_before(orchestrate, folder: Path, run: Run) -> None:
    """But weights that only code knows."""
    run(load(folder / "g.yaml"))
    assert orchestrate("report", "g.yaml", "--output", "before").code == 0
    remove(folder)
    assert orchestrate("report", "g.yaml", "--output", "after").code == 0
    drawn = {path.name: path.read_bytes() for path in (folder / "before" / "figures").iterdir()}
    again = {path.name: path.read_bytes() for path in (folder / "after" / "figures").iterdir()}
    assert {name for name in drawn if drawn[name] != again[name]} == {"weights.png", "weights.svg"}
    assert b"ramp is not here, or has changed" in again["weights.svg"]


def test_what_only_an_extension_reports_is_left_out_with_a_note(orchestrate, folder: Path, run: Run) -> None:
    asked = "{baseline: ann, p_value: cautious, tables: [errors, counts]}"
    text = SWEEP.replace("npy.py]", "npy.py, reports.py]").replace("{baseline: ann}", asked)
    (folder / "g.yaml").write_text(text)
    run(load(folder / "g.yaml"))
    remove(folder, "reports.py")
    done = orchestrate("report", "g.yaml")
    assert done.code == 0
    assert done.err.endswith(
        "\n  table counts is an extension's, and left out\n  p_value cautious is an extension's; hoeffding stands in\n"
    )


@pytest.mark.parametrize("damage", ["never ran", "flipped", "another", "costless"])
def test_without_what_was_left_the_extension_is_asked_for(
    orchestrate, folder: Path, ledger: Ledger, run: Run, damage: str
) -> None:
    left = ledger.sweep_folder("g") / "sweep.json"
    last_run.remember(load(folder / "g.yaml"), ledger)
    content = ledger.read_sweep("g")
    assert content
    match damage:
        case "never ran":
            left.unlink()
        case "flipped":
            left.write_bytes(left.read_bytes().replace(b'"seed": 0', b'"seed": 1'))
        case "another":
            ledger.write_sweep("g", content | {"cells": [cell | {"config": 0} for cell in content["cells"]]})
        case _:
            owned = [cell for cell in content["cells"] if cell["own"]]
            ledger.write_sweep("g", content | {"cells": [owned[0] | {"own": owned[0]["own"] | {"costs": [0]}}]})
    remove(folder)
    done = orchestrate("status", "g.yaml")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("npy.py: cannot be read: No such file or directory\n")
    assert ("warning: " in done.err) is (damage != "never ran")


def test_a_file_that_cannot_be_imported_and_data_that_are_not_there_are_gone_too(
    orchestrate, folder: Path, run: Run
) -> None:
    run(load(folder / "g.yaml"))
    (folder / "ramp.py").write_text("import no_such_module")
    done = orchestrate("report", "g.yaml")
    assert (done.code, "No module named 'no_such_module'" in done.err) == (0, True)
    (folder / "ramp.py").write_text(RAMP)
    (folder / "pets").rename(folder / "elsewhere")
    done = orchestrate("report", "g.yaml", XDG_CACHE_HOME=str(folder / "another"))
    assert done.code == 0
    assert "datasets.0.path: " in done.err
    (folder / "g.yaml").write_text(SWEEP.replace("steps: 4", "steps: 0"))
    done = orchestrate("report", "g.yaml", XDG_CACHE_HOME=str(folder / "another"))
    assert (done.code, done.out, "g.yaml: 2 faults" in done.err) == (2, "", True)


def test_any_trial_of_the_storage_is_shown_by_its_id(orchestrate, folder: Path, run: Run) -> None:
    sweep = load(folder / "g.yaml")
    run(sweep)
    ids = {trial.cell.label: trial.id for trial in sweep.trials}
    ramp, twice = ids["ramp pair pets seed 0"], ids["twice (1,2) pets seed 0"]
    (folder / "ramp.py").write_text(RAMP.replace("0.01", "0.02"))
    done = orchestrate("show", "g.yaml", ramp[:8])
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("ann pair pets seed 0: finished\n")
    remove(folder)
    content = json.loads(orchestrate("show", "other.yaml", twice, "--format", "json").out)
    assert (content["trial"]["id"], content["trial"]["sweep"], content["trial"]["cells"]) == (twice, None, [])
    assert content["trial"]["steps"] == content["trial"]["step"] == 8
    assert content["config"]["regime"]["name"] == "twice"
    assert len(content["errors"]) == 3
    assert orchestrate("show", "other.yaml", ids["twice pair pets seed 0"]).code == 2
    refused = orchestrate("show", "other.yaml", "twice")
    assert refused.err.startswith("error: other.yaml: no cell is 'twice'; words of cells are:\n")


def test_a_trial_that_has_not_ended_is_shown_by_its_id(orchestrate, folder: Path, ledger: Ledger) -> None:
    trial = load(folder / "g.yaml").trials[-1]
    attempt = ledger.begin(trial, "g")
    ledger.fail(attempt, "it broke")
    remove(folder)
    content = json.loads(orchestrate("show", "other.yaml", trial.id, "--format", "json").out)
    assert (content["trial"]["sweep"], content["trial"]["state"]) == ("g", "failed")
    assert (content["trial"]["steps"], content["errors"]) == (None, [])
    assert content["failure"]["error"] == "it broke"
    (ledger.folder(trial.id) / "config.json").write_text("{}")
    assert orchestrate("show", "other.yaml", trial.id).err.endswith("its config is lost, or damaged\n")
