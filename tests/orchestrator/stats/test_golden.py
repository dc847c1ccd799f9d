"""Other libraries say the same of fixed tables. ``golden/README.md`` names them and their versions."""

from __future__ import annotations

import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from orchestrator.stats.bayes import correlated_t, signed_rank
from orchestrator.stats.effects import effect
from orchestrator.stats.intervals import clopper_pearson
from orchestrator.stats.paired import differences
from orchestrator.stats.resampling import bootstrap_means, sign_flip
from orchestrator.stats.scopes import Grouping
from orchestrator.stats.significance import holm, p_value, two_sided

ANSWERS = json.loads((Path(__file__).parent / "golden" / "answers.json").read_text())
TABLES = ANSWERS["tables"]


def firsts(table) -> tuple[np.ndarray, np.ndarray]:
    """The errors of the first seed."""
    return np.array(table["own"][0]), np.array(table["other"][0])


@pytest.mark.parametrize("table", TABLES)
def test_scipy_gives_the_same_p_values(table) -> None:
    own, other = firsts(table)
    assert p_value(own, other, "sign-test") == pytest.approx(table["scipy"]["sign-test"])
    assert sign_flip(differences(own, other)) == pytest.approx(table["scipy"]["sign-flip"])


@pytest.mark.parametrize("table", TABLES)
def test_scipy_gives_the_same_exact_interval(table) -> None:
    wins, n, low, high = table["scipy"]["clopper-pearson"]
    found = clopper_pearson(wins, n)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_scikit_posthocs_gives_the_same_of_all_pairs_of_methods() -> None:
    given = ANSWERS["posthoc"]
    errors, places = np.array(given["errors"]), list(combinations(range(4), 2))
    found = [
        two_sided(p_value(errors[a], errors[b], "wilcoxon"), p_value(errors[b], errors[a], "wilcoxon"))
        for a, b in places
    ]
    assert found == pytest.approx([given["p"][a][b] for a, b in places])
    assert holm(found) == pytest.approx([given["holm"][a][b] for a, b in places])


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("rope", ["0.13", "0.31"])
def test_baycomp_believes_the_same(table, rope) -> None:
    """Its signed-rank test draws 50,000 samples and ours 10,000; its t-test takes the units for folds."""
    units, said = differences(*firsts(table)), table["baycomp"][rope]
    drawn = signed_rank(units, float(rope))
    assert (drawn.better, drawn.equal, drawn.worse) == pytest.approx(said["signed-rank"], abs=0.015)
    closed = correlated_t(units, float(rope), correlation=1 / len(units))
    assert (closed.better, closed.equal, closed.worse) == pytest.approx(said["correlated-t"], abs=1e-9)


@pytest.mark.parametrize("table", TABLES)
def test_rliable_finds_the_same_improvement_and_resamples(table) -> None:
    """Our resamples are stretched, by a factor that is 1 of infinitely many seeds."""
    own, other = np.array(table["own"]), np.array(table["other"])
    seeds, cells = own.shape
    pairs = [("a", str(cell), seed) for seed in range(seeds) for cell in range(cells)]
    found = effect(own.ravel(), other.ravel(), Grouping.of("cells", pairs))
    assert found.improvement == pytest.approx(table["rliable"]["improvement"])
    labels = np.tile(np.arange(cells), seeds)
    means = bootstrap_means((own - other).ravel(), labels, None, np.random.default_rng(0))
    low, high = np.quantile(means, [0.025, 0.975])
    centre, stretch = found.mean, math.sqrt(seeds / (seeds - 1))
    expected = [centre + (end - centre) * stretch for end in table["rliable"]["mean"]]
    assert (low, high) == pytest.approx(tuple(expected), abs=0.02)
