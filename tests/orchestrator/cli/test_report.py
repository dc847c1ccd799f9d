"""A report goes to the terminal, to a folder or to one page, and never to two that contradict."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile.load import load

QUICKSTART = str(Path(__file__).parents[3] / "sweeps" / "quickstart.yaml")


@pytest.fixture
def small(tmp_path, make_record) -> Path:
    """A finished sweep of the paper's smallest network, in the default storage; it has none of the paper's data."""
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\nnetworks: [{n: 7, c: 16}]\ndatasets: [cifar10]\nmethods: {ann: {}, aann: {strategy: aann}}\n"
        "report: {figures: [periods, cost]}\n"
    )
    ledger = Ledger(tmp_path / "runs")
    ledger.make()
    for trial in load(path).trials:
        ledger.finish(ledger.begin(trial), make_record(trial, (10.0,) * 21))
    return path


def test_a_report_goes_to_a_folder_or_one_page(orchestrate, tmp_path, small) -> None:
    done = orchestrate("report", "small.yaml", "--output", "all", "--html", "pages/one.html")
    assert done.code == 0, done.err
    assert done.out == "written: all\nwritten: pages/one.html\n"
    assert done.err == "Figure periods is not drawn: no network has two periods.\n"
    names = {str(path.relative_to(tmp_path / "all")) for path in (tmp_path / "all").rglob("*") if path.is_file()}
    assert {"report.html", "report.tex", "errors.csv", "figures/cost.svg"} <= names
    page = (tmp_path / "pages" / "one.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "Figure periods is not drawn" in page


def test_errors_stand_beside_the_papers(orchestrate, small) -> None:
    """All ten errors of two methods; within 8 % of the paper's are few of them, and counted."""
    text = orchestrate("report", "small.yaml", "--compare", "paper")
    assert text.code == 0, text.err
    assert re.search(r"\d+ of 10 are within", text.out)
    rows = json.loads(orchestrate("report", "small.yaml", "--compare", "paper", "--format", "json").out)
    assert [(row["method"], row["metric"], row["ours"]) for row in rows][:2] == [("ann", "1/4", 10), ("ann", "1/2", 10)]
    table = list(
        csv.DictReader(io.StringIO(orchestrate("report", "small.yaml", "--compare", "paper", "--format", "csv").out))
    )
    assert [row["paper"] for row in table] == [str(row["paper"]) for row in rows]


def test_what_open_comparisons_need_is_a_table_of_its_own(orchestrate, small) -> None:
    """One seed of one cell, and no difference: there is nothing to go by."""
    text = orchestrate("report", "small.yaml", "--power")
    assert text.code == 0, text.err
    assert text.out.startswith("Mean difference from ann in points, and what would decide it\n")
    (table,) = json.loads(orchestrate("report", "small.yaml", "--power", "--format", "json").out)
    assert [row["metric"] for row in table["rows"]] == ["1/4", "1/2", "3/4", "1", "AE"]
    assert {row["new cells of this kind verdict"] for row in table["rows"]} == {None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--html", "a.html", "--format", "json"], "--html: all there is goes there; not to be given with --format"),
        (
            ["--output", "a", "--html", "b", "--compare", "paper", "--table", "wins"],
            "--html and --output: all there is goes there; not to be given with --compare and --table",
        ),
        (["--compare", "paper", "--table", "wins"], "--compare has one table: not to be given with --table"),
        (
            ["--format", "json", "--table", "wins"],
            "--table is one table for --format csv; the other forms have all of them",
        ),
        (["--verdict", "--table", "wins"], "--verdict says one thing: not to be given with --table"),
        (["--verdict", "--html", "a.html"], "--html: all there is goes there; not to be given with --verdict"),
        (["--power", "--compare", "paper"], "--power has one table: not to be given with --compare"),
        (["--power", "--html", "a.html"], "--html: all there is goes there; not to be given with --power"),
    ],
)
def test_options_of_which_one_would_win_are_refused(orchestrate, small, tmp_path, options, message) -> None:
    done = orchestrate("report", "small.yaml", *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert {path.name for path in tmp_path.iterdir()} == {"small.yaml", "runs"}


def test_a_verdict_is_said_in_words_and_for_machines(orchestrate, small) -> None:
    """Both methods have the same errors, in one pair."""
    said = orchestrate("report", "small.yaml", "--verdict")
    assert said.code == 0, said.err
    assert said.out.startswith("aann against ann, errors, 1 cell, 1 seed, says something about: these cells")
    assert "too few for any verdict at 5 %, which needs 6 pairs" in said.out
    assert "On this cell with 1 seed the error of aann at 1/4 of the cost cannot be told from that of ann" in said.out
    assert "We trained 2 methods (ann, aann) on 1 network" in said.out
    assert "\\paragraph{Methods.}" in orchestrate("report", "small.yaml", "--verdict", "--format", "latex").out
    (first, *_) = json.loads(orchestrate("report", "small.yaml", "--verdict", "--format", "json").out)
    assert (first["verdict"], first["p"], first["mean"], first["mean_low"]) == ("undecided", 1, 0, None)
    rows = csv.DictReader(io.StringIO(orchestrate("report", "small.yaml", "--verdict", "--format", "csv").out))
    assert [row["metric"] for row in rows] == ["1/4", "1/2", "3/4", "1", "AE"]


@pytest.mark.parametrize("option", ["--output", "--html"])
def test_a_place_that_cannot_be_written_is_named(orchestrate, option) -> None:
    done = orchestrate("report", QUICKSTART, option, "/proc/none")
    assert done.code == 1
    assert done.err.endswith("\nerror: the report is not written: /proc/none: No such file or directory\n")
    assert "Test error in %" in done.out
