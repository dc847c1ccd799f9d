"""The mixed regime: first the last prediction alone, then all of them (Kubaty et al., ICML 2025, "How to train your
multi-exit model?", arXiv 2407.14320)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, get_args

from anytime_core.bounds import one_of, refuse, within
from anytime_core.config import WEIGHTS, Normalisation
from anytime_core.extend import Regime, ours

if TYPE_CHECKING:
    from anytime_core.model.interface import AnytimeModule
    from anytime_core.training.regimes import Phase


@ours("mixed", version="1")
@dataclass(frozen=True, kw_only=True)
class Mixed(Regime):
    """A ``share`` s of the steps trains the last prediction and what it needs, the others all predictions jointly, with
    these ``weights``. Each of the two has a new optimiser, and runs through the whole schedule of learning rates, which
    is that much shorter. s = 0 is joint training without a strategy, s = 1 trains the last prediction alone."""

    share: float = 0.5
    weights: str = "constant"
    normalize: Normalisation = "sum_to_one"

    def __post_init__(self) -> None:
        refuse(
            within("share", self.share, 0, 1),
            one_of("weights", self.weights, WEIGHTS),
            one_of("normalize", self.normalize, get_args(Normalisation)),
        )

    def count(self, predictions: int) -> int:
        return 1 if self.share in (0, 1) else 2

    def steps(self, predictions: int, schedule: int) -> Sequence[int]:
        first = round(self.share * schedule)
        return [schedule] if self.count(predictions) == 1 else [first, schedule - first]

    def phases(self, network: AnytimeModule) -> Sequence[Phase]:
        regimes, weighting = import_module("anytime_core.training.regimes"), import_module(WEIGHTING)
        units = network.predicting_units
        everything = frozenset(name for name, _ in network.named_parameters())
        trunk = everything.difference(*(network.head_parameters(unit) for unit in units[:-1]))
        last = regimes.Phase((*[0.0] * (len(units) - 1), 1.0), trunk, units[-1])
        weights = tuple(weighting.loss_weights(self.weights, len(units), self.normalize))
        joint = regimes.Phase(weights, everything, units[-1])
        return {0: [joint], 1: [last]}.get(self.share, [last, joint])  # type: ignore[call-overload, no-any-return]


WEIGHTING = "anytime_core.training.weighting"
