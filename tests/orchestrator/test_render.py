"""Tables are aligned for people and parse for machines; what is absent is '-', empty or null, never 'nan'."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import plan as planning
from orchestrator import render
from orchestrator.ledger import Driver
from orchestrator.report import TrialStatus
from orchestrator.stats import WinPercentage
from orchestrator.tables import METRICS, ErrorRow, Tables, WinRow
from orchestrator.trial import TrialState

ERRORS = dict(zip(METRICS, [50.0, 12.345, None, 0.0, math.nan], strict=True))


def win(metric: str, wins: WinPercentage) -> WinRow:
    return WinRow(method="aann", baseline="ann", metric=metric, wins=wins, p_value=wins.p_value(), test="hoeffding")


TABLES = Tables(
    optima=("opt",),
    sweep="small",
    errors=(
        ErrorRow(dataset="digits", network="(2,8)", method="ann", seeds=2, errors=ERRORS),
        ErrorRow(dataset="digits", network="(2,8)", method="opt", seeds=0, errors=dict.fromkeys(METRICS)),
    ),
    wins=(
        win("1/4", WinPercentage(wins=2, ties=1, n=4, dropped=0)),
        win("1/2", WinPercentage(wins=39, ties=0, n=39, dropped=3)),
        win("3/4", WinPercentage(wins=0, ties=0, n=0, dropped=4)),
        win("1", WinPercentage(wins=1, ties=0, n=2, dropped=0)),
        win("AE", WinPercentage(wins=1, ties=0, n=1, dropped=3)),
    ),
    states=Counter({TrialState.FINISHED: 5, TrialState.FAILED: 2, TrialState.DIVERGED: 1}),
)


def cells(line: str) -> list[str]:
    """What stands in the columns of a line of text, which two spaces or more keep apart."""
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


# Text


def test_columns_are_aligned_numbers_to_the_right() -> None:
    rows = [{"method": "ann", "n": 7, "1/4": 5.5}, {"method": "milestone", "n": 13, "1/4": None}]
    assert render.as_text("Title", rows).splitlines() == [
        "Title",
        "",
        " method       n    1/4",
        " ─────────────────────",
        " ann          7   5.50",
        " milestone   13      -",
    ]


def test_a_column_of_numbers_is_to_the_right_even_if_the_first_is_absent() -> None:
    lines = render.as_text("", [{"unit": None, "a": "x"}, {"unit": 16, "a": "y"}]).splitlines()
    assert lines[0] == " unit   a"
    assert [line[:5] for line in lines[2:]] == ["    -", "   16"]


def test_no_text_is_cut_or_broken_however_long(make_trial) -> None:
    reason = "failed: " + "x" * 500
    lines = render.as_text("T" * 500, [{"id": "0123456789abcdef", "reason": reason, "last": "here"}]).splitlines()
    assert lines[0] == "T" * 500
    assert cells(lines[-1]) == ["0123456789abcdef", reason, "here"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (math.nan, "-"),
        (math.inf, "-"),
        (0.0, "0.00"),
        (12.345678, "12.35"),
        (3, "3"),
        (9_999_999, "9999999"),
        (590_696_153_088_000, "5.91e+14"),
        ("two\nlines\tand  more", "two lines and more"),
        ("[red]no markup[/red] :smile:", "[red]no markup[/red] :smile:"),
    ],
)
def test_a_value_is_shown_on_one_line(value, shown) -> None:
    title, _, heading, rule, line = render.as_text("Title", [{"value": value}]).splitlines()
    assert (title, heading.strip(), line.strip()) == ("Title", "value", shown)
    assert set(rule.strip()) == {"─"}


def test_without_rows_the_title_is_left() -> None:
    assert render.as_text("digits below runs/data", []) == "digits below runs/data"


@given(st.lists(st.lists(st.one_of(st.none(), st.integers(), st.floats()), min_size=3, max_size=3), min_size=1))
def test_every_line_of_numbers_ends_in_the_same_column(values) -> None:
    lines = render.as_text("", [dict(zip(["1/4", "1/2", "AE"], row, strict=True)) for row in values]).splitlines()
    assert len({len(line) for line in [lines[0], *lines[2:]]}) == 1
    assert len(lines) == 2 + len(values)
    assert "nan" not in "".join(lines)
    assert "inf" not in "".join(lines)


# For machines


def test_csv_parses_back() -> None:
    rows = [
        {"network": "(2,8)", "error": 12.5, "unit": None, "failure": 'a "word", and\na line'},
        {"network": "(3,8)", "error": 0.1, "unit": 5, "failure": None},
    ]
    assert list(csv.DictReader(io.StringIO(render.as_csv(rows)))) == [
        {"network": "(2,8)", "error": "12.5", "unit": "", "failure": 'a "word", and\na line'},
        {"network": "(3,8)", "error": "0.1", "unit": "5", "failure": ""},
    ]


def test_csv_without_rows_is_empty() -> None:
    assert render.as_csv([]) == ""


def test_json_never_holds_what_json_has_no_word_for() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render.as_json([{"error": math.nan}])


# The report


def test_the_report_as_text_is_three_tables_and_what_they_lack() -> None:
    errors, rest = render.report_text(TABLES).split("\n\nWins ")
    errors, note = errors.split("\n\nopt: ")
    assert note == "trained for the depth nearest to each fraction alone, not for all."
    wins, lacks = rest.split("\n\nNot ")
    assert [cells(line) for line in errors.splitlines()[2:]] == [
        ["dataset", "network", "method", "seeds", "1/4", "1/2", "3/4", "1", "AE"],
        [errors.splitlines()[3].strip()],
        ["digits", "(2,8)", "ann", "2", "50.00", "12.35", "-", "0.00", "-"],
        ["digits", "(2,8)", "opt", "0", "-", "-", "-", "-", "-"],
    ]
    assert wins.splitlines()[0] == "over ann in %, ties counting half; p-value: hoeffding, one-sided"
    assert [cells(line) for line in wins.splitlines()[4:]] == [
        ["aann", "wins %", "62.50", "100.00", "-", "50.00", "100.00"],
        ["p-value", "0.882", "<0.001", "-", "1.000", "0.607"],  # exp(-2 4 / 64), exp(-2 39 / 4), none, 1, exp(-2 / 4)
        ["pairs", "4", "39 (-3)", "0 (-4)", "2", "1 (-3)"],
    ]
    assert lacks == "in the tables: 2 failed, 1 diverged of 8 trials; a pair that lacks one is dropped."


def test_a_whole_report_says_nothing_of_what_it_lacks() -> None:
    whole = Tables(sweep="small", optima=(), errors=TABLES.errors, wins=(), states=Counter({TrialState.FINISHED: 8}))
    assert "Not in the tables" not in render.report_text(whole)
    assert "Wins" not in render.report_text(whole)


def test_the_report_as_json_has_every_number_and_count() -> None:
    content = json.loads(render.report_json(TABLES), parse_constant=pytest.fail)
    assert content["sweep"] == "small"
    assert content["states"] == {
        "pending": 0,
        "running": 0,
        "interrupted": 0,
        "failed": 2,
        "diverged": 1,
        "finished": 5,
    }
    first, second = content["errors"]
    assert first == {
        "dataset": "digits",
        "network": "(2,8)",
        "method": "ann",
        "seeds": 2,
        "1/4": 50,
        "1/2": 12.345,
        "3/4": None,
        "1": 0,
        "AE": None,
    }
    assert {second[metric] for metric in METRICS} == {None}
    assert content["wins"][0] == {
        "method": "aann",
        "baseline": "ann",
        "metric": "1/4",
        "win_percent": 62.5,
        "wins": 2,
        "ties": 1,
        "n": 4,
        "dropped": 0,
        "p_value": pytest.approx(math.exp(-0.125)),
        "test": "hoeffding",
    }
    assert (content["wins"][2]["win_percent"], content["wins"][2]["p_value"]) == (None, None)


def test_the_report_as_csv_has_no_nan() -> None:
    errors = list(csv.DictReader(io.StringIO(render.as_csv(render.error_rows(TABLES.errors)))))
    assert [errors[0][metric] for metric in METRICS] == ["50.0", "12.345", "", "0.0", ""]
    wins = list(csv.DictReader(io.StringIO(render.as_csv(render.win_rows(TABLES.wins)))))
    assert [row["win_percent"] for row in wins] == ["62.5", "100.0", "", "50.0", "100.0"]


# Plan and status


def test_rows_of_a_plan_and_of_a_status_name_the_trial(make_trial, ledger) -> None:
    trial = make_trial(seed=3)
    (row,) = render.plan_rows(planning.make([trial], ledger))
    named = {
        "id": trial.id,
        "dataset": "digits",
        "n": 1,
        "c": 2,
        "period": 1,
        "method": "ann",
        "unit": None,
        "seed": 3,
    }
    assert {name: row[name] for name in named} == named
    assert (row["action"], row["reason"], row["step"], row["steps"]) == ("run", "never ran", 0, 44)
    assert (row["cpus"], row["gpus"]) == (1, 0)
    status = TrialStatus(trial=trial, state=TrialState.FAILED, step=22, attempts=2, failure="no memory")
    assert render.status_rows([status]) == [
        named | {"state": "failed", "step": 22, "steps": 44, "attempts": 2, "failure": "no memory"}
    ]


def test_the_title_of_a_status_counts_states_and_names_the_driver(make_trial) -> None:
    states = [TrialState.RUNNING, TrialState.FINISHED, TrialState.RUNNING]
    statuses = [TrialStatus(trial=make_trial(), state=state, step=0, attempts=1, failure=None) for state in states]
    assert render.status_title("small", statuses, None) == "small: 2 running, 1 finished; no driver runs it"
    driver = Driver(host="here", pid=7, since="2026-01-01T00:00:00+00:00")
    assert render.status_title("small", statuses, driver).endswith(
        "; run by process 7 on here since 2026-01-01T00:00:00+00:00"
    )
