"""What is trained, in which order (section 4.1 and 4.2): each regime is a sequence of phases. To add one: a config in
``config.Regime``, a function, and a line in PHASES.

A phase runs through the whole schedule with a new optimiser. What it does not train stays as it is, running averages
of batch norms included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from torch.nn.modules.batchnorm import _BatchNorm

from anytime_core.bounds import refuse
from anytime_core.config import REGIMES, Joint, Midfeat, NoGrad, Opt, TrialConfig, refuse_gaps, untrainable
from anytime_core.cost import trial_costs
from anytime_core.extend import Progress, Regime
from anytime_core.model.interface import AnytimeModule
from anytime_core.training.weighting import base_weights


@dataclass(frozen=True, slots=True)
class Phase:
    """``weights`` of the losses that are computed, first to last; ``trained`` are the names of the parameters that
    change; ``depth`` is the last unit that is computed."""

    weights: tuple[float, ...]
    trained: frozenset[str]
    depth: int

    def apply(self, network: AnytimeModule) -> None:
        """Makes the network train this phase's parameters, and no others."""
        network.train()
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in self.trained)
        everything = all(parameter.requires_grad for parameter in network.parameters())
        for module in network.modules():
            if isinstance(module, _BatchNorm):  # its running averages change with its parameters, if it has some
                own = [parameter.requires_grad for parameter in module.parameters()]
                module.train(any(own) if own else everything)


def phases(config: TrialConfig, network: AnytimeModule) -> tuple[Phase, ...]:
    """Raises ValueError for weights that the network cannot have."""
    if isinstance(config.regime, Regime):
        return _sound(config, config.regime, tuple(config.regime.phases(network)), network)
    if type(config.regime) not in PHASES:
        raise ValueError(untrainable(config.regime))
    return PHASES[type(config.regime)](config, network)


def _sound(config: TrialConfig, regime: Regime, given: tuple[Phase, ...], network: AnytimeModule) -> tuple[Phase, ...]:
    """The phases of an extension's regime. Raises ValueError."""
    faults = [] if len(given) == config.phases else [f"has {len(given)} phases, must have {config.phases}"]
    known = _everything(network)
    for number, phase in enumerate(given, start=1):
        reached = sum(unit <= phase.depth for unit in config.predicting_units)
        if len(phase.weights) != reached or not reached:
            faults.append(
                f"phase {number} has {len(phase.weights)} weights, must have {reached}, one for each prediction up to "
                f"unit {phase.depth}"
            )
        if strange := sorted(phase.trained - known):
            faults.append(f"phase {number} trains {', '.join(strange)}, which the network does not have")
        if not phase.trained & known:
            faults.append(f"phase {number} trains nothing")
    refuse(*(f"regime {regime.name}: {fault}" for fault in faults))
    return given


def _everything(network: AnytimeModule) -> frozenset[str]:
    return frozenset(name for name, _ in network.named_parameters())


def joint(config: TrialConfig, network: AnytimeModule) -> tuple[Phase, ...]:
    assert isinstance(config.regime, Joint)
    values = base_weights(config.regime.weights, trial_costs(config), Progress(epoch=1, fraction=0.0))
    return (Phase(tuple(values), _everything(network), config.predicting_units[-1]),)


def opt(config: TrialConfig, network: AnytimeModule) -> tuple[Phase, ...]:
    """The network ends at the one prediction there is."""
    return (Phase((1.0,), _everything(network), config.predicting_units[-1]),)


def midfeat(config: TrialConfig, network: AnytimeModule) -> tuple[Phase, ...]:
    """Heads on frozen features do not touch each other, so all are trained at once, each as if alone."""
    depth, others = config.predicting_units[-1], len(config.predicting_units) - 1
    heads = [network.head_parameters(unit) for unit in config.predicting_units]
    backbone = _everything(network).difference(*heads)
    both = (
        Phase((*[0.0] * others, 1.0), backbone | heads[-1], depth),
        Phase((*[1.0] * others, 0.0), frozenset().union(*heads[:-1]), depth),
    )
    return both[: config.phases]


def no_grad(config: TrialConfig, network: AnytimeModule) -> tuple[Phase, ...]:
    """A stage trains a head with the units from the head before up to its own, and computes no further."""
    assert isinstance(config.regime, NoGrad)
    units = config.predicting_units
    if config.regime.variant == "stop_gradient":
        return (Phase((1.0,) * len(units), _everything(network), units[-1]),)
    return tuple(
        Phase(
            (*[0.0] * index, 1.0),
            network.head_parameters(unit).union(*map(network.unit_parameters, range(before + 1, unit + 1))),
            unit,
        )
        for index, (before, unit) in enumerate(pairwise((0, *units)))
    )


PHASES: dict[type, Callable[[TrialConfig, AnytimeModule], tuple[Phase, ...]]] = {
    Joint: joint,
    Opt: opt,
    Midfeat: midfeat,
    NoGrad: no_grad,
}
refuse_gaps("regimes.PHASES", PHASES, REGIMES.values())
