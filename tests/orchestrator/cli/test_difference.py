"""What two trials or two sweeps differ in, as a user asks for it and reads it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anytime_core.result import EpochMetrics
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.trial import Trial
from orchestrator.sweepfile.load import load

TEXT = """\
name: NAME
networks: [{n: 2, c: 2}, {n: 3, c: 2}, {n: 4, c: 2}, {n: 5, c: 2}, {n: 6, c: 2}, {n: 7, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
seeds: [0, 1]
training: {steps: STEPS, batch_size: 64, learning_rate: {0: 0.1}}
"""
WIDE = 80
ANN, AANN = "ann 2,2 seed 0", "aann 2,2 seed 0"


@pytest.fixture
def run_sweep(tmp_path, make_record, make_epochs) -> Callable[..., Path]:
    """Ends all trials of a sweep as if they were trained: those of aann err ``ahead`` points less, all others as much
    as their network and seed say."""

    def ended(name: str, ahead: float = 0.0, *, steps: int = 44, storage: str = "runs", code: str = "aaa") -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(TEXT.replace("NAME", name).replace("STEPS", str(steps)))
        ledger = Ledger(tmp_path / storage)
        ledger.make()
        for trial in load(path).trials:
            if ledger.record(trial.id) is None:
                end(ledger, trial, ahead, code)
        return path

    def end(ledger: Ledger, trial: Trial, ahead: float, code: str) -> None:
        attempt, error = ledger.begin(trial), 20.0 + trial.cell.n + trial.cell.seed
        error -= ahead if trial.cell.method == "aann" else 0.0
        record = make_record(trial, (error,) * len(trial.config.predicting_units))
        began = {"host": "here", "last_attempt_began": attempt.began, "ended": f"{attempt.token}"}
        made = {**began, "code_version": code, "sources": code, "torch": "2.13", "network_hash": f"{trial.id}{error}"}
        epochs: list[EpochMetrics] = make_epochs(2, len(record.result.units))
        ledger.write_epochs(attempt, record.result.units, record.result.costs, epochs)
        ledger.finish(attempt, replace(record, provenance=made))

    return ended


def rows_of(text: str) -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(text))]


def content_of(text: str) -> Any:
    return json.loads(text, parse_constant=pytest.fail)


def fits(text: str) -> bool:
    """Whether its tables do."""
    return max(len(line) for line in text.splitlines() if "   " in line or "─" in line) <= WIDE


# Two trials


def test_two_trials_of_a_sweep_differ_in_a_sentence_and_a_table(orchestrate, run_sweep) -> None:
    run_sweep("one", 1.5)
    done = orchestrate("diff", "one.yaml", ANN, AANN)
    assert done.code == 0, done.err
    sentence, *_ = done.out.splitlines()
    assert sentence == "same code and environment; other config; data not known; final error 22.00 % and 20.50 %"
    assert "config    regime.strategy.name" in done.out
    assert "steps" not in done.out, "what is the same is not shown"
    assert fits(done.out)


def test_trials_of_two_storages_are_compared_by_one_cell(orchestrate, run_sweep) -> None:
    run_sweep("one", 1.5)
    run_sweep("one", 1.0, storage="elsewhere", code="bbb")
    done = orchestrate("diff", "one.yaml", AANN, "--other-storage", "elsewhere")
    assert done.code == 0, done.err
    assert done.out.startswith(
        "same config and environment; other code; data not known; final error 20.50 % and 21.00 %\n"
    )
    same = orchestrate("diff", "one.yaml", ANN, "--other-storage", "elsewhere")
    assert same.out.splitlines()[0].endswith("; same bits")
    assert "errors in %" not in same.out


def test_machines_get_all_of_two_trials(orchestrate, run_sweep) -> None:
    run_sweep("one", 1.5)
    run_sweep("two", 1.5, steps=88)
    content = content_of(orchestrate("diff", "one.yaml", "two.yaml", ANN, AANN, "--format", "json").out)
    assert (content["a"]["cell"], content["b"]["cell"]) == ("ann (2,2) digits seed 0", "aann (2,2) digits seed 0")
    assert content["parts"]["config"] == "other"
    assert content["same_bits"] is False
    assert {"part": "config", "what": "training.steps", "a": 44, "b": 88} in content["differing"]
    assert [it["difference"] for it in content["errors"]] == [-1.5] * len(content["errors"])
    rows = rows_of(orchestrate("diff", "one.yaml", "two.yaml", ANN, AANN, "--format", "csv").out)
    assert {(row["what"], row["a"], row["b"]) for row in rows} >= {
        ("training.steps", "44", "88"),
        ("1", "22.0", "20.5"),
    }


# Two sweeps


def test_two_sweeps_differ_in_verdicts_configs_and_cells(orchestrate, run_sweep) -> None:
    run_sweep("one", 1.5)
    path = run_sweep("two", 3.0, steps=88, code="bbb")
    path.write_text(path.read_text().replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    done = orchestrate("diff", "one.yaml", "two.yaml")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == (
        "24 cells in both, 24 with another config; 12 in B alone; 0 of 24 that ended in both have the same bits; "
        "same errors of ann; B against A: 5 better"
    )
    assert "aann of B against aann of A, errors, 6 networks, 6 cells, 2 seeds, says something about: " in done.out
    assert "at 1/2   better*    1.5 points lower (95 % 1.5 to 1.5), wins 6 of 6 networks, p 0.031" in done.out
    assert "training.steps   44   88   24" in done.out
    assert "aaa (24)" in done.out
    assert "seed 2" in done.out
    assert fits("\n".join(line for line in done.out.splitlines() if " points " not in line))


def test_one_sweep_in_two_storages_and_a_bundle_are_compared(orchestrate, run_sweep) -> None:
    run_sweep("one", 1.5)
    run_sweep("one", 1.5, storage="elsewhere")
    assert orchestrate("bundle", "one.yaml", "--storage", "elsewhere", "--output", "one.zip").code == 0
    said = "24 cells in both; 24 of 24 that ended in both have the same bits; same errors of ann and aann"
    for other in (["one.zip"], ["--other-storage", "elsewhere"], ["one.yaml", "--other-storage", "one.zip"]):
        done = orchestrate("diff", "one.yaml", *other)
        assert done.code == 0, done.err
        assert done.out.splitlines()[0] == said
    done = orchestrate("diff", "one.zip", "one.yaml")
    assert done.out.splitlines()[0] == said
    done = orchestrate("diff", "one.zip", "one.yaml", ANN)
    assert done.out.splitlines()[0].endswith("; same bits")


def test_one_training_in_two_sweeps_or_storages_is_no_evidence(orchestrate, run_sweep) -> None:
    run_sweep("one", 1.5)
    run_sweep("two", 1.5)
    assert orchestrate("bundle", "one.yaml", "--output", "one.zip").code == 0
    assert orchestrate("import", "one.zip", "--storage", "elsewhere").code == 0
    for other in (["two.yaml"], ["one.zip"], ["--other-storage", "elsewhere"]):
        done = orchestrate("diff", "one.yaml", *other)
        assert done.code == 0, done.err
        assert done.out.splitlines()[0] == "24 cells in both, 24 of one training"
        assert "24 cells of one training in both: no evidence" in done.out


def test_machines_get_a_row_for_each_cell(orchestrate, run_sweep) -> None:
    run_sweep("one", 1.5)
    run_sweep("two", 3.0, steps=88)
    rows = rows_of(orchestrate("diff", "one.yaml", "two.yaml", "--format", "csv").out)
    assert len(rows) == 24
    aann = next(row for row in rows if (row["method"], row["network"], row["seed"]) == ("aann", "(2,2)", "0"))
    numbers = [aann[name] for name in ("in", "same_config", "one_training", "1 a", "1 b")]
    assert numbers == ["both", "False", "False", "20.5", "19.0"]
    content = content_of(orchestrate("diff", "one.yaml", "two.yaml", "--format", "json").out)
    assert {(it["method"], it["verdict"]) for it in content["verdicts"]} == {("aann of B", "better")}
    assert content["alike"] == ["ann"]
    assert content["configs"] == [{"what": "training.steps", "a": 44, "b": 88, "cells": 24}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give another sweep, --other-storage, or two cells of this sweep"),
        ((ANN,), "give the other cell, too, or OTHER.yaml, or --other-storage"),
        (("ann", "2,2", "aann"), "3 cells are given, 'ann', '2,2', 'aann'; allowed: two, each in quotes"),
        (("gone.yaml",), "gone.yaml: "),
        (("gone.zip",), "gone.zip: "),
        ((ANN, "rwm 2,2"), "no cell is 'rwm 2,2'"),
        (("ann", AANN), "'ann' may be 12 trials"),
    ],
)
def test_what_names_no_two_things_is_refused(orchestrate, run_sweep, words, message) -> None:
    run_sweep("one")
    done = orchestrate("diff", "one.yaml", *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


# Beside


def test_a_report_stands_beside_another_sweeps(orchestrate, run_sweep) -> None:
    run_sweep("one", 1.5)
    run_sweep("two", 3.0, steps=88)
    done = orchestrate("report", "one.yaml", "--compare", "two.yaml")
    assert done.code == 0, done.err
    assert done.out.startswith("Error in %: ours, that of two, and how much ours is above it")
    assert "30 of 60 differences are within what seeds alone make of them." in done.out
    assert "by luck 3.0 would not be." in done.out
    assert "Of the squared differences seeds alone account for 0 % at 1/4, 0 % at 1/2" in done.out
    assert fits(done.out)
    rows = rows_of(orchestrate("report", "one.yaml", "--compare", "two.yaml", "--format", "csv").out)
    aann = next(row for row in rows if (row["method"], row["metric"]) == ("aann", "1"))
    assert [aann[name] for name in ("ours", "other", "difference", "within")] == ["21.0", "19.5", "1.5", "False"]
    for form in ("json", "markdown", "latex"):
        assert orchestrate("report", "one.yaml", "--compare", "two.yaml", "--format", form).code == 0


def test_a_report_stands_beside_itself_in_another_storage(orchestrate, run_sweep) -> None:
    run_sweep("one", 1.5)
    run_sweep("one", 1.0, storage="elsewhere")
    options = ["--compare", "one.yaml", "--other-storage", "elsewhere", "--format", "json"]
    rows = content_of(orchestrate("report", "one.yaml", *options).out)
    assert {(row["method"], row["difference"]) for row in rows} == {("ann", 0.0), ("aann", -0.5)}
    assert orchestrate("bundle", "one.yaml", "--storage", "elsewhere", "--output", "one.zip").code == 0
    for ours, theirs in (("one.yaml", "one.zip"), ("one.zip", "one.yaml")):
        rows = content_of(orchestrate("report", ours, "--compare", theirs, "--format", "json").out)
        assert {abs(row["difference"]) for row in rows} == {0.0, 0.5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--compare", "gone.yaml"], "'gone.yaml' is not 'paper', or a file or folder"),
        (["--compare", "paper", "--other-storage", "x"], "to be given with --compare OTHER.yaml"),
        (["--other-storage", "x"], "to be given with --compare OTHER.yaml"),
    ],
)
def test_what_cannot_stand_beside_is_refused(orchestrate, run_sweep, options, message) -> None:
    run_sweep("one")
    done = orchestrate("report", "one.yaml", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
