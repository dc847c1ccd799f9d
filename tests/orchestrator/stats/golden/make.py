"""Writes ``answers.json``: what other libraries say of fixed tables of errors. See README.md for how to run it."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import baycomp
import numpy as np
import scikit_posthocs
from rliable.library import StratifiedBootstrap
from rliable.metrics import probability_of_improvement
from scipy import stats

NAMES = ("scipy", "scikit-posthocs", "baycomp", "rliable")


def errors(cells: int, seeds: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Two methods' errors ``[seed, cell]``, in whole hundredths so that some are equal."""
    rng = np.random.default_rng(draw)
    base = rng.uniform(2, 30, cells)
    both = base + rng.normal(0, 0.3, (2, seeds, cells)) * np.sqrt(base) / 3
    both[0] -= 0.15
    return np.round(both[0], 1), np.round(both[1], 1)


def answers(cells: int, seeds: int, draw: int) -> dict[str, object]:
    own, other = errors(cells, seeds, draw)
    first, second = own[0], other[0]
    differences = np.round(first - second, 9)
    wins, losses = int((differences < 0).sum()), int((differences > 0).sum())
    flips = stats.permutation_test(
        (differences, np.zeros(cells)), lambda a, b: np.sum(a - b), permutation_type="samples", alternative="less"
    )
    exact = stats.binomtest(wins, wins + losses).proportion_ci(0.95, "exact")
    resamples = StratifiedBootstrap(own - other, random_state=np.random.RandomState(0)).conf_int(
        lambda data: np.array([data.mean()]), reps=20_000, method="percentile"
    )
    return {
        "own": own.tolist(),
        "other": other.tolist(),
        "scipy": {
            "sign-test": stats.binomtest(wins, wins + losses, alternative="greater").pvalue,
            "sign-flip": flips.pvalue,
            "clopper-pearson": [wins, wins + losses, 100 * exact.low, 100 * exact.high],
        },
        "baycomp": {
            str(rope): {
                "signed-rank": baycomp.SignedRankTest.probs(second, first, rope, random_state=0),
                "correlated-t": baycomp.CorrelatedTTest.probs(second, first, rope),
            }
            for rope in (0.13, 0.31)  # no mean of two differences lies on an edge
        },
        "rliable": {"improvement": 100 * probability_of_improvement(-own, -other), "mean": resamples[:, 0].tolist()},
    }


def posthoc() -> dict[str, object]:
    """Wilcoxon's test between four methods, two-sided, with Holm's correction."""
    rng = np.random.default_rng(4)
    table = np.round(rng.uniform(5, 20, 12) + rng.normal(0, 1, (4, 12)) + np.array([[0], [0.4], [0.8], [1.2]]), 4)
    return {
        "errors": table.tolist(),
        "p": scikit_posthocs.posthoc_wilcoxon(list(table)).to_numpy().tolist(),
        "holm": scikit_posthocs.posthoc_wilcoxon(list(table), p_adjust="holm").to_numpy().tolist(),
    }


def main() -> None:
    content = {
        "versions": {name: version(name) for name in NAMES},
        "tables": [answers(8, 3, 0), answers(12, 5, 1), answers(13, 2, 2)],
        "posthoc": posthoc(),
    }
    Path(__file__).with_name("answers.json").write_text(json.dumps(content, default=float) + "\n")


if __name__ == "__main__":
    main()
