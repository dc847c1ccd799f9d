"""Loss weights B_i of the L predictions, i = 1..L (section 3.2 and 4.3).

``loss_weights`` gives the weights as the paper's formulas do; ``normalize`` sets the scale of their sum, which acts
like a learning rate and must be the same for everything that is compared. To add weights: a name in
``config.WEIGHTS``, a function, and a line in WEIGHTINGS.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import get_args

from anytime_core.config import WEIGHTS, Normalisation, Part, WeightingConfig, refuse_gaps, untrainable
from anytime_core.extend import Progress, Weighting

Weights = list[float]


def constant(size: int) -> Weights:
    return [1.0] * size


def linear(size: int) -> Weights:
    """Grows linearly with i, from 1/4 at the first to 1 at the last (the end points are the authors')."""
    return [1.0] if size == 1 else [0.25 + 0.75 * i / (size - 1) for i in range(size)]


def expb2(size: int) -> Weights:
    return [2.0**i for i in range(1, size + 1)]


def expb_half(size: int) -> Weights:
    return [0.5**i for i in range(1, size + 1)]


def half_end(size: int) -> Weights:
    """The last has half of the total, the others share the rest."""
    return [1.0] if size == 1 else [1.0] * (size - 1) + [size - 1.0]


def two_adic_valuation(number: int) -> int:
    """The highest t such that 2^t divides the positive ``number``."""
    return (number & -number).bit_length() - 1


def sieve(size: int) -> Weights:
    """One plus the 2-adic valuation of the distance to the end; the last equals the sum of the others (Figure 2f)."""
    others = [1.0 + two_adic_valuation(size - i) for i in range(1, size)]
    return [*others, sum(others) or 1.0]


WEIGHTINGS: dict[str, Callable[[int], Weights]] = {
    "constant": constant,
    "linear": linear,
    "expb2": expb2,
    "expb0.5": expb_half,
    "half_end": half_end,
    "sieve": sieve,
}
refuse_gaps("weighting.WEIGHTINGS", WEIGHTINGS, WEIGHTS)
refuse_gaps("config.WEIGHTS", WEIGHTS, WEIGHTINGS)

# The totals of the authors' training code, where the paper's text gives proportions only.
PUBLISHED_TOTALS: dict[str, Callable[[int], float]] = {
    "constant": float,
    "linear": lambda size: sum(linear(size)),
    "sieve": lambda size: float((size - 1).bit_length()) or 1.0,  # log2, rounded up
    "half_end": lambda size: 2.0,
}

_ONE_HOT = re.compile(r"opt(?:\((\d+)\))?")


def is_known(name: str) -> bool:
    return name in WEIGHTINGS or _ONE_HOT.fullmatch(name) is not None


def one_hot(position: int, size: int) -> Weights:
    """All of the weight on the 1-based ``position``: training for one prediction alone."""
    if not 1 <= position <= size:
        raise ValueError(f"opt({position}): there are only predictions 1 to {size}")
    return [float(i == position) for i in range(1, size + 1)]


def _formula(name: str, size: int) -> Weights:
    if match := _ONE_HOT.fullmatch(name):
        return one_hot(int(match[1] or size), size)
    if name not in WEIGHTINGS:
        raise ValueError(f"unknown weights {name!r}; allowed: {', '.join(WEIGHTINGS)}, opt(k)")
    return WEIGHTINGS[name](size)


def loss_weights(name: str, num_predictions: int, normalize: str = "none") -> Sequence[float]:
    """The weights of ``num_predictions`` losses, first to last. ``opt(k)`` is 1 at k; ``opt`` alone is the last.

    normalize: ``none`` keeps the formula's values; ``sum_to_one`` divides by their sum; ``as_published`` gives them the
    total of the authors' code, where it is known, else the formula's own.
    """
    if num_predictions < 1:
        raise ValueError(f"num_predictions is {num_predictions}, must be at least 1")
    if normalize not in get_args(Normalisation):
        raise ValueError(f"unknown normalize {normalize!r}; allowed: {', '.join(get_args(Normalisation))}")
    weights = _formula(name, num_predictions)
    if normalize == "none" or (normalize == "as_published" and name not in PUBLISHED_TOTALS):
        return weights
    return _scaled(weights, 1.0 if normalize == "sum_to_one" else PUBLISHED_TOTALS[name](num_predictions))


def _scaled(weights: Weights, total: float) -> Weights:
    scale = total / sum(weights)
    return [weight * scale for weight in weights]


def _given(config: Weighting, costs: Sequence[float], progress: Progress) -> Weights:
    try:
        return [float(weight) for weight in config.weights(costs, progress)]
    except (Exception, SystemExit) as error:  # an extension may raise anything
        raise ValueError(f"weights {config.name}: {type(error).__name__}: {error}") from error


def base_weights(config: WeightingConfig | Part, costs: Sequence[int], progress: Progress) -> Sequence[float]:
    """The weights of a trial's losses as an epoch begins, whoever gives them. ``costs`` are those of its predictions.
    Raises ValueError for weights that cannot be."""
    if isinstance(config, Weighting):
        values = _given(config, [cost / costs[-1] for cost in costs], progress)
    elif isinstance(config, WeightingConfig) and config.values:
        values = list(config.values)
    elif isinstance(config, WeightingConfig):
        return loss_weights(config.name, len(costs), config.normalize)
    else:
        raise ValueError(untrainable(config))
    if len(values) != len(costs):
        raise ValueError(f"weights {config.name} are {len(values)}, must be {len(costs)}, one for each prediction")
    if not all(0 <= weight < math.inf for weight in values) or not sum(values):
        raise ValueError(f"weights {config.name} are {values}, must be finite, at least 0, and not all 0")
    return _scaled(values, 1.0) if config.normalize == "sum_to_one" else values
