"""The paper's numbers are those of its tables, under the names that the sweeps of the repository give them."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from orchestrator.analysis.measurements import experiment_of
from orchestrator.paper import reference
from orchestrator.sweep.metrics import METRICS
from orchestrator.sweepfile.load import load

SWEEPS = Path(__file__).parents[3] / "sweeps"
OF_SWEEP = {"table1": "table1", "table4": "table4", "table6": "table6"}


def places(sweep: str) -> set[tuple[str, str, str]]:
    return {(cell.dataset, cell.network, cell.method) for cell in load(SWEEPS / f"{sweep}.yaml").cells}


def test_table_6_has_every_number_of_the_paper() -> None:
    measured = reference.table6()
    assert np.isfinite(measured.errors).sum() == 1276
    assert len(measured.experiments) == 39
    assert measured.optima == ("opt",)
    present = {method: int(np.isfinite(measured.of(method, "1")).sum()) for method in measured.methods}
    assert present == {"opt": 39, "ann": 39, "aann": 39, "exp3": 38, "avgl": 38, "milestone": 36, "rwm": 34}
    assert len(measured.missing) == 1 + 1 + 3 + 5
    assert {word for words in measured.missing.values() for word in words.values()} == {"not in the paper"}
    assert np.isnan(measured.of("opt", "AE")).all()
    found = dict(zip(measured.experiments, measured.of("aann", "3/4"), strict=True))
    (one,) = [error for place, error in found.items() if (place.dataset, place.network) == ("svhn", "(25,32)/3")]
    assert one == reference.printed_errors("table6")["svhn", "(25,32)/3", "aann", "3/4"]


def test_table_6_is_the_grid_of_its_sweep() -> None:
    sweep, measured = load(SWEEPS / "table6.yaml"), reference.table6()
    assert set(measured.experiments) == {experiment_of(cell) for cell in sweep.cells}
    assert set(measured.methods) == {cell.method for cell in sweep.cells}


@pytest.mark.parametrize(("table", "sweep"), OF_SWEEP.items())
def test_each_printed_error_has_its_place_in_a_sweep(table, sweep) -> None:
    assert {place[:3] for place in reference.printed_errors(table)} <= places(sweep)


def test_what_table_1_and_4_lack_of_their_sweeps_is_what_the_paper_left_out() -> None:
    printed = {place[:3] for place in reference.printed_errors("table1")}
    assert places("table1") - printed == {("cifar100", "(5,16)", method) for method in ("midfeat", "no_grad")}
    assert places("table4") == {place[:3] for place in reference.printed_errors("table4")}


@pytest.mark.parametrize(
    ("table", "place", "error"),
    [
        ("table1", ("cifar10", "(5,16)", "sieve", "1/4"), 32.38),
        ("table1", ("cifar100", "(5,16)", "opt", "AE"), 46.53),
        ("table3_eann", ("svhn", "(25,32)/3", "eann", "AE"), 2.21),
        ("table3_eann", ("cifar100", "(25,32)/3", "opt_plus", "1/4"), 25.81),
        ("table4", ("cifar100", "(7,16)/2", "ann", "1/2"), 51.81),
        ("table4", ("cifar100", "(13,16)", "ann", "1"), 26.96),
        ("table6", ("svhn", "(25,16)/3", "opt", "1/4"), 3.00),
        ("table6", ("cifar10", "(9,128)", "aann", "1"), 4.41),
    ],
)
def test_errors_are_as_printed(table, place, error) -> None:
    assert reference.printed_errors(table)[place] == error
    assert reference.published(table)[place].error == error


def test_where_two_tables_differ_the_one_asked_for_counts() -> None:
    place = "svhn", "(25,32)/3", "opt", "1/2"
    assert (reference.published()[place].error, reference.published()[place].table) == (1.66, "Table 6")
    assert reference.published("eann")[place].error == reference.published("table3_eann")[place].error == 1.69
    place = "cifar100", "(7,16)", "ann", "AE"
    assert {name: reference.published(name)[place].error for name in ("table4", "table6", "mine")} == {
        "table4": 49.30,
        "table6": 51.79,
        "mine": 51.79,
    }


def test_percentages_are_as_printed() -> None:
    wins, increases = reference.printed("table5"), reference.printed("table2b")
    assert set(wins) == set(product(["exp3", "milestone", "rwm", "avgl", "aann"], METRICS))
    assert set(increases) == set(product(["ann", "aann"], METRICS[:-1]))
    assert (wins["aann", "3/4"], increases["aann", "3/4"]) == (Decimal("76.92"), Decimal("7.99"))


@pytest.mark.parametrize(
    ("computed", "printed", "agree"),
    [
        (76.923, "76.92", True),
        (76.925, "76.93", True),  # a half goes up, though in binary it is a little less
        (1.005, "1.01", True),
        (1.005, "1.00", False),
        (50.0, "50.00", True),
        (50.0, "50.01", False),
        (0.065, "0.07", True),
        (None, "50.00", False),
    ],
)
def test_numbers_agree_when_rounded_as_in_print(computed, printed, agree) -> None:
    assert reference.agrees(computed, Decimal(printed)) is agree
