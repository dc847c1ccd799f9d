"""What one believes follows the differences; agreement with baycomp is in ``test_golden``."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.stats.bayes import MOST_UNITS, Posterior, correlated_t, posterior, signed_rank


@pytest.mark.parametrize("believe", [signed_rank, correlated_t])
@pytest.mark.parametrize("rope", [0.0, 0.1])
def test_what_is_better_for_one_is_worse_for_the_other(believe, rope) -> None:
    units = np.random.default_rng(0).normal(-0.2, 0.4, 12)
    there, back = believe(units, rope), believe(-units, rope)
    assert there.better + there.equal + there.worse == pytest.approx(1)
    assert (there.better, there.worse) == pytest.approx((back.worse, back.better), abs=0.01)
    assert there.better > 0.7


def test_small_differences_are_practically_equal() -> None:
    units = np.linspace(-0.05, 0.05, 15)
    assert signed_rank(units, 0.1).equal == 1
    assert correlated_t(units, 0.1).equal > 0.999


def test_folds_that_depend_on_each_other_say_less() -> None:
    units = np.random.default_rng(1).normal(-0.3, 0.4, 10)
    assert correlated_t(units, 0.1, correlation=0.3).better < correlated_t(units, 0.1).better


@pytest.mark.parametrize(
    ("units", "believed"),
    [([0.5], (0.5, 0, 0.5)), ([-1.0, -1.0], (1, 0, 0)), ([0.05, 0.05], (0, 1, 0)), ([1.0, 1.0], (0, 0, 1))],
)
def test_without_any_spread_there_is_no_doubt(units, believed) -> None:
    better, equal, worse = believed
    assert correlated_t(np.array(units), 0.1) == Posterior(better=better, equal=equal, worse=worse)


def test_of_very_many_units_both_believe_the_same() -> None:
    units = np.random.default_rng(2).normal(-0.1, 1, MOST_UNITS)
    ranked, student = posterior(units, 0.1), posterior(np.append(units, 0.0), 0.1)
    assert (ranked.better, ranked.equal) == pytest.approx((student.better, student.equal), abs=0.15)
    assert posterior(np.array([]), 0.1) is None
