"""What regimes and settings ask of a network, and an extension's may lack. Imports no torch: a sweep is refused before
it runs."""

from __future__ import annotations

from collections.abc import Iterator

from anytime_core.config import Joint, Midfeat, NoGrad, Opt, Part, Regime, TrainingConfig
from anytime_core.extend import Network, Surgery


def lacking(network: Network, regime: Regime | Part, training: TrainingConfig) -> list[str]:
    """A line for each thing that the network would need for this, and does not give."""
    return [
        f"network {network.name} has no {what}, which {why} needs"
        for what, why in _needs(regime, training)
        if not _has(network, what)
    ]


def _has(network: Network, what: str) -> bool:
    return network.flows if what == FLOWS else what in HOOKS and network.gives(HOOKS[what])


FLOWS = "let_flow"
HOOKS = {"up_to(prediction)": "up_to", "head(prediction)": "head", "trunk(prediction)": "trunk"}


def _needs(regime: Regime | Part, training: TrainingConfig) -> Iterator[tuple[str, str]]:
    match regime:
        case Opt():
            yield "up_to(prediction)", "opt"
        case Midfeat():
            yield "head(prediction)", "midfeat"
        case NoGrad(variant="stages"):
            yield "head(prediction)", "no_grad"
            yield "trunk(prediction)", "no_grad"
        case NoGrad():
            yield FLOWS, "no_grad with stop_gradient"
        case Joint():
            if regime.flow:
                yield FLOWS, "flow"
            if isinstance(regime.strategy, Surgery):
                yield "head(prediction)", regime.strategy.name
    if training.head_decay == "loss_weight":
        yield "head(prediction)", "head_decay: loss_weight"
    if training.compiled:
        yield "units that torch could compile", "compiled: true"
