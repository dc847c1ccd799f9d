"""Our errors beside the paper's: each difference, and what counts as within tolerance, by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.analysis.answers import Answers
from orchestrator.analysis.measurements import collect
from orchestrator.analysis.tables import ErrorRow, SequenceRow, Tables, error_rows
from orchestrator.analysis.times import Times
from orchestrator.paper import reference
from orchestrator.paper.comparison import (
    PaperComparison,
    Tolerance,
    compare,
    compare_tables,
    comparison_rows,
    comparison_table,
)
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweepfile.load import load

SWEEPS = Path(__file__).parents[3] / "sweeps"


def row(method: str, network: str = "(7,16)", dataset: str = "cifar100", **errors: float) -> ErrorRow:
    """``e14`` is the error at 1/4, and so on."""
    names = dict(zip(["e14", "e12", "e34", "e1", "ae"], METRICS, strict=True))
    found = dict.fromkeys(METRICS) | {names[name]: error for name, error in errors.items()}
    return ErrorRow(dataset=dataset, network=network, method=method, seeds=2, errors=found)


def by_metric(comparison: PaperComparison) -> dict[str, tuple]:
    return {error.metric: (error.ours, error.paper, error.within) for error in comparison.errors}


def test_each_error_stands_beside_the_papers() -> None:
    """ANN (7,16) on CIFAR-100 has 69.56, 46.45, 36.02, 29.13 and 51.79 in Table 6."""
    found = compare(
        [row("ann", e14=69.56, e12=48.45, e34=39.02, e1=29.63)], tolerance=Tolerance(points=0.5, relative=0.05)
    )
    assert by_metric(found) == {
        "1/4": (69.56, 69.56, True),
        "1/2": (48.45, 46.45, True),  # 2.00 of 2.32 points
        "3/4": (39.02, 36.02, False),  # 3.00 of 1.80
        "1": (29.63, 29.13, True),
        "AE": (None, 51.79, None),
    }
    assert [error.difference for error in found.errors] == pytest.approx([0, 2.0, 3.0, 0.5, None])
    assert (found.compared, found.within, found.lacking, found.unpublished) == (4, 3, 1, 0)


def test_the_rows_for_machines_say_all() -> None:
    rows = comparison_rows(compare([row("ann", network="(7,16)/2", e14=70.0)]))
    assert rows[0] == {
        "dataset": "cifar100",
        "network": "(7,16)/2",
        "method": "ann",
        "metric": "1/4",
        "seeds": 2,
        "ours": 70.0,
        "sd": None,
        "paper": 66.48,
        "difference": pytest.approx(3.52),
        "within": True,
        "missing": "",
        "paper_table": "Table 4",
    }
    assert {(one["ours"], one["within"], one["seeds"]) for one in rows[1:]} == {(None, None, 0)}


def test_the_table_marks_what_is_outside_and_counts_what_is_not_compared() -> None:
    found = compare(
        [row("ann", e14=80.0, e12=46.45), row("mine", e14=5.0, ae=5.0), row("ann", dataset="digits", e1=1.0)]
    )
    table = comparison_table(found)
    assert [column.group for column in table.columns[3:]] == [metric for metric in METRICS for _ in range(3)]
    (line,) = table.rows
    assert [entry.value for entry in line[:9]] == pytest.approx(
        ["cifar100", "(7,16)", "ann", 80.0, 69.56, 10.44, 46.45, 46.45, 0.0]
    )
    assert [entry.mark for entry in line[3:9]] == ["", "", "!", "", "", ""]
    assert table.notes == (
        "1 of 2 are within 0.5 points or 8 % of the paper's error, whichever is more. !: not within.",
        "3 of the paper's errors have none of ours beside them.",
        "3 of our errors are not in the paper.",
        "From the paper: Table 6.",
    )


def test_the_paper_agrees_with_itself() -> None:
    found = compare(error_rows(reference.table6()), tolerance=Tolerance(points=0, relative=0))
    assert (found.compared, found.within, found.lacking, found.unpublished) == (1276, 1276, 0, 0)


def test_the_two_trainings_of_one_network_are_within_the_default_tolerance_and_no_narrower_one() -> None:
    """Table 4's ANNs of period 1 are in Table 6 too."""
    retrained = [error for error in error_rows(reference.table6()) if error.method == "ann"]
    twice = [error for error in compare(retrained, first="table4").errors if error.paper_table == "Table 4"]
    assert len(twice) == 15
    assert {error.within for error in twice} == {True}
    assert max(abs(error.difference) for error in twice) == pytest.approx(3.98)
    assert max(abs(error.difference) / error.ours for error in twice) == pytest.approx(0.0767, abs=5e-5)
    narrower = Tolerance(points=0.5, relative=0.07)
    assert not all(narrower.allows(error.ours, error.paper) for error in twice)


def test_means_are_taken_over_seeds() -> None:
    """Through measurements, as a sweep's errors come."""
    base = reference.table6().experiments[0]
    values = {(replace(base, seed=seed), "ann"): {"1": error} for seed, error in ((0, 2.0), (1, 2.5))}
    (found, *_) = [one for one in compare(error_rows(collect(values, values, (), {}))).errors if one.metric == "1"]
    assert (found.ours, found.seeds) == (2.25, 2)
    assert found.spread == pytest.approx(0.5 / 2**0.5)


