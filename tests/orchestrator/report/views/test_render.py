"""Tables are aligned for people and parse for machines; what is absent is '-', empty or null, never 'nan'."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.analysis import tables
from orchestrator.analysis.tables import Tables
from orchestrator.ledger.ledger import Driver
from orchestrator.planning import plan
from orchestrator.planning.estimate import outlook
from orchestrator.report.layouts import LAYOUTS
from orchestrator.report.status import TrialStatus
from orchestrator.report.views import plan as plan_view
from orchestrator.report.views import render
from orchestrator.report.views import status as status_view
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweep.trial import Pause, TrialState
from orchestrator.table import Column, Entry, Table

TEXT = """
name: small
networks: [{n: 2, c: 8}]
datasets: [digits, cifar10]
methods: {ann: {}, aann: {strategy: aann}, opt: {regime: opt}}
seeds: [0, 1]
training: {batch_size: 64}
"""
FAILED = {("ann", "cifar10", 1): TrialState.FAILED, ("aann", "cifar10", 0): TrialState.DIVERGED}


@pytest.fixture(scope="module")
def made(load_text, make_record) -> Tables:
    """Errors of ann: 60, 50, 40, 30, 20, 10 and with seed 1 one more; of aann half as much; of opt 5 at every depth. Of
    cifar10 a trial failed and another diverged."""
    sweep = load_text(TEXT)
    records, states = {}, {trial.id: TrialState.FINISHED for trial in sweep.trials}
    for trial in sweep.trials:
        cell = trial.cell
        if state := FAILED.get((cell.method, cell.dataset, cell.seed)):
            states[trial.id] = state
            if state is TrialState.DIVERGED:
                records[trial.id] = make_record(trial, None)
            continue
        full = tuple(10.0 * left + cell.seed for left in (6, 5, 4, 3, 2, 1))
        errors = {"ann": full, "aann": tuple(error / 2 for error in full), "opt": (5.0,)}[cell.method]
        records[trial.id] = make_record(trial, errors)
    return tables.build(sweep, records, states)


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


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t=", "\r=", "\n=", "\uff1d"])
def test_no_text_of_a_csv_is_computed(begin) -> None:
    text = f"{begin}cmd|' /C calc'!A0"
    (head, (first, second)) = csv.reader(io.StringIO(render.as_csv([{text: text, "number": -1.5}]), newline=""))
    assert (head[0][0], first[0], second) == ("'", "'", "-1.5")


def test_numbers_and_other_text_of_a_csv_stay_as_they_are() -> None:
    values = [-1.5, -0.1 + 1e-17, "-1.5", "+2e-3", "95-100", "<0.001", "aann (7,16)", "résumé, 残差", 'a "b"', "", True]
    (row,) = csv.DictReader(io.StringIO(render.as_csv([{str(n): value for n, value in enumerate(values)}])))
    assert list(row.values()) == [str(value) for value in values]


HOSTILE = "\x1b[2J|a`b`\n\n# c <b> &lt; [x](y) $z$ ~~d~~\u202e"


def hostile(title: str) -> Table:
    columns = (Column(name=title, group=title, numeric=False), Column(name="n"))
    return Table(
        name="t", title=title, columns=columns, rows=((Entry(value=title), Entry(value=-1.5)),), notes=(title,)
    )


def test_no_form_of_a_table_holds_what_a_terminal_obeys() -> None:
    for shown in (render.table_text, render.table_markdown, render.table_latex):
        assert not {"\x1b", "\u202e"} & set(shown(hostile(HOSTILE)))
        assert "x1b" in shown(hostile(HOSTILE))


def test_what_markdown_would_obey_stands_as_it_is() -> None:
    title, *_, row, _, note = render.table_markdown(hostile(HOSTILE)).splitlines()
    assert row == r"| \\x1b\[2J\|a\`b\` # c \<b\> \&lt; \[x\](y) \$z\$ \~\~d\~\~\\u202e | -1.50 |"
    assert title.startswith(r"**\\x1b\[2J\|a")
    assert note.startswith(r"\\x1b\[2J\|a")
    notes = ["# a", "- a", "+ a", "1. a", "=== a", "> a"]
    shown = [render.table_markdown(hostile(words)).splitlines()[-1] for words in notes]
    assert shown == [r"\# a", r"\- a", r"\+ a", r"1\. a", r"\=== a", r"\> a"]


def test_what_latex_would_obey_stands_as_it_is() -> None:
    text = render.table_latex(hostile("[x] *y | `z` \\input{/etc/passwd} \n\n ^^41"))
    row = next(line for line in text.splitlines() if "-1.50" in line)
    shown = r"{[}x{]} {*}y \textbar{} \textasciigrave{}z\textasciigrave{} "
    shown += r"\textbackslash{}input\{/etc/passwd\} \textasciicircum{}\textasciicircum{}41"
    assert row == rf"{shown} & -1.50 \\"
    assert r"\input{" not in text
    assert "" not in text.splitlines()


def test_csv_without_rows_is_empty() -> None:
    assert render.as_csv([]) == ""


def test_json_never_holds_what_json_has_no_word_for() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render.as_json([{"error": math.nan}])


# Tables


SMALL = Table(
    name="small",
    title="Errors & more",
    columns=(
        Column(name="method", numeric=False),
        Column(name="1/4", group="svhn"),
        Column(name="AE", group="svhn"),
        Column(name="1/4", group="cifar_10"),
    ),
    rows=(
        (Entry(value="ann"), Entry(value=5.256), Entry(value=7.0, best=True), Entry(mark="failed")),
        (Entry(value="a_b"), Entry(value=math.nan), Entry(value=8.5, spread=0.25), Entry(value=1.0, mark="1 pending")),
    ),
    notes=("AE: the mean.",),
)


def test_a_table_as_text_has_groups_above_and_the_best_starred() -> None:
    assert render.table_text(SMALL).splitlines() == [
        "Errors & more",
        "",
        "          svhn                         cifar_10",
        " method    1/4            AE                1/4",
        " ──────────────────────────────────────────────",
        " ann      5.26         7.00*             failed",
        " a_b         -   8.50 ±0.25    1.00 (1 pending)",
        "",
        " AE: the mean.",
    ]


def test_a_table_as_markdown_has_the_best_in_bold() -> None:
    assert render.table_markdown(SMALL).splitlines() == [
        "**Errors & more**",
        "",
        "| method | svhn 1/4 | svhn AE | cifar\\_10 1/4 |",
        "| :--- | ---: | ---: | ---: |",
        "| ann | 5.26 | **7.00** | failed |",
        "| a\\_b | - | 8.50 ±0.25 | 1.00 (1 pending) |",
        "",
        "AE: the mean.",
    ]


def test_a_table_as_latex_has_rules_spans_and_nothing_unescaped() -> None:
    text = render.table_latex(SMALL)
    assert r"\caption{Errors \& more. AE: the mean.}" in text
    assert r" & \multicolumn{2}{c}{svhn} & \multicolumn{1}{c}{cifar\_10} \\" in text
    assert r"\cmidrule(lr){2-3}\cmidrule(lr){4-4}" in text
    assert r"ann & 5.26 & \textbf{7.00} & failed \\" in text
    assert r"a\_b & - & 8.50 $\pm$0.25 & 1.00 (1 pending) \\" in text
    assert text.count("{") == text.count("}")


def test_tables_for_machines_hold_plain_values() -> None:
    (content,) = json.loads(render.show([SMALL], "json"))
    assert content["rows"] == [
        {"method": "ann", "svhn 1/4": 5.256, "svhn AE": 7, "cifar_10 1/4": None},
        {"method": "a_b", "svhn 1/4": None, "svhn AE": 8.5, "cifar_10 1/4": 1},
    ]
    lines = render.show([SMALL], "csv").splitlines()
    assert [row["svhn AE"] for row in csv.DictReader(lines)] == ["7.0", "8.5"]


# The report


def test_the_report_as_text_is_three_tables_and_what_they_lack(made) -> None:
    errors, wins, increases, notes = _parts(render.report_text(made))
    lines = [cells(line) for line in errors.splitlines()]
    assert lines[2:5] == [
        ["digits", "cifar10"],
        ["network", "method", *METRICS, *METRICS],
        [errors.splitlines()[4].strip()],
    ]
    half = ["30.25 ±0.35*", "25.25 ±0.35*", "15.25 ±0.35*", "5.25 ±0.35*", "17.75 ±0.35*"]
    assert lines[6][:7] == ["(2,8)", "aann", *half]
    assert lines[5][7:] == [f"{value:.2f}†" for value in (60, 50, 30, 10, 35)]
    assert lines[7] == ["(2,8)", "opt", *["5.00 ±0.00"] * 4, "-", *["5.00 ±0.00"] * 4, "-"]
    assert "†: mean of fewer seeds: ann (2,8) cifar10 1 failed; aann (2,8) cifar10 1 diverged." in errors
    assert "opt: each network is trained for one depth alone; at a fraction stands the depth nearest to it." in errors
    lines = [cells(line) for line in wins.splitlines()]
    assert lines[0][0].startswith("Wins over ann in %")
    assert lines[4:9] == [
        ["aann", "wins %", *["66.67"] * 5],  # of two it won and one in which it diverged
        ["aann", "p", *["0.846"] * 5],  # exp(-2 3 / 36)
        ["aann", "p Holm", *["1.000"] * 5],
        ["aann", "95 %", *["9.4-99.2"] * 5],
        ["aann", "pairs", *["3 (-1)"] * 5],
    ]
    lines = [cells(line) for line in increases.splitlines()]
    assert lines[5][:3] == ["aann", "opt", "506.67 (of 3)"]
    assert notes.splitlines()[0] == (
        "Not in the tables: 1 failed, 1 diverged of 24 trials; a pair that lacks one is dropped unless it diverged."
    )


def _parts(text: str) -> list[str]:
    """The tables, and what stands below them."""
    starts = [text.index(start) for start in ("Test error in %", "Wins over", "Mean relative", "Not in the")]
    return [text[start:end].strip() for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def test_a_whole_report_says_nothing_of_what_it_lacks(load_text, make_record) -> None:
    sweep = load_text(TEXT.replace("aann: {strategy: aann}, opt: {regime: opt}", ""))
    records = {trial.id: make_record(trial, (1.0,) * 6) for trial in sweep.trials}
    whole = tables.build(sweep, records, dict.fromkeys(records, TrialState.FINISHED))
    text = render.report_text(whole)
    assert "Not in the tables" not in text
    assert "Wins" not in text


def test_the_report_as_json_has_every_number_and_count(made) -> None:
    content = json.loads(render.report_json(made), parse_constant=pytest.fail)
    assert content["sweep"] == "small"
    assert {state: count for state, count in content["states"].items() if count} == {
        "failed": 1,
        "diverged": 1,
        "finished": 22,
    }
    rows = {(row["dataset"], row["method"]): row for row in content["errors"]}
    assert rows["digits", "ann"]["1/4"] == 60.5
    assert rows["digits", "ann"]["1/4 sd"] == pytest.approx(math.sqrt(0.5))
    assert (rows["cifar10", "aann"]["seeds"], rows["cifar10", "aann"]["missing"]) == (1, "1 diverged")
    assert rows["digits", "opt"]["AE"] is None
    win = content["wins"][0]
    assert (win["method"], win["baseline"], win["metric"]) == ("aann", "ann", "1/4")
    assert (win["wins"], win["ties"], win["n"], win["dropped"], win["units"]) == (2, 0, 3, 1, 3)
    assert win["p hoeffding"] == pytest.approx(math.exp(-1 / 6))
    assert win["p sign-test"] == 0.5
    assert content["scope"] == "seeds"
    assert content["notes"] == list(made.notes)


def test_the_report_as_csv_has_a_row_for_each_number(made) -> None:
    counts = {name: len(list(csv.DictReader(io.StringIO(long.csv(made))))) for name, long in render.LONG.items()}
    counted = {"errors": 6, "wins": 5, "increases": 10, "verdicts": 5, "sequences": 0, "ranking": 0, "matrix": 0}
    assert counts == counted


# Plan and status


def test_rows_of_a_plan_and_of_a_status_name_the_trial(make_trial, ledger) -> None:
    trial = make_trial(seed=3)
    (row,) = plan_view.plan_rows(outlook(plan.make([trial], ledger), ledger, []))
    named = {
        "id": trial.id,
        "dataset": "digits",
        "network": "(1,2)",
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
    status = TrialStatus(trial=trial, state=TrialState.FAILED, step=22, attempts=2, failure="no memory", kind="memory")
    assert status_view.status_rows([status]) == [
        named
        | {
            "state": "failed",
            "step": 22,
            "steps": 44,
            "attempts": 2,
            "where": None,
            "pause": None,
            "kind": "memory",
            "failure": "no memory",
        }
    ]


def test_the_title_of_a_status_counts_states_and_names_the_driver(make_trial) -> None:
    states = [TrialState.RUNNING, TrialState.FINISHED, TrialState.RUNNING]
    statuses = [TrialStatus(trial=make_trial(), state=state, step=0, attempts=1, failure=None) for state in states]
    assert status_view.status_title("small", statuses, None) == "small: 2 running, 1 finished; no driver runs it"
    driver = Driver(host="here", pid=7, since="2026-01-01T00:00:00+00:00")
    assert status_view.status_title("small", statuses, driver).endswith(
        "; run by process 7 on here since 2026-01-01T00:00:00+00:00"
    )


def test_a_status_tells_what_its_tuning_has_stopped_for_good_from_what_waits_at_a_rung(make_trial) -> None:
    stopped = Pause(step=22, likely=22, rests="stopped at step 22 of 44: 3 points did better", lost=True)
    waits = Pause(step=22, likely=44, rests="waits at step 22: 1 of 3 trials have yet to get there")
    cases = ((stopped, "PAUSED"), (stopped, "INTERRUPTED"), (waits, "PAUSED"), (stopped, "FINISHED"), (None, "PAUSED"))
    statuses = [
        TrialStatus(trial=replace(make_trial(), pause=it), state=TrialState[state], step=22, attempts=1, failure=None)
        for it, state in cases
    ]
    rows = status_view.status_rows(statuses)
    assert [row["state"] for row in rows] == ["stopped", "stopped", "paused", "finished", "paused"]
    assert [row["pause"] for row in rows] == [stopped.rests, stopped.rests, waits.rests, None, None]
    assert status_view.status_title("tuned", statuses, None).startswith("tuned: 2 paused, 1 finished, 2 stopped; ")
    assert "waits at step 22: 1 of 3" in render.table_text(status_view.trial_table(statuses))


# What stands below, and headings of nothing


NOTED = Table(
    name="noted",
    title="Errors",
    columns=(Column(name="a_b"),),
    rows=((Entry(value=1.0, best=True),),),
    notes=("*: the best <of> a_b.",),
)


def test_notes_are_escaped_and_speak_of_bold_where_the_best_is_bold() -> None:
    assert "*: the best <of> a_b." in render.table_text(NOTED)
    assert render.table_markdown(NOTED).endswith("Bold: the best \\<of\\> a\\_b.")
    assert r"Bold: the best $<$of$>$ a\_b" in render.table_latex(NOTED)


def test_what_is_to_know_is_printed_in_latex_too(made) -> None:
    text = render.report_text(replace(made, notes=("5 % of a_b are missing.", "Not all alike.")), "latex")
    last = text[text.rindex(r"\end{table}") :].splitlines()
    assert last[2:] == [r"{\footnotesize\noindent", r"5 \% of a\_b are missing.\par", r"Not all alike.\par", "}"]


def test_a_long_table_goes_over_pages_in_latex() -> None:
    text = render.table_latex(replace(NOTED, rows=NOTED.rows * 46))
    assert r"\begin{longtable}{r}" in text
    assert r"\begin{table}" not in text
    assert text.count(r"\textbf{1.00}") == 46
    assert r"\begin{longtable}" not in render.table_latex(replace(NOTED, rows=NOTED.rows * 45))


def test_a_csv_has_its_heading_without_rows_too(made) -> None:
    for name, long in render.LONG.items():
        assert all(tuple(row) == long.columns for row in long.rows(made)), name
    empty = replace(made, errors=(), wins=(), increases=(), sequences=(), measured=None)
    assert all(long.csv(empty) == ",".join(long.columns) for long in render.LONG.values())
    empty = replace(NOTED, rows=())
    assert render.show([empty], "csv") == "a_b"
    assert render.show([empty, empty], "csv") == "# noted\na_b\n\n# noted\na_b"


def test_what_is_rounded_to_zero_has_no_sign() -> None:
    assert render.entry_text(Entry(value=-0.001)) == "0.00"


def test_the_caption_of_wins_says_how_far_they_reach(load_text, make_record) -> None:
    """One network on one data set with two seeds, of two data sets in the sweep: two pairs decide nothing."""
    sweep = load_text(TEXT)
    done = [trial for trial in sweep.trials if trial.cell.dataset == "digits"]
    records = {trial.id: make_record(trial, (1.0,) * len(trial.config.predicting_units)) for trial in done}
    states = {trial.id: TrialState.FINISHED if trial.id in records else TrialState.PENDING for trial in sweep.trials}

    def noted(**wishes: object) -> tuple[str, ...]:
        asking = replace(sweep, report=sweep.report.model_copy(update=wishes))
        return LAYOUTS["wins"].arrange(tables.build(asking, records, states)).notes

    _, scope, least, diverged = noted()
    assert (
        scope == "Scope seeds: 2 pairs; about these cells with new seeds, and silent about other networks or data sets."
    )
    assert least == "The smallest p of 2 pairs by hoeffding is 0.37; too few for any test."
    assert diverged == "A trial that diverged loses its pair, and ties with another that diverged."
    assert noted(scope="data_sets", p_value="sign-test", diverged="drop")[1:] == (
        "Scope data_sets: 1 data set; about new data sets of this kind with these networks, "
        "and silent about other networks.",
        "The smallest p of 1 data set by sign-test is 0.5; too few for any test.",
        "A pair with a trial that diverged is dropped.",
    )
    assert any("logarithms" in note for note in noted(p_value="wilcoxon", scale="ratios"))
    assert not any("logarithms" in note for note in noted(p_value="sign-test", scale="ratios"))
    assert any("is no sound test" in note for note in noted(p_value="hoeffding-as-published"))


def test_trials_that_are_not_alike_are_told(load_text, make_record) -> None:
    sweep = load_text(TEXT)
    records = {t.id: make_record(t, (1.0,) * len(t.config.predicting_units)) for t in sweep.trials}
    first = sweep.trials[0].id
    records[first] = replace(records[first], provenance={"code_version": "abc"})
    (note,) = [
        note
        for note in tables.build(sweep, records, dict.fromkeys(records, TrialState.FINISHED)).notes
        if "alike" in note
    ]
    assert "abc" in note


def test_sentences_are_paragraphs_in_latex_and_share_the_line() -> None:
    columns = tuple(Column(name=name, numeric=False) for name in ("where", "says", "but"))
    words = [Entry(value=text) for text in ("section 4.4", "so" * 20, "otherwise" * 5)]
    text = render.table_latex(replace(NOTED, columns=columns, rows=(tuple(words),)))
    assert r"\begin{tabular}{lp{0.37\linewidth}p{0.37\linewidth}}" in text
    assert r"\begin{tabular}{lll}" in render.table_latex(replace(NOTED, columns=columns, rows=((words[0],) * 3,)))
