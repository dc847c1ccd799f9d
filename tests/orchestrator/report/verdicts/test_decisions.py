"""How the comparisons of a sweep that decides are put into words, rows, a table and a note."""

from __future__ import annotations

import pytest

from deciding import TEXT, Drawn, ended
from orchestrator.api import Sweep as ApiSweep
from orchestrator.errors import UsageError
from orchestrator.planning import added_seeds
from orchestrator.report import layouts
from orchestrator.report.verdicts import decisions, sentences
from orchestrator.report.views import render
from orchestrator.sweep.grid import Sweep

ASKED = "compare: [aann > ann at AE, exp3 > ann at 1/2], at_most: {seeds: %d}, first: 2"


@pytest.fixture
def sweep(load_text, make_record):
    """A sweep in which aann and exp3 win with these chances, run to its end."""

    def sweep(aann: float, exp3: float, most: int = 9, seed: int = 0) -> Sweep:
        return ended(load_text(TEXT % (ASKED % most)), Drawn(make_record, {"aann": aann, "exp3": exp3}, seed))

    return sweep


def test_each_comparison_has_a_line(sweep) -> None:
    assert decisions.decision_lines(sweep(1.0, 0.0).deciding) == [
        "aann > ann at AE    decided: better after 2 of at most 9 seeds",
        "exp3 > ann at 1/2   no better: most pairs gain at most 0.1 points, after 2 of at most 9 seeds",
    ]
    assert decisions.decision_lines(None) == []


def test_an_open_one_says_how_far_it_is_and_how_many_seeds_are_expected(load_text, make_record) -> None:
    before = load_text(TEXT % (ASKED % 9))
    added = added_seeds.expected(before, {})
    assert added is not None
    line, _ = decisions.decision_lines(before.deciding, added)
    assert line.startswith("aann > ann at AE    e 1 of 40, after 0 of at most 9 seeds, ")
    assert line.endswith(" more expected")
    first, *_ = decisions.plan_notes(before.deciding, added)
    assert first.startswith("to decide 2 comparisons, up to 84 more trials may follow these; ")


def test_what_cannot_be_decided_says_why(sweep) -> None:
    words = [decisions.decision_lines(sweep(0.5, 0.6, most=4, seed=seed).deciding) for seed in range(6)]
    assert any("out of reach after 2 of at most 4 seeds: e " in line for lines in words for line in lines)


def test_rows_have_what_the_lines_say(sweep) -> None:
    one, other = decisions.decision_rows(sweep(1.0, 0.0).deciding)
    assert one["comparison"] == "aann > ann at AE"
    assert (one["decision"], one["wins"], one["losses"], one["ties"], one["seeds"]) == ("better", 8, 0, 0, 2)
    assert one["e_value"] == pytest.approx((2**9 - 1) / 9)
    assert (one["threshold"], one["most_seeds"], other["decision"]) == (40, 9, "no better")


def test_a_report_begins_with_them_and_warns_of_p_values(tables_of, sweep) -> None:
    built = tables_of(sweep(1.0, 0.0))
    assert sentences.block(built)[0] == "aann > ann at AE    decided: better after 2 of at most 9 seeds"
    assert layouts.arrange(built)[0].name == "decisions"
    text = render.report_text(built)
    assert "Decisions by e-values, which hold whenever one looks" in text
    assert "Results chose the number of seeds" in text


def test_a_sweep_ends_with_what_it_found(tables_of, load_text, make_record) -> None:
    many = load_text(TEXT.replace("decide: {%s}", "seeds: [0, 1, 2, 3, 4, 5]\nreport: {scope: seeds}"))
    said = sentences.found(tables_of(many))
    assert said == (
        "Decided: 8 of 8 comparisons with ann: aann at 1/2 and 3/4 and 1 and AE is better; "
        "exp3 at 1/2 and 3/4 and 1 and AE is worse."
    )
    few = load_text(TEXT.replace("decide: {%s}", "seeds: [0]"))
    undecided = sentences.found(tables_of(few, Drawn(make_record, {"aann": 0.5, "exp3": 0.5}, 3)))
    assert undecided == "Decided: 0 of 8 comparisons with ann; more seeds, or more networks, may decide them."


@pytest.fixture
def tables_of(make_record):
    from orchestrator.analysis import tables
    from orchestrator.analysis.answers import Answers

    def tables_of(sweep: Sweep, luck: Drawn | None = None) -> tables.Tables:
        luck = luck or Drawn(make_record, {"aann": 1.0, "exp3": 0.0})
        records = luck.records(sweep.trials)
        states = {name: record.state for name, record in records.items()}
        return tables.build(sweep, records, states, Answers(sweep, lambda trial_id: {}, []), lambda trial_id: [])

    return tables_of


def test_python_has_them_as_a_frame(tmp_path) -> None:
    asked = {"networks": [{"n": 1, "c": 2}], "datasets": ["digits"], "storage": tmp_path / "runs"}
    methods = {"ann": "ann", "aann": {"strategy": "aann"}}
    decide = {"compare": ["aann > ann at AE"], "at_most": {"seeds": 5}}
    made = ApiSweep(**asked, methods=methods, training={"steps": 22, "batch_size": 64}, decide=decide)
    frame = made.decisions()
    assert frame.to_dict("records")[0]["decision"] == "open"
    with pytest.raises(UsageError, match="sweep has nothing to decide: give `decide` with comparisons"):
        ApiSweep(**asked, methods=methods, training={"steps": 22, "batch_size": 64}).decisions()
