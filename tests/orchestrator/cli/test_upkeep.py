"""A storage is looked after by its commands; the numbers behind them are tested elsewhere."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.ledger import needs, reruns, snapshots
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile.load import load
from orchestrator.system.snapshot import Snapshot

SWEEP = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
training: {steps: 22, batch_size: 64, learning_rate: {0: 0.1}}
report: {baseline: ann}
"""


@pytest.fixture
def ended(tmp_path, make_record) -> Ledger:
    """A sweep of two trials, which have ended, and its file without the second."""
    (tmp_path / "small.yaml").write_text(SWEEP)
    (tmp_path / "fewer.yaml").write_text(SWEEP.replace(", aann: {strategy: aann}", ""))
    sweep, ledger = load(tmp_path / "small.yaml"), Ledger(tmp_path / "runs")
    ledger.make()
    needs.declare(sweep, ledger)
    for trial in sweep.trials:
        ledger.finish(ledger.begin(trial, "small"), make_record(trial, (3.0, 2.0, 1.0)))
    return ledger


def test_what_could_go_is_listed_and_goes_when_told(orchestrate, ended, tmp_path) -> None:
    aann = load(tmp_path / "small.yaml").trials[1].id
    nothing = orchestrate("gc")
    assert (nothing.code, nothing.err) == (0, "")
    assert nothing.out == "runs: there is nothing that nobody needs\n\n sweep small needs 2 trials\n"
    listed = orchestrate("gc", "fewer.yaml")
    assert listed.code == 0
    assert " could go, 1 item\n" in listed.out
    assert f"trials/{aann}   aann (1,2) digits seed 0" in listed.out
    assert "nothing was removed: --delete removes it" in listed.out
    assert max(map(len, listed.out.splitlines())) <= 80
    rows = json.loads(orchestrate("gc", "fewer.yaml", "--format", "json").out)
    assert [(row["kind"], row["name"]) for row in rows] == [("trials", f"trials/{aann}")]
    (row,) = csv.DictReader(io.StringIO(orchestrate("gc", "fewer.yaml", "--format", "csv").out))
    assert int(row["bytes"]) == rows[0]["bytes"] == sum(f.stat().st_size for f in ended.folder(aann).iterdir())
    kept = ("--keep", "trials"), ("--keep-newer", "2h")
    assert [orchestrate("gc", "fewer.yaml", *options, "--format", "json").out for options in kept] == ["[]\n"] * 2
    assert len(ended.begun()) == 2
    done = orchestrate("gc", "fewer.yaml", "--delete")
    assert (done.code, done.err) == (0, "")
    assert " was removed, 1 item\n" in done.out
    assert aann not in ended.begun()


def test_sources_that_trained_no_trial_can_go_once_they_are_an_hour_old(orchestrate, tmp_path, make_record) -> None:
    (tmp_path / "small.yaml").write_text(SWEEP)
    sweep, ledger = load(tmp_path / "small.yaml"), Ledger(tmp_path / "runs")
    needs.declare(sweep, ledger)
    used, unused, again = (f"{digit * 12}-{digit * 6}" for digit in "abc")
    for name in (used, unused, again, "of somebody else"):
        snapshots.keep(Snapshot(name=name, content=b"sources"), ledger)
    (trial, _) = sweep.trials
    record = replace(make_record(trial, (3.0, 2.0, 1.0)), provenance={"snapshot": used})
    ledger.finish(ledger.begin(trial, "small"), record)
    rerun = reruns.beside(ledger)
    rerun.make()
    rerun.finish(rerun.begin(trial, "small"), replace(record, provenance={"snapshot": again}))
    assert orchestrate("gc", "--format", "json").out == "[]\n"
    for path in (tmp_path / "runs" / "code").iterdir():
        os.utime(path, (0, 0))
    (row,) = json.loads(orchestrate("gc", "--delete", "--format", "json").out)
    assert (row["kind"], row["name"]) == ("snapshots", f"code/{unused}.zip")
    assert {path.stem for path in (tmp_path / "runs" / "code").iterdir()} == {used, again, "of somebody else"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--forget", "none"), "/runs; there: small"),
        (("small.yaml", "--forget", "small"), "small.yaml: its sweep small is to be forgotten; leave out the file"),
        (("--keep-newer", "7"), "given '7'; allowed: a number with s, m, h, d or w, such as 30s, 8m or 7d"),
        (("--keep", "nothing"), "'nothing' is not one of"),
        (("none.yaml",), "none.yaml"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(orchestrate, ended, words, said) -> None:
    refused = orchestrate("gc", *words, "--delete")
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert len(ended.begun()) == 2


def test_without_a_storage_there_is_nothing_to_go(orchestrate) -> None:
    done = orchestrate("gc", "--storage", "elsewhere")
    assert done.code == 0
    assert "there is no folder elsewhere yet" in done.out
    done = orchestrate("gc", "--delete", "--storage", "elsewhere")
    assert (done.code, done.err) == (2, "error: --delete: there is no folder elsewhere yet\n")
    assert not Path("elsewhere").exists()


def test_notes_are_written_listed_shown_and_removed(orchestrate, ended) -> None:
    assert orchestrate("note", "small.yaml").out == "small: no notes\n"
    first = orchestrate("note", "small.yaml", "two <b>GPUs</b>")
    second = orchestrate("note", "small.yaml", "aann", "seed", "0", "=odd\x1b[2J")
    assert (first.code, second.code) == (0, 0)
    rows = json.loads(orchestrate("note", "small.yaml", "--format", "json").out)
    about = ["sweep small", "aann (1,2) digits seed 0"]
    assert sorted(row["about"] for row in rows) == sorted(about)
    assert all("@" in row["who"] for row in rows)
    shown = orchestrate("note", "small.yaml")
    assert "=odd\\x1b[2J" in shown.out
    assert "'=odd\\x1b[2J" in orchestrate("note", "small.yaml", "--format", "csv").out
    assert "2 notes; `orchestrate note` lists them" in orchestrate("status", "small.yaml").out
    trial = json.loads(orchestrate("show", "small.yaml", "aann", "--format", "json").out)
    assert [note["note"] for note in trial["notes"]] == ["=odd\\x1b[2J"]
    assert "=odd\\x1b[2J" in orchestrate("show", "small.yaml", "aann").out
    assert "=odd" not in orchestrate("show", "small.yaml", "ann", "(1,2)").out
    page = orchestrate("report", "small.yaml", "--html", "page.html")
    assert page.code == 0, page.err
    for row in rows:
        assert orchestrate("note", "small.yaml", "--remove", row["id"][:6]).out == f"removed: {row['id']}\n"
    assert orchestrate("note", "small.yaml", "--format", "json").out == "[]\n"


def test_notes_stand_on_the_page_as_text(orchestrate, ended, tmp_path) -> None:
    orchestrate("note", "small.yaml", "two <script>alert(1)</script>")
    assert orchestrate("report", "small.yaml", "--html", "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    assert "two &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("aann",), "'aann' is a cell, and no text follows; `orchestrate show` shows its notes"),
        (("none", "text"), "no cell is 'none'"),
        (("",), "a note of 0 characters: allowed are 1 to 2000"),
        (("text", "--remove", "0"), "--remove removes a note: not to be given with a new one"),
        (("--remove", "0"), "--remove 0: 0 notes have such an id; there: none"),
    ],
)
def test_a_note_about_nothing_is_refused(orchestrate, ended, words, said) -> None:
    refused = orchestrate("note", "small.yaml", *words)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
