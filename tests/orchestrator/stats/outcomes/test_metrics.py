"""Every metric gives one number, and says which way is better."""

from __future__ import annotations

import numpy as np
import pytest
from answered import drawn_outcomes

from anytime_core.result import average_error
from orchestrator.stats.outcomes.curves import errors
from orchestrator.stats.outcomes.metrics import METRICS


@pytest.mark.parametrize("name", METRICS)
def test_a_network_that_learns_is_better(name) -> None:
    """Than one whose answers are all alike; that one is never confident, and so not badly calibrated."""
    metric, blind = METRICS[name], drawn_outcomes(0, 4, 2000, 5, 0.0)
    good = drawn_outcomes(0, 4, 2000, 5, 3.0)
    assert isinstance(metric.of(good), float)
    assert metric.meaning
    if name in ("error", "average_error", "auc", "budgeted_area", "auroc"):
        better, worse = metric.of(good), metric.of(blind)
        assert (better < worse) == metric.lower_is_better


def test_ae_is_that_of_the_results() -> None:
    outcomes = drawn_outcomes(3, 4, 70, 3)
    assert METRICS["average_error"].of(outcomes) == pytest.approx(average_error(errors(outcomes).tolist()))


def test_what_no_prediction_has_is_none() -> None:
    outcomes = drawn_outcomes(3, 2, 5, 3)
    outcomes.classes[:] = outcomes.labels
    assert METRICS["auroc"].of(outcomes) is None
    one = drawn_outcomes(0, 1, 5, 3)
    assert np.isfinite([METRICS[name].of(one) for name in METRICS if name != "auroc"]).all()
