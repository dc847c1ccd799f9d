"""Performance profiles agree with rliable on fixed scores, and with counting by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from orchestrator.stats import profiles
from orchestrator.stats.resampling import generator

GOLDEN = json.loads((Path(__file__).parent / "golden_ranking" / "tables.json").read_text())["profile"]
NAN, INF = np.nan, np.inf


def test_a_profile_is_rliables() -> None:
    scores, points = np.array(GOLDEN["scores"]), np.array(GOLDEN["points"])
    found = profiles.profile(scores, points, generator(0, "golden"), resamples=10_000)
    assert found.share == pytest.approx(GOLDEN["share"])
    step = 1 / len(scores)
    assert found.low == pytest.approx(GOLDEN["low"], abs=step + 1e-9)
    assert found.high == pytest.approx(GOLDEN["high"], abs=step + 1e-9)
    assert np.abs(found.low - GOLDEN["low"]).mean() < step / 3
    assert (found.cells, found.resampled) == (40, "seeds")


def test_a_profile_counts_the_cells_at_or_below_each_point() -> None:
    scores = np.array([[1.0, 3.0], [2.0, NAN], [INF, 1.0], [5.0, 5.0]])
    found = profiles.profile(scores, np.array([1.0, 2.0, 5.0, 9.0]), generator(0))
    assert found.share.tolist() == [0, 0.5, 0.75, 0.75]


def test_the_band_is_of_all_draws_of_seeds() -> None:
    """One cell of two seeds: the mean of two draws is 0, 1 or 2 in 1, 2, 1 of 4."""
    found = profiles.profile(np.array([[0.0, 2.0]]), np.array([0.0, 1.0]), generator(0), level=0.4, resamples=4000)
    assert (found.low.tolist(), found.high.tolist()) == ([0, 1], [0, 1])
    wide = profiles.profile(np.array([[0.0, 2.0]]), np.array([0.0, 1.0]), generator(0), level=0.6, resamples=4000)
    assert (wide.low.tolist(), wide.high.tolist()) == ([0, 0], [1, 1])


def test_missing_seeds_are_never_drawn() -> None:
    scores = np.array([[1.0, NAN, NAN], [1.0, 1.0, NAN]])
    found = profiles.profile(scores, np.array([0.5, 1.0]), generator(0))
    assert (found.low.tolist(), found.high.tolist()) == ([0, 1], [0, 1])


def test_of_one_seed_cells_are_drawn() -> None:
    found = profiles.profile(np.arange(8.0)[:, None], np.array([3.0]), generator(0))
    assert found.resampled == "cells"
    assert found.low[0] < 0.5 < found.high[0]


def test_profiles_step_at_the_means() -> None:
    assert profiles.steps(np.array([[[1.0, 3.0], [2.0, NAN]], [[INF, 1.0], [7.0, 7.0]]])).tolist() == [2, 7]


def test_steps_are_thinned_where_they_are_many() -> None:
    found = profiles.steps(np.arange(5000.0)[:, None])
    assert len(found) == profiles.MOST_POINTS
    assert (found[0], found[-1]) == (0, 4999)


@pytest.mark.parametrize("scores", [np.ones((0, 2)), np.array([[1.0], [NAN]])])
def test_a_cell_without_a_score_is_refused(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="each cell at least one score"):
        profiles.profile(scores, np.array([1.0]), generator(0))


def test_the_same_purpose_draws_the_same() -> None:
    scores = generator(1).random((9, 4))
    first, again, other = (
        profiles.profile(scores, np.array([0.5]), generator(0, purpose), level=0.5).low.tolist()
        + generator(0, purpose).random(2).tolist()
        for purpose in ("a", "a", "b")
    )
    assert first == again != other
