"""A bundle in place of a storage, and what is brought from one to another, as a user sees it."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from orchestrator.ledger import checksummed, last_run, needs
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load

TEXT = """
name: two
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1}}
report: {baseline: ann}
notify: {command: [echo]}
"""


@pytest.fixture
def two(tmp_path: Path) -> Sweep:
    (tmp_path / "two.yaml").write_text(TEXT)
    return load(tmp_path / "two.yaml")


@pytest.fixture
def end_all(two: Sweep, make_record: Callable, make_epochs: Callable) -> Callable[[Path], Ledger]:
    """Ends the trials of the sweep in a storage, with made up numbers."""

    def end(storage: Path) -> Ledger:
        ledger = Ledger(storage)
        ledger.make()
        for trial in two.trials:
            attempt, count = ledger.begin(trial), len(trial.config.predicting_units)
            numbers = make_epochs(2, count)
            ledger.write_epochs(attempt, trial.config.predicting_units, range(1, count + 1), numbers)
            ledger.finish(attempt, make_record(trial, numbers[-1].test_error))
        return ledger

    return end


@pytest.fixture
def runs(tmp_path: Path, end_all: Callable[[Path], Ledger]) -> Ledger:
    return end_all(tmp_path / "runs")


def test_commands_that_read_take_a_bundle_for_a_storage(orchestrate, runs: Ledger, tmp_path: Path) -> None:
    done = orchestrate("bundle", "two.yaml", "--output", "two.zip")
    assert (done.code, done.err) == (0, "note: two.yaml says whom to notify, and is in the bundle as it is\n")
    assert done.out == "written: two.zip\n2 of 2 trials have ended and are in it, 0 with their networks\n"
    for command in (
        *(["status", "two.yaml"], ["status", "two.yaml", "--format", "json"]),
        *(["report", "two.yaml"], ["report", "two.yaml", "--verdict"], ["report", "two.yaml", "--format", "json"]),
        *(["plan", "two.yaml", "--format", "csv"], ["plan", "two.yaml"]),
    ):
        ours, theirs = orchestrate(*command), orchestrate(*command, "--storage", "two.zip")
        assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, theirs.err)
        assert ours.code == 0
        if command[0] != "plan":
            alone = orchestrate(command[0], "two.zip", *command[2:])
            assert (alone.code, alone.out, alone.err) == (ours.code, ours.out.replace("two.yaml", "two.zip"), "")
    gone = orchestrate("report", "three.zip")
    assert (gone.code, gone.err) == (2, "error: three.zip: cannot be read: No such file or directory\n")
    shown = orchestrate("show", "two.zip", "aann")
    assert shown.code == 0
    assert f"{tmp_path}/two.zip/trials/" in shown.out
    assert orchestrate("report", "two.yaml", "--storage", "two.zip", "--html", "page.html").code == 0


def test_a_bundle_tells_machines_what_it_holds_and_commands_that_train_what_it_is(
    orchestrate, runs: Ledger, two: Sweep, tmp_path: Path
) -> None:
    orchestrate("note", "two.yaml", "a pilot")
    done = orchestrate("bundle", "two.yaml", "--output", "two.zip", "--format", "json")
    size = (tmp_path / "two.zip").stat().st_size
    assert json.loads(done.out) == [
        {"path": "two.zip", "bytes": size, "trials": 2, "of": 2, "points": 0, "networks": 0, "notes": 1}
    ]
    assert "; 1 note can be read by whoever has it" in orchestrate("bundle", "two.yaml", "--output", "two.zip").out
    assert "1 note; " in orchestrate("status", "two.zip").out
    assert "a pilot" in orchestrate("note", "two.zip").out
    for command in (["plan", "two.zip"], ["sweep", "two.zip"]):
        refused = orchestrate(*command, "--storage", "here")
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.startswith("error: two.zip: is a bundle, which `report`, `status` and `show` read. This ")
        assert "`orchestrate import two.zip`" in refused.err
    done = orchestrate("import", "two.zip", "--storage", "here")
    assert (done.code, done.err) == (0, "1 note came along\n")
    assert "a pilot" in orchestrate("note", "two.yaml", "--storage", "here").out


def test_an_import_without_mlflow_says_that_the_trials_are_here(orchestrate, runs: Ledger) -> None:
    options = ("--storage", "here", "--tracking-uri", "http://127.0.0.1:1")
    done = orchestrate("import", "runs", "two.yaml", *options)
    assert done.code == 1
    assert "; the trials are here\n" in done.err
    assert "MLflow at http://127.0.0.1:1 lacks 2 trials: " in done.err
    assert "training" not in done.err


@pytest.mark.parametrize("command", ["sweep", "outcomes", "bundle", "import", "doctor", "ui"])
def test_commands_that_write_refuse_one(orchestrate, runs: Ledger, command: str) -> None:
    orchestrate("bundle", "two.yaml", "--output", "two.zip")
    more = {"bundle": ["--output", "other.zip"], "import": ["two.zip"]}.get(command, [])
    refused = orchestrate(command, *more, "two.yaml", "--storage", "two.zip")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        "error: storage two.zip: is a file, and this command writes to its storage; allowed: a folder, or "
        "s3://BUCKET/PREFIX. `orchestrate import two.zip` brings a bundle into one\n"
    )


def test_what_is_brought_is_counted_and_listed(orchestrate, runs: Ledger, two: Sweep) -> None:
    done = orchestrate("import", "runs", "--storage", "here")
    assert (done.code, done.err) == (0, "")
    assert [line.split() for line in done.out.splitlines() if line][1:] == [
        ["became", "trials"],
        ["─" * len("became   trials")],
        ["copied", "2"],
    ]
    again = orchestrate("import", "runs", "--storage", "here", "--format", "json")
    assert json.loads(again.out) == [
        {"trial_id": name, "fate": "there already", "label": "", "what": "", "theirs": "", "ours": ""}
        for name in sorted(two.ids)
    ]
    assert orchestrate("report", "two.yaml", "--storage", "here").out == orchestrate("report", "two.yaml").out


def test_other_bits_and_damage_end_with_exit_code_1(
    orchestrate, runs: Ledger, two: Sweep, end_all: Callable[[Path], Ledger], tmp_path: Path
) -> None:
    here = end_all(tmp_path / "here")
    one, other = sorted(runs.begun())
    path = here.folder(one) / "result.json"
    content = checksummed.unpack(path.read_bytes())
    path.write_bytes(checksummed.pack(content | {"result": content["result"] | {"errors": [90.0, 80.0, 12.5]}}))
    (runs.folder(other) / "result.json").write_text("{}")
    done = orchestrate("import", "runs", "--storage", "here")
    assert (done.code, done.err) == (1, "")
    label = next(trial.cell.label for trial in two.trials if trial.id == one)
    sides = "  there: 32.25 % error, on cpu\n  here:  12.5 % error, on cpu\n"
    assert f"\n{one} ({label}) differs: errors\n{sides}" in done.out
    assert f"\n{other} damaged: result.json: its result is missing\n" in done.out
    rows = list(csv.DictReader(orchestrate("import", "runs", "--storage", "here", "--format", "csv").out.splitlines()))
    assert [(row["trial_id"], row["fate"]) for row in rows] == [(one, "differs"), (other, "damaged")]


def test_a_damaged_sweep_and_one_of_an_odd_name_cost_no_other_sweep_its_trials(
    orchestrate, runs: Ledger, two: Sweep, tmp_path: Path
) -> None:
    last_run.remember(two, runs)
    needs.declare(two, runs)
    odd = ("damaged", "-rf", " ", "a\nb\x1b[2J")
    for name in odd:
        (runs.local / "sweeps" / name).mkdir()
        (runs.local / "sweeps" / name / "sweep.json").write_text("{")
    done = orchestrate("import", "runs", "--storage", "here")
    here = Ledger(tmp_path / "here")
    assert (done.code, here.sweeps(), needs.of("two", here).trials) == (1, ["two"], {*two.ids})
    warned = [line for line in done.err.splitlines() if line.startswith("warning: left out: ")]
    names = [line.removeprefix("warning: left out: ").removesuffix(" is not the name of a sweep") for line in warned]
    assert {*names} > {repr(name) for name in odd[1:]}
    assert "which trials sweep damaged needs cannot be read. `gc`" in done.err
    assert f"`orchestrate import {runs.local} SWEEP.yaml`, with its file, keeps them" in done.err
    assert "there is nothing that nobody needs" in orchestrate("gc", "--storage", "here").out
    refused = orchestrate("gc", "--storage", "runs")
    assert "which trials sweep ' ' needs cannot be read" in refused.err


def test_a_sweep_needs_its_trials_before_they_are_brought(
    orchestrate, runs: Ledger, two: Sweep, tmp_path: Path
) -> None:
    needs.declare(two, runs)
    for more in ([], ["two.yaml"]):
        here = Ledger(tmp_path / f"here{len(more)}")
        here.make()
        for trial_id in two.ids:
            here.folder(trial_id).write_text("in the way")
        assert orchestrate("import", "runs", *more, "--storage", str(here.local)).code != 0
        assert needs.of("two", here).trials == {*two.ids}


def test_a_tampered_bundle_is_refused_in_a_line(orchestrate, runs: Ledger, tmp_path: Path) -> None:
    orchestrate("bundle", "two.yaml", "--output", "two.zip")
    content = (tmp_path / "two.zip").read_bytes()
    (tmp_path / "two.zip").write_bytes(content.replace(b'"steps": 44', b'"steps": 45'))
    done = orchestrate("import", "two.zip", "--storage", "here")
    assert (done.code, done.out) == (2, "")
    said = "is no whole bundle: the checksum of all its bytes does not match"
    assert done.err == f"error: {tmp_path}/two.zip: {said}\n"
    assert not (tmp_path / "here").exists()
    shown = orchestrate("status", "two.yaml", "--storage", "two.zip")
    assert (shown.code, shown.out) == (2, "")
    assert "two.zip: is no whole bundle: the checksum of trials/" in shown.err


def test_networks_are_named_as_for_show(orchestrate, runs: Ledger, two: Sweep, tmp_path: Path) -> None:
    for trial in two.trials:
        (runs.folder(trial.id) / "checkpoints").mkdir()
        shutil.copy(tmp_path / "two.yaml", runs.folder(trial.id) / "checkpoints" / "step-000000044.ckpt")
    refused = orchestrate("bundle", "two.yaml", "--output", "two.zip", "--networks", "exp3")
    assert refused.code == 2
    assert "no cell of two.yaml has these words" in refused.err
    damaged = orchestrate("bundle", "two.yaml", "--output", "two.zip", "--networks", "aann")
    assert damaged.code == 1
    assert "is damaged: checkpoints/step-000000044.ckpt: " in damaged.err
    assert orchestrate("bundle", "two.yaml", "--output", "two.zip").code == 0
    with ZipFile(tmp_path / "two.zip") as archive:
        assert not [name for name in archive.namelist() if "checkpoints" in name]


def test_trials_of_a_sweep_that_runs_are_told_by_it(orchestrate, runs: Ledger, tmp_path: Path) -> None:
    with Ledger(tmp_path / "here").drive("two"):
        held = orchestrate("import", "runs", "two.yaml", "--storage", "here")
    assert (held.code, held.err) == (0, "sweep two runs now, and tells MLflow at its end\n")


def test_a_bundle_in_place_of_a_sweep_file_shows_its_own_results(orchestrate, runs: Ledger, tmp_path: Path) -> None:
    """Also where a variable names another storage; one that the command line names is another matter."""
    orchestrate("bundle", "two.yaml", "--output", "two.zip")
    shown = orchestrate("status", "two.zip", ORCHESTRATE_STORAGE="elsewhere")
    assert (shown.code, shown.out.splitlines()[0]) == (0, "two: 2 finished; no driver runs it")
    for command in (
        ["status", "two.zip", "--storage", "runs"],
        ["import", "two.zip", "two.zip"],
    ):
        refused = orchestrate(*command)
        assert refused.code == 2, command
        assert "two.zip: is a bundle, and holds its own results" in refused.err
    for words in (["words"], ["--remove", "0"]):
        refused = orchestrate("note", "two.zip", *words)
        assert (refused.code, refused.err) == (2, "error: two.zip: is a bundle, which is only read\n")


def test_a_bundle_takes_no_other_files_place(orchestrate, runs: Ledger) -> None:
    refused = orchestrate("bundle", "two.yaml", "--output", "two.yaml")
    assert (refused.code, refused.out) == (2, "")
    assert "--output two.yaml: must end in .zip" in refused.err


def test_what_was_brought_is_needed(orchestrate, runs: Ledger, two: Sweep, tmp_path: Path) -> None:
    """By the sweep that it was brought for, or as in the storage that it came from; `gc` leaves it."""
    needs.declare(two, runs)
    orchestrate("bundle", "two.yaml", "--output", "two.zip")
    for index, words in enumerate((["two.zip"], ["two.zip", "two.yaml"], ["runs"], ["runs", "two.yaml"])):
        new = f"new{index}"
        assert orchestrate("import", *words, "--storage", new).code == 0
        assert json.loads(orchestrate("gc", "--storage", new, "--format", "json").out) == [], words
    fewer = TEXT.replace(", aann: {strategy: aann}", "")
    (tmp_path / "two.yaml").write_text(fewer)  # the sweep ran here with fewer trials
    assert orchestrate("import", "two.zip", "two.yaml", "--storage", "part").code == 0
    assert orchestrate("import", "two.zip", "--storage", "part").code == 0
    assert json.loads(orchestrate("gc", "--storage", "part", "--format", "json").out) == []