@pytest.fixture
def sequences() -> Tables:
    """Of eann.yaml, two seeds on CIFAR-10."""
    networks = "(1,32)", "(3,32)", "(7,32)", "(13,32)", "(25,32)/3"
    rows = [
        SequenceRow(
            dataset="cifar10",
            method=method,
            networks=networks,
            seed=seed,
            errors=dict.fromkeys(METRICS[:-1], error + seed) | {"AE": 7.0 if method == "aann" else None},
        )
        for method, error in (("aann", 5.0), ("opt", 4.0))
        for seed in (0, 1)
    ]
    other = replace(rows[0], networks=networks[1:])
    sweep = load(SWEEPS / "eann.yaml")
    return Tables(
        records={},
        sweep=sweep,
        optima=("opt",),
        errors=(row("opt", "(25,32)/3", "svhn", e12=1.69),),
        wins=(),
        increases=(),
        sequences=(*rows, other),
        states=Counter(),
        answers=Answers(sweep, lambda trial_id: {}),
        times=Times(sweep, {}, lambda trial_id: []),
    )


def test_sequences_of_the_papers_networks_are_its_eann_and_opt_plus(sequences) -> None:
    found = compare_tables(sequences)
    errors = {(error.method, error.metric): (error.ours, error.paper) for error in found.errors}
    assert errors["eann", "1/4"] == (5.5, 5.53)
    assert errors["eann", "AE"] == (7.0, 6.18)
    assert errors["opt_plus", "1"] == (4.5, 4.73)
    assert errors["opt", "1/2"] == (1.69, 1.69)  # as in Table 3, which the sweep is of, not Table 6
    assert len(errors) == 4 + 4 + 5
    assert {error.paper_table for error in found.errors} == {"Table 3"}


@pytest.mark.parametrize(
    ("tolerance", "ours", "paper", "within"),
    [
        (Tolerance(points=0.5, relative=0), 1.5, 1.0, True),
        (Tolerance(points=0.5, relative=0), 1.51, 1.0, False),
        (Tolerance(points=0.2, relative=0), 5.1, 5.3, True),
        (Tolerance(points=0, relative=0.1), 45.0, 50.0, True),
        (Tolerance(points=0, relative=0.1), 44.9, 50.0, False),
        (Tolerance(points=5, relative=0.01), 46.0, 50.0, True),
    ],
)
def test_the_wider_of_the_two_tolerances_counts(tolerance, ours, paper, within) -> None:
    assert tolerance.allows(ours, paper) is within


def test_an_impossible_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="points is -1, relative is nan: must be at least 0"):
        Tolerance(points=-1, relative=float("nan"))


def test_errors_of_validation_images_are_said_to_be() -> None:
    table = comparison_table(compare([row("sieve", "(5,16)", "cifar10", e1=7.0)], first="table1"))
    assert table.notes[-1] == "From the paper: Table 1, whose errors are those of the last 5,000 training images."


def test_errors_of_other_images_than_the_papers_are_not_compared() -> None:
    """Table 6 is of test images, Table 1 of validation images."""
    six, one = row("ann", e1=29.0, e12=46.0), row("sieve", "(5,16)", e1=30.0)
    for held, method, others in (((), "ann", 1), (("cifar100",), "sieve", 2), (("svhn",), "ann", 1)):
        found = compare([six, one], validated=held)
        assert ({error.method for error in found.errors}, found.of_other_images) == ({method}, others)
    (note,) = [n for n in comparison_table(compare([six], validated=["cifar100"])).notes if "not compared" in n]
    assert note.startswith("2 of our errors are not compared")


def test_what_ours_lack_is_told_in_its_place() -> None:
    """A mean of fewer seeds has a mark, and what is not there its reason."""
    ours = replace(
        row("ann", e14=70.0, e12=46.0),
        counts={"1/4": 2, "1/2": 1, "3/4": 0, "1": 0, "AE": 0},
        missing={"1/2": {"diverged": 1}, "3/4": {"failed": 1, "diverged": 1}},
    )
    found = compare([ours])
    (line,) = comparison_table(found).rows
    assert [entry.mark for entry in line[3::3]] == ["", "†", "failed diverged", "", ""]
    assert [error.seeds for error in found.errors] == [2, 1, 0, 0, 0]
    assert comparison_rows(found)[2]["missing"] == "1 failed, 1 diverged"
    assert "†: mean of fewer seeds than the sweep has." in comparison_table(found).notes


def test_sequences_have_the_spread_and_the_seeds_of_each_metric(sequences) -> None:
    lost = replace(sequences.sequences[3], errors=dict.fromkeys(METRICS), missing={"1": {"failed": 1}})
    found = compare_tables(replace(sequences, sequences=(*sequences.sequences[:3], lost, *sequences.sequences[4:])))
    errors = {(error.method, error.metric): error for error in found.errors}
    assert (errors["eann", "1/4"].seeds, errors["eann", "1/4"].spread) == (2, pytest.approx(0.5**0.5))
    assert (errors["opt_plus", "1"].seeds, errors["opt_plus", "1"].spread) == (1, None)
    assert errors["opt_plus", "1"].missing == {"failed": 1}


def test_where_nothing_can_be_compared_the_table_says_so() -> None:
    table = comparison_table(compare([row("mine", e1=7.0)]))
    assert table.rows == ()
    assert table.notes == (
        "The paper has none of these errors.",
        "1 of our errors are not in the paper.",
    )
