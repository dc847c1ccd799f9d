"""What the results of a trial may hold, and the metrics of section 4.1."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from anytime_core.result import EpochMetrics, TrialResult, average_error, milestone_errors


def metrics(**changes) -> EpochMetrics:
    values = {
        "epoch": 1,
        "step": 3,
        "learning_rate": 0.1,
        "train_loss": (1.0, 2.0),
        "train_error": (50.0, 40.0),
        "test_loss": (1.0, 2.0),
        "test_error": (60.0, 50.0),
        "probabilities": (),
        "seconds": 1.0,
        "timestamp": 0.0,
    }
    return EpochMetrics(**values | changes)


def result(**changes) -> TrialResult:
    values = {
        "state": "finished",
        "units": (1, 2),
        "costs": (10, 20),
        "errors": (60.0, 50.0),
        "steps": 3,
        "seconds": 1.0,
        "device": "cpu",
    }
    return TrialResult(**values | changes)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("part", ["train_loss", "test_loss"])
def test_a_loss_that_is_no_number_is_divergence(part, loss) -> None:
    assert not metrics().diverged
    assert metrics(**{part: (1.0, loss)}).diverged


def test_a_diverged_trial_has_no_errors_and_a_finished_one_has_all() -> None:
    assert result().errors == (60.0, 50.0)
    assert result(state="diverged", errors=()).errors == ()
    for changes in ({"state": "diverged"}, {"errors": ()}, {"errors": (1.0,)}, {"costs": (10,)}):
        with pytest.raises(ValueError, match="trial cannot have"):
            result(**changes)


def test_milestone_errors_are_those_of_the_latest_prediction_within_the_cost() -> None:
    errors = milestone_errors([26, 49, 51, 100], [9.0, 8.0, 7.0, 6.0])
    assert errors == {Fraction(1, 4): None, Fraction(1, 2): 8.0, Fraction(3, 4): 7.0, Fraction(1): 6.0}


def test_the_average_error_is_the_plain_mean() -> None:
    assert average_error([30.0, 20.0, 10.0, 0.0]) == 15.0
    assert average_error([0.1] * 10) == 0.1  # a running sum would give 0.09999999999999999
