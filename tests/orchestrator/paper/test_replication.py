"""`orchestrate paper`: its numbers come out of Table 6; its bounds and claims are what a reader with a pen finds."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from click.testing import CliRunner

from orchestrator.cli import cli
from orchestrator.paper import reference, replication
from orchestrator.paper.claims import CLAIMS, Claim
from orchestrator.stats.paired import win_percentage
from orchestrator.stats.significance import hoeffding, p_value
from orchestrator.sweep.metrics import METRICS

PERCENTAGES = [*reference.printed("table5").items()]


@pytest.fixture(scope="module")
def built() -> replication.Paper:
    return replication.build()


def rows(built: replication.Paper, name: str) -> list[dict[str, object]]:
    """By heading, the group's name before the column's."""
    (table,) = [table for table in built.tables if table.name == name]
    headings = [f"{column.group} {column.name}".strip() for column in table.columns]
    return [dict(zip(headings, [entry.value for entry in row], strict=True)) for row in table.rows]


# The golden numbers


@pytest.mark.parametrize(("place", "printed"), PERCENTAGES, ids=str)
def test_each_percentage_of_wins_is_that_of_tables_2a_and_5(place, printed) -> None:
    method, metric = place
    measured = reference.table6()
    found = win_percentage(measured.of(method, metric), measured.of("ann", metric))
    assert reference.agrees(found.percent, printed)
    assert f"{found.percent:.2f}" == str(printed)
    n = {"aann": 39, "exp3": 38, "avgl": 38, "milestone": 36, "rwm": 34}[method]
    assert (found.n, found.dropped) == (n, 39 - n)


def test_all_33_numbers_agree(built) -> None:
    assert (built.agreeing, built.printed) == (33, 33)
    assert {row["agree"] for row in rows(built, "table5")} == {"5 of 5"}
    assert {row["agree"] for row in rows(built, "table2b")} == {"4 of 4"}
    assert {row["n"] for row in rows(built, "table2b")} == {39}
    computed = {
        (row["method"], metric): row[f"{metric} computed"] for row in rows(built, "table2b") for metric in METRICS[:-1]
    }
    expected = [52.72, 28.05, 14.36, 2.57, 47.77, 22.70, 7.99, 1.66]
    assert [float(f"{value:.2f}") for value in computed.values()] == expected


def test_a_number_that_disagrees_is_marked_and_ends_in_exit_code_1(monkeypatch) -> None:
    """With one error of Table 6 misread: AANN no longer wins there."""
    misread = reference.table6()
    won = np.flatnonzero(misread.of("aann", "3/4") < misread.of("ann", "3/4"))[0]
    misread.errors[won, misread.methods.index("aann"), METRICS.index("3/4")] = 99.0
    monkeypatch.setattr(reference, "table6", lambda: misread)
    result = CliRunner().invoke(cli, ["paper"])
    assert result.exit_code == 1
    assert "74.36!" in result.output  # 29 of 39
    assert "4 of 5" in result.output
    assert "3 of 4" in result.output  # Table 2b's mean too
    assert result.output.endswith("31 of 33 numbers are those that the paper prints.\n")


# The footnote


def test_the_thresholds_are_those_of_the_notes(built) -> None:
    found = {row.pop("test"): list(row.values()) for row in rows(built, "thresholds")}
    assert found["as printed"] == ["0.0598", None, "0.65", None]
    assert found["hoeffding"] == pytest.approx([0.696, 28, 0.798, 32], abs=0.0005)
    assert found["hoeffding-as-published"] == pytest.approx([0.598, 24, 0.649, 26], abs=0.0005)
    assert found["sign-test"] == pytest.approx([26 / 39, 26, 30 / 39, 30])


@pytest.mark.parametrize(
    ("metric", "bound", "exact"),
    [
        ("1/4", "0.115", "0.024"),
        ("1/2", "0.081", "0.017"),
        ("3/4", "0.0035", "0.0004"),
        ("1", "0.81", "0.31"),
        ("AE", "0.158", "0.036"),
    ],
)
def test_the_five_p_values_of_aann(built, metric, bound, exact) -> None:
    (found,) = [row for row in rows(built, "p_values") if (row["method"], row["metric"]) == ("aann", metric)]
    digits = len(bound) - 2, len(exact) - 2
    assert round(found["hoeffding p"], digits[0]) == float(bound)
    assert found["sign-test p"] == pytest.approx(float(exact), abs=0.51 * 10 ** -digits[1])
    assert (found["hoeffding p"] <= 0.05) == (metric == "3/4")


def test_the_bounds_of_the_printed_percentages() -> None:
    """As one works them out from Table 2a, which is rounded."""
    found = [hoeffding(percent / 100, 39) for percent in (66.67, 67.95, 76.92, 55.13, 65.38)]
    rounded = [round(p, digits) for p, digits in zip(found, (3, 3, 4, 2, 3), strict=True)]
    assert rounded == [0.114, 0.081, 0.0035, 0.81, 0.158]


def test_the_published_p_values_are_the_footnotes(built) -> None:
    for row in rows(built, "p_values"):
        excess = max(2 * row["wins %"] / 100 - 1, 0)
        assert row["hoeffding-as-published p"] == pytest.approx(math.exp(-2 * row["n"] * excess**2))


def test_holm_is_taken_over_the_25_places(built) -> None:
    found = rows(built, "p_values")
    assert len(found) == 25
    for test in ("hoeffding", "sign-test", "wilcoxon"):
        least = min(found, key=lambda row: row[f"{test} p"])
        assert least[f"{test} Holm"] == pytest.approx(25 * least[f"{test} p"])


# The claims


def test_the_claims_that_survive(built) -> None:
    """Under Hoeffding's bound three of eighteen, and none of these with Holm's correction."""
    found = {(row["claim"], row["metric"]): row for row in rows(built, "claims")}
    assert len(found) == len(CLAIMS) == 18

    def surviving(column: str) -> set[tuple[str, str]]:
        return {claim for claim, row in found.items() if row[column] == "yes"}

    alone = {("aann improves", "3/4"), ("exp3 improves", "3/4"), ("avgl degrades", "1")}
    assert surviving("hoeffding alone") == alone
    assert surviving("hoeffding Holm") == set()
    assert surviving("sign-test Holm") == {("aann improves", "3/4")}
    assert {claim for claim in surviving("hoeffding-as-published alone") if claim[0].startswith("aann")} == {
        ("aann improves", metric) for metric in ("1/4", "1/2", "3/4", "AE")
    }
    assert surviving("on its side") == found.keys() - {("rwm degrades", metric) for metric in ("3/4", "1", "AE")}


def test_a_claim_of_a_loss_is_tested_as_one(built) -> None:
    """The paper found it and did not set out to show it: two-sided."""
    measured = reference.table6()
    for claim in CLAIMS:
        (row,) = [r for r in rows(built, "claims") if (r["claim"], r["metric"]) == (claim.words, claim.metric)]
        pair = measured.of(claim.method, claim.metric), measured.of("ann", claim.metric)
        p = p_value(*pair, "sign-test")
        if not claim.improves:
            p = min(1, 2 * p_value(*reversed(pair), "sign-test"))
        assert row["sign-test alone"] == ("yes" if p <= 0.05 else "no")


def test_of_new_networks_two_claims_survive_and_of_new_data_sets_none(built) -> None:
    found = {(row["claim"], row["metric"]): row for row in rows(built, "scopes")}
    assert len(found) == len(CLAIMS)
    improving = [found["aann improves", metric] for metric in ("1/4", "1/2", "3/4", "AE")]
    assert [round(row["networks p"], 3) for row in improving] == [0.003, 0.075, 0.005, 0.057]
    assert [row["networks alone"] for row in improving] == ["yes", "no", "yes", "no"]
    assert {(row["data_sets alone"], row["data_sets p"] >= 0.125) for row in found.values()} == {("no", True)}
    cells = {(row["claim"], row["metric"]): row for row in rows(built, "claims")}
    assert {claim: row["cells Holm"] for claim, row in found.items()} == {
        claim: row["sign-test Holm"] for claim, row in cells.items()
    }


def test_the_contradictions_are_those_of_the_notes(built) -> None:
    found = [tuple(row.values()) for row in rows(built, "contradictions")]
    assert found == [
        (
            "section 4.4",
            "significant at 5 % from X = 0.0598 on",
            "its footnote's bound gives 0.598, and Hoeffding's inequality 0.696",
        ),
        (
            "section 4.4",
            "significant at 0.1 % from X = 0.65 on",
            "its footnote's bound gives 0.649, and Hoeffding's inequality 0.798",
        ),
        ("section D.5", "rwm degrades at 3/4", "wins 61.76 % (Table 5)"),
        ("section D.5", "rwm degrades at 1", "wins 52.94 % (Table 5)"),
        ("section D.5", "rwm degrades at AE", "wins 58.82 % (Table 5)"),
        ("section D.5", "exp3 improves at 3/4 only", "wins 55.26 % at AE (Table 5)"),
        ("Table 3, opt (25,32)/3 svhn", "1.69 at 1/2", "1.66 in Table 6"),
        ("Table 3, eann svhn", "1.76 at 3/4", "it answers with (13,32), which ends at 1.77 in Table 6"),
        ("Table 3, eann cifar10", "5.53 at 1/4", "it answers with (7,32), which ends at 5.63 in Table 6"),
        ("Table 3, eann cifar10", "5.31 at 1/2", "it answers with (13,32), which ends at 5.37 in Table 6"),
        ("Table 3, eann cifar10", "5.31 at 3/4", "it answers with (13,32), which ends at 5.37 in Table 6"),
        ("Table 3, eann cifar100", "23.01 at 3/4", "it answers with (13,32), which ends at 23.03 in Table 6"),
        (
            "Table 4, n = 7, s = 5",
            "AE 56.86",
            "prediction 4 of 5 would err in 76.40 %, the one before it in 33.80 %",
        ),
    ]


# The command

NAMES = ["table5", "table2b", "thresholds", "p_values", "claims", "scopes", "contradictions", "feedback", "inflation"]


def shown(form: str) -> str:
    result = CliRunner().invoke(cli, ["paper", "--format", form])
    assert result.exit_code == 0, result.output
    return result.output


def test_people_see_all_of_it() -> None:
    text = shown("table")
    lines = [line.split() for line in text.splitlines()]
    assert ["aann", "39", *(number for p in ("66.67", "67.95", "76.92") for number in (p, p))] in lines
    assert ["aann", *(number for p in ("55.13", "65.38") for number in (p, p)), "5", "of", "5"] in lines
    assert "39 pairs on 3 data sets with 1 seed share images and random draws" in text
    assert "hoeffding: 3 of 18 survive alone, 0 with Holm." in text
    assert text.endswith("\n33 of 33 numbers are those that the paper prints.\n")
    assert "nan" not in text


def test_machines_read_it_as_json() -> None:
    content = json.loads(shown("json"))
    assert [table["name"] for table in content] == NAMES
    assert content[0]["rows"][-1]["3/4 computed"] == pytest.approx(100 * 30 / 39)
    assert {row["agree"] for row in content[0]["rows"]} == {"5 of 5"}


def test_machines_read_it_as_csv() -> None:
    parts = shown("csv").split("\n\n")
    assert [part.partition("\n")[0] for part in parts] == [f"# {name}" for name in NAMES]
    found = list(csv.DictReader(io.StringIO(parts[3].partition("\n")[2])))
    assert len(found) == 25
    (row,) = [row for row in found if (row["method"], row["metric"]) == ("aann", "3/4")]
    assert float(row["hoeffding p"]) == pytest.approx(math.exp(-78 * (30 / 39 - 0.5) ** 2))


def test_it_goes_into_a_document() -> None:
    markdown, latex = shown("markdown"), shown("latex")
    assert "| aann | 39 | 47.77 | 47.77 | 22.70 | 22.70 | 7.99 | 7.99 | 1.66 | 1.66 | 4 of 4 |" in markdown
    assert r"aann & 39 & 47.77 & 47.77 & 22.70 & 22.70 & 7.99 & 7.99 & 1.66 & 1.66 & 4 of 4 \\" in latex
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == len(NAMES)


def test_exactly_half_of_the_wins_is_on_nobodys_side() -> None:
    for improves in (True, False):
        claim = Claim(section="", method="aann", metric="1", improves=improves)
        assert [claim.agrees_with(percent) for percent in (49.9, 50.0, 50.1)] == [not improves, False, improves]


# Appendix C


def test_a_feedback_network_predicts_every_eight_units(built) -> None:
    found = rows(built, "feedback")
    assert [(row["c"], row["block"]) for row in found] == [(c, block) for c in (16, 32) for block in (1, 2, 3)]
    for row in found:
        width, pixels = row["c"] << (row["block"] - 1), 32 >> (row["block"] - 1)
        convolution, head = 9 * width**2 * pixels**2, 10 * width
        assert row["ResNet, each unit"] * 1e6 == pytest.approx(2 * convolution + head)
        assert row["feedback, every two cells"] * 1e6 == pytest.approx(16 * convolution + head)
        assert row["times"] == pytest.approx(8, rel=1e-3)


def test_the_expected_inflation_is_below_four_from_a_base_of_1_4_on(built) -> None:
    for row in rows(built, "inflation"):
        base = row["base"]
        expected = 1 - 1 / (2 * base) + (1 + math.log(base)) / (base - 1)
        assert row["E[C]"] == pytest.approx(expected)
        assert row["E[C] below 4"] == ("yes" if base >= 1.4 else "no")
    (table,) = [table for table in built.tables if table.name == "inflation"]
    least = float(table.notes[0].rpartition(" ")[2].rstrip("."))
    assert 1 - 1 / (2 * least) + (1 + math.log(least)) / (least - 1) == pytest.approx(4, abs=1e-2)
