"""Where no method is better, false verdicts are as rare as they should be, in each scope and by each test of it.

The grids are those of ``benchmarks/null_grids.py``; ``docs/statistics.md`` has its figures of 2,000 of each kind.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from orchestrator.stats.significance import LEVEL, UNSOUND

GRIDS = 200
SLACK = 0.045
"""Of a share of 200 grids: three of its standard deviations."""


@pytest.fixture(scope="module")
def null_grids() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / "null_grids.py"
    spec = importlib.util.spec_from_file_location("null_grids", path)
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("case", range(8))
def test_false_verdicts_are_at_most_five_in_a_hundred(null_grids: ModuleType, case: int) -> None:
    """Of comparisons alone, and of families of five with Holm's correction."""
    scope, shape = null_grids.CASES[case]
    found = null_grids.false_verdicts(scope, shape, null_grids.LUCK[scope], GRIDS)
    sound = {test: rates for test, rates in found.items() if test not in UNSOUND}
    assert {test: rates for test, rates in sound.items() if max(rates) > LEVEL + SLACK} == {}


@pytest.mark.slow
def test_the_published_bound_is_wrong_far_more_often(null_grids: ModuleType) -> None:
    scope, shape = null_grids.CASES[2]
    rates = null_grids.false_verdicts(scope, shape, null_grids.LUCK[scope], GRIDS, ["hoeffding-as-published"])
    assert rates["hoeffding-as-published"][0] > 3 * LEVEL


@pytest.mark.slow
def test_a_verdict_on_cells_is_none_on_new_data_sets(null_grids: ModuleType) -> None:
    _, shape = null_grids.CASES[3]
    rates = null_grids.false_verdicts("cells", shape, null_grids.LUCK["data_sets"], GRIDS // 4, ["sign-flip"])
    assert rates["sign-flip"][0] > 3 * LEVEL


@pytest.mark.slow
@pytest.mark.parametrize("case", range(8))
def test_intervals_hold_the_truth(null_grids: ModuleType, case: int) -> None:
    """Those of medians and of improvements hold it at least as often as they say."""
    scope, shape = null_grids.CASES[case]
    found = {name: share for name, share in null_grids.coverage(scope, shape, GRIDS).items() if share is not None}
    assert {name: share for name, share in found.items() if share < 1 - LEVEL - SLACK} == {}


def test_a_grid_has_whole_numbers_of_wrong_answers(null_grids: ModuleType) -> None:
    shape = null_grids.Shape(2, 3, 2)
    errors = null_grids.grid(shape, null_grids.LUCK["networks"], null_grids.generator(0, "test"))
    assert errors.shape == (null_grids.METHODS + 1, len(shape.pairs))
    images = [null_grids.DATA_SETS[("svhn", "cifar10", "cifar100")[int(name[-1])]][2] for name, _, _ in shape.pairs]
    wrong = errors / 100 * images
    assert wrong == pytest.approx(wrong.round())
