"""Intervals that draw images anew hold what they should as often as they say; McNemar's test is exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
from answered import drawn_outcomes
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.stats.outcomes.calibration import calibration_errors
from orchestrator.stats.outcomes.curves import errors, image_aucs
from orchestrator.stats.outcomes.image_noise import crossed_interval, crossed_means, mcnemar, resampled_interval


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_mcnemar_flips_a_coin_for_each_image_on_which_the_two_differ(pairs) -> None:
    own, other = (np.array(side) for side in zip(*pairs, strict=True))
    found = mcnemar(own, other)
    gained, lost = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    flips, more = gained + lost, max(gained, lost)
    tail = sum(math.comb(flips, heads) for heads in range(more, flips + 1)) / 2**flips
    assert (found.only_own, found.only_other, found.n) == (gained, lost, len(pairs))
    assert found.p == pytest.approx(min(1, 2 * tail))


def test_resamples_vary_as_seeds_and_images_do() -> None:
    """Against draws of each seed and each image, one by one."""
    rng = np.random.default_rng(0)
    values = rng.integers(-1, 2, (4, 30)) + rng.integers(0, 2, (4, 1)).astype(float)
    found = crossed_means(values, np.random.default_rng(1), 4000)
    stretched = values + (math.sqrt(4 / 3) - 1) * (values.mean(axis=1, keepdims=True) - values.mean())
    drawn = [stretched[rng.integers(4, size=4)][:, rng.integers(30, size=30)].mean() for _ in range(4000)]
    assert found.mean() == pytest.approx(values.mean(), abs=0.02)
    assert found.std() == pytest.approx(np.std(drawn), rel=0.06)


def test_of_one_seed_images_alone_vary() -> None:
    """The standard error of a share, in closed form."""
    values = (np.arange(1000) < 50).astype(float)[None]
    found = crossed_interval(values, np.random.default_rng(0))
    reach = 1.96 * math.sqrt(0.05 * 0.95 / 1000)
    assert (found.low, found.high) == pytest.approx((0.05 - reach, 0.05 + reach), rel=0.1)
    assert found.n == 1000


@pytest.mark.parametrize(("seeds", "of_seed"), [(1, 0.0), (3, 0.0), (3, 0.1), (8, 0.1)])
def test_the_interval_holds_the_mean_as_often_as_it_says(seeds, of_seed) -> None:
    """Of 300 draws of seeds, images and what belongs to both."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        values = 0.3 + of_seed * rng.normal(size=(seeds, 1)) + rng.normal(size=120) + rng.normal(size=(seeds, 120))
        found = crossed_interval(values, rng)
        hits += found.low <= 0.3 <= found.high
    assert hits / 300 >= 0.92


def test_images_on_which_both_networks_err_cancel() -> None:
    own, other = drawn_outcomes(0, 3, 400, 3), drawn_outcomes(0, 3, 400, 3)
    other.classes[:, :10] = (own.classes[:, :10] + 1) % 3
    paired = crossed_interval((image_aucs(own) - image_aucs(other))[None], np.random.default_rng(0))
    alone = crossed_interval(image_aucs(own)[None], np.random.default_rng(0))
    assert paired.high - paired.low < (alone.high - alone.low) / 2


def test_any_metric_can_be_drawn_anew() -> None:
    own, other = drawn_outcomes(0, 2, 300, 3), drawn_outcomes(0, 2, 300, 3)
    rng = np.random.default_rng(0)
    last = resampled_interval(lambda each: float(errors(each)[-1]), own, None, rng, resamples=400)
    exact = crossed_interval(100.0 * ~own.right[-1:], np.random.default_rng(0))
    assert (last.low, last.high) == pytest.approx((exact.low, exact.high), abs=1)
    same = resampled_interval(lambda each: float(calibration_errors(each)[-1]), own, other, rng, resamples=50)
    assert (same.low, same.high) == (0, 0)
    with pytest.raises(ValueError, match="other images"):
        resampled_interval(lambda each: 0.0, own, drawn_outcomes(1, 2, 300, 3), rng)
