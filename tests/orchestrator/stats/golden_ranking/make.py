"""Writes what other libraries say of fixed tables into ``tables.json``; README.md beside it names their versions.

python tests/orchestrator/stats/golden_ranking/make.py
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import choix
import numpy as np
import scikit_posthocs
from rliable import library

HERE = Path(__file__).parent


def tables() -> dict[str, np.ndarray]:
    """Errors [cells, methods] with two decimals, as tables have them, so that some are equal."""
    rng = np.random.default_rng(1)
    shapes = {"few": (6, 3), "ties": (12, 4), "many": (39, 6)}
    grain = {"few": 2, "ties": 0, "many": 1}
    return {
        name: np.round(20 + 3 * rng.random((cells, 1)) + 0.4 * np.arange(methods) + rng.normal(size=shape), grain[name])
        for name, shape in shapes.items()
        for cells, methods in [shape]
    }


def nemenyi(errors: np.ndarray) -> list[list[float]]:
    return scikit_posthocs.posthoc_nemenyi_friedman(errors).to_numpy().tolist()


def bradley_terry(errors: np.ndarray) -> list[float]:
    """Without ties: maximum likelihood, relative to the first method."""
    pairs = combinations(range(errors.shape[1]), 2)
    won = [
        (i, j) if row[i] < row[j] else (j, i) for pair in pairs for i, j in [pair] for row in errors if row[i] != row[j]
    ]
    strengths = choix.opt_pairwise(errors.shape[1], won, alpha=0, tol=1e-12)
    return (strengths - strengths[0]).tolist()


def profile(scores: np.ndarray, points: np.ndarray) -> dict[str, list[float]]:
    """The share of cells whose mean score is at most each point, and its band; rliable gives the share above."""
    np.random.seed(0)
    above, bands = library.create_performance_profile(
        {"method": scores.T}, points, use_score_distribution=False, reps=20_000
    )
    high, low = 1 - bands["method"]
    return {"share": (1 - above["method"]).tolist(), "low": low.tolist(), "high": high.tolist()}


def main() -> None:
    rng = np.random.default_rng(2)
    scores, points = np.round(rng.random((40, 5)), 2), np.linspace(0.205, 0.795, 13)
    made = {
        "tables": {
            name: {
                "errors": errors.tolist(),
                "nemenyi": nemenyi(errors),
                "bradley_terry": bradley_terry(errors),
            }
            for name, errors in tables().items()
        },
        "profile": {"scores": scores.tolist(), "points": points.tolist()} | profile(scores, points),
    }
    (HERE / "tables.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
