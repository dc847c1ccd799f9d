"""Quantiles of Student's t are scipy's."""

from __future__ import annotations

import math

import pytest
from scipy.stats import t as students

from orchestrator.stats.student import t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 38, 199, 200, 201, 1000])
@pytest.mark.parametrize("probability", [0.025, 0.2, 0.5, 0.8, 0.95, 0.975, 0.9995])
def test_quantiles_are_scipys(probability: float, freedom: int) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(students.ppf(probability, freedom), rel=1e-5)


def test_without_a_degree_of_freedom_nothing_is_sure() -> None:
    assert t_quantile(0.975, 0) == math.inf
    assert t_quantile(0.025, 0) == -math.inf


@pytest.mark.parametrize("probability", [0, 1, -1, math.nan])
def test_what_is_no_probability_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        t_quantile(probability, 3)
