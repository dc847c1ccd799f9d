"""Thresholds are the lowest whose bound holds, and the risk keeps to the bound as often as it says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from answered import drawn_outcomes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr

from orchestrator.stats.intervals import clopper_pearson
from orchestrator.stats.outcomes.guarantees import (
    LOSSES,
    NEVER,
    allowed_losses,
    critical_thresholds,
    guaranteed,
    images_needed,
    least_risk,
)
from orchestrator.stats.outcomes.policies import by_confidence

small = st.tuples(st.integers(0, 500), st.integers(1, 5), st.integers(1, 25), st.integers(2, 3))


def lost_at(outcomes, losses, threshold: float) -> list[bool]:
    """Whether each image has a loss where it leaves at ``threshold``."""
    exits = by_confidence(outcomes, threshold)
    return [bool(losses[k, image]) for image, k in enumerate(exits)]


def all_thresholds(outcomes) -> list[float]:
    return sorted({*outcomes.confidence.astype(float).ravel().tolist(), NEVER})


@settings(max_examples=40)
@given(small, st.sampled_from(sorted(LOSSES)))
def test_the_critical_threshold_is_the_highest_with_a_loss(sizes, loss) -> None:
    outcomes = drawn_outcomes(*sizes)
    losses = LOSSES[loss](outcomes)
    found = critical_thresholds(outcomes, losses)
    by_threshold = {each: lost_at(outcomes, losses, each) for each in all_thresholds(outcomes)}
    for image, critical in enumerate(found):
        lossy = [each for each, lost in by_threshold.items() if lost[image]]
        if critical == math.inf:
            assert NEVER in lossy
        else:
            assert critical == max(lossy, default=-math.inf)


@settings(max_examples=60)
@given(small, st.sampled_from(sorted(LOSSES)), st.sampled_from([0.05, 0.2, 0.5]), st.sampled_from([None, 0.1, 0.4]))
def test_no_lower_threshold_keeps_the_bound(sizes, loss, risk, delta) -> None:
    outcomes, n = drawn_outcomes(*sizes), sizes[2]
    losses = LOSSES[loss](outcomes)
    if delta is None and loss == "error":
        with pytest.raises(ValueError, match="loss error needs a delta"):
            guaranteed(outcomes, risk, delta, loss)
        return
    candidates = all_thresholds(outcomes)
    rows = np.array([lost_at(outcomes, losses, each) for each in candidates])
    counts = np.maximum.accumulate(rows[::-1])[::-1].sum(axis=1)  # lost there or at any higher threshold

    def bound(lost: int) -> float:
        if delta is None:
            return (lost + 1) / (n + 1)
        return clopper_pearson(lost, n, 1 - 2 * delta).high / 100 if lost < n else 1

    fine = [each for each, lost in zip(candidates, counts, strict=True) if bound(lost) <= risk + 1e-12]
    found = guaranteed(outcomes, risk, delta, loss)
    if not fine and loss == "error":
        assert found is None
        return
    lowest = min(fine, default=NEVER)
    assert by_confidence(outcomes, found.threshold).tolist() == by_confidence(outcomes, lowest).tolist()
    assert found.threshold <= lowest
    assert found.losses <= max(found.allowed, 0)
    assert found.n == n


@pytest.mark.parametrize("n", [10, 99, 500])
@pytest.mark.parametrize("risk", [0.01, 0.02, 0.1])
def test_so_many_losses_are_allowed_as_the_bounds_say(n, risk) -> None:
    fine = [lost for lost in range(n) if clopper_pearson(lost, n, 0.8).high <= 100 * risk + 1e-9]
    assert allowed_losses(n, risk, 0.1) == max(fine, default=-1)
    expected = [lost for lost in range(n + 1) if (lost + 1) / (n + 1) <= risk + 1e-12]
    assert allowed_losses(n, risk) == max(expected, default=-1)


@pytest.mark.parametrize("risk", [0.007, 0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("delta", [None, 0.05, 0.5])
def test_so_many_images_are_needed_that_none_of_them_may_have_a_loss(risk, delta) -> None:
    needed = images_needed(risk, delta)
    assert allowed_losses(needed, risk, delta) >= 0
    assert needed == 1 or allowed_losses(needed - 1, risk, delta) == -1


@settings(max_examples=40)
@given(small, st.sampled_from([0.1, 0.4]))
def test_the_least_risk_is_where_a_threshold_begins_to_be_found(sizes, delta) -> None:
    outcomes = drawn_outcomes(*sizes)
    least = least_risk(outcomes, delta)
    assert guaranteed(outcomes, min(least * 0.999, 0.999), delta, "error") is None
    if least < 0.999:
        assert guaranteed(outcomes, least * 1.001, delta, "error") is not None


def test_too_few_images_leave_all_to_the_last_prediction() -> None:
    outcomes = drawn_outcomes(0, 3, 40, 3)
    assert guaranteed(outcomes, 0.02).threshold == NEVER
    assert guaranteed(outcomes, 0.02, 0.1, "error") is None
    assert by_confidence(outcomes, NEVER).tolist() == [2] * 40


def test_answers_that_never_change_are_given_at_once() -> None:
    outcomes = drawn_outcomes(0, 3, 200, 3)
    same = replace(outcomes, classes=np.repeat(outcomes.classes[-1:], 3, axis=0))
    assert guaranteed(same, 0.02).threshold == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"risk": 2}, "risk is 2, must be between 0 and 1"),
        ({"risk": 0.1, "delta": 0}, "delta is 0, must be between 0 and 1"),
        ({"risk": 0.1, "loss": "gain"}, "no loss here is named 'gain'; allowed: lost, error, differs"),
    ],
)
def test_what_cannot_be_is_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        guaranteed(drawn_outcomes(0, 2, 5, 2), **options)


@pytest.mark.parametrize(("loss", "risk"), [("lost", 0.05), ("differs", 0.1), ("error", 0.55)])
def test_a_bound_breaks_no_more_often_than_it_says(loss, risk) -> None:
    """500 times 300 of 20,000 images are held out, and the risk is that of all images.

    How often the bound breaks is known but for the discreteness of confidences: as often as a binomial of that risk has
    no more losses than are allowed, which is at most delta.
    """
    outcomes, delta = drawn_outcomes(0, 5, 20_000, 3, 1.0), 0.1
    losses = LOSSES[loss](outcomes)
    critical = critical_thresholds(outcomes, losses)
    rng, risks = np.random.default_rng(0), {delta: []} if loss == "error" else {None: [], delta: []}
    for _ in range(500):
        held_out = outcomes.of_images(rng.choice(20_000, 300, replace=False))
        for method, found in risks.items():
            threshold = guaranteed(held_out, risk, method, loss).threshold
            found.append((critical >= threshold).mean())
    assert np.mean(lost_at(outcomes, losses, threshold)) <= risks[delta][-1]  # what is bounded is never less
    broken = np.mean(np.array(risks[delta]) > risk)
    assert broken <= delta
    assert broken == pytest.approx(bdtr(allowed_losses(300, risk, delta), 300, risk), abs=0.03)
    assert None not in risks or risk * 0.95 < np.mean(risks[None]) <= risk
