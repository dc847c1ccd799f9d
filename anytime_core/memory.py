"""How much memory a trial takes on its device, from shapes alone: of an anytime ResNet, or of another network that
gives its ``footprint``. Standard library only: planning needs no torch.

What a step keeps for its backward pass is nearly all of it, and exact; its peak with what its method needs is
within 10 % of the live bytes of small steps on a CPU. The rest is an upper bound or an allowance.
"""

from __future__ import annotations

from collections.abc import Iterator

from anytime_core.config import Joint, NetworkConfig, Opt, TrialConfig
from anytime_core.cost import ending_at
from anytime_core.data.catalog import dataset_of
from anytime_core.extend import ExtensionError, Footprint, Network, Surgery
from anytime_core.networks.shapes import KERNEL, downsampled

FLOAT = 4  # bytes
DRAWS = 8 + 16 + 1 + 8  # bytes a training image: its place in the order, shift, mirror and light
LABEL = 8
EVALUATED = 500  # images at once
MOVING = 4  # activations of the largest size that an evaluation holds at once, at most
BACK = 1  # such that a backward pass holds beside what was kept, which it frees as it goes
BACK_AGAIN = 2  # the same where another pass needs what was kept, so that nothing is freed
OF_OBJECTIVE = 3  # as many numbers as there are logits, which an objective makes beside the plain losses
OF_PARAMETER = 5
"""Numbers: itself, its gradient and momentum, and while a graph is warmed up copies of the first and the last."""
OVERHEAD = 1 << 30
"""CUDA's context, its libraries and their workspaces: an allowance that was not measured."""


def predicted_memory(config: TrialConfig) -> int:
    """Bytes of the device at the peak of a step; 0, which is unknown, for a network that gives no footprint. Phases
    that train a part of the network take less."""
    if not is_known(config):
        return 0
    evaluating = MOVING * EVALUATED * _largest(config)
    trained = OF_PARAMETER * FLOAT * parameter_count(config)
    return step_memory(config) + evaluating + trained + data_memory(config) + OVERHEAD


def step_memory(config: TrialConfig) -> int:
    """Bytes that a training step holds at its peak, beside parameters, their gradients and momentum, and the data."""
    regime, moving, more = config.regime, BACK, 0
    if isinstance(regime, Joint) and regime.objective:
        logits = len(config.predicting_units) * dataset_of(config.data).classes
        more = OF_OBJECTIVE * FLOAT * config.training.batch_size * logits
    if isinstance(regime, Joint) and isinstance(regime.strategy, Surgery):
        # The gradients of each group and those just found, while all that the forward pass kept is there.
        moving, more = BACK_AGAIN, more + (regime.strategy.groups + 1) * FLOAT * _trunk_parameters(config)
    return saved_memory(config) + moving * config.training.batch_size * _largest(config) + more


def is_known(config: TrialConfig) -> bool:
    """Whether it is known what the trial's network holds."""
    return isinstance(config.network, NetworkConfig) or footprint(config) is not None


def footprint(config: TrialConfig) -> Footprint | None:
    """That of a network that is no ResNet, as far as the trial trains it. Raises ExtensionError."""
    if not isinstance(config.network, Network):
        return None
    spec, opt = dataset_of(config.data), isinstance(config.regime, Opt)
    network = ending_at(config.network, config.predicting_units[-1]) if opt else config.network
    try:
        return network.footprint(spec.classes, spec.channels, spec.size)
    except (Exception, SystemExit) as error:  # an extension may raise anything
        raise ExtensionError(f"network {network.name}: footprint raises {type(error).__name__}: {error}") from error


def saved_memory(config: TrialConfig) -> int:
    """Bytes that the forward pass of all predictions keeps for the backward pass, but for parameters."""
    spec, own = dataset_of(config.data), footprint(config)
    images = spec.channels * spec.size**2
    heads = len(config.predicting_units) * spec.classes if own else _head_numbers(config)
    per_image = (images + (own.kept if own else _features(config))) * _element(config) + FLOAT * heads
    rounded = own.parameters if own else sum(_convolutions(config))
    copies = _element(config) * rounded if config.training.precision == "bfloat16" else 0
    return config.training.batch_size * per_image + copies


def parameter_count(config: TrialConfig) -> int:
    """The numbers that are trained."""
    if own := footprint(config):
        return own.parameters
    norms = sum(
        2 * (2 * _channels(config, unit) + _first_channels(config, unit))
        for unit in range(1, config.predicting_units[-1] + 1)
    )
    return sum(_convolutions(config)) + norms + _head_parameters(config)


def _trunk_parameters(config: TrialConfig) -> int:
    """Those that several predictions share."""
    own = footprint(config)
    return parameter_count(config) - (own.of_heads if own else _head_parameters(config))


def _head_parameters(config: TrialConfig) -> int:
    classes = dataset_of(config.data).classes
    return sum((_channels(config, unit) + 1) * classes for unit in config.predicting_units)


def data_memory(config: TrialConfig) -> int:
    """Bytes of the images, their labels and the draws of an epoch."""
    spec = dataset_of(config.data)
    evaluated = config.data.validation or (spec.validation_images if config.data.own_validation else spec.test_images)
    trained = spec.train_images - config.data.validation
    return (trained + evaluated) * (spec.channels * spec.size**2 + LABEL) + trained * DRAWS


def _largest(config: TrialConfig) -> int:
    """Bytes of one image's activations where these are largest."""
    own = footprint(config)
    return (own.largest if own else _pixels(config, 1)) * _element(config)


def _element(config: TrialConfig) -> int:
    return 2 if config.training.precision == "bfloat16" else FLOAT


def _channels(config: TrialConfig, unit: int) -> int:
    return config.resnet.c << ((unit - 1) // config.resnet.n)


def _opens(config: TrialConfig, unit: int) -> bool:
    """Whether it is the first unit of a block behind another."""
    return unit > 1 and (unit - 1) % config.resnet.n == 0


def _first_channels(config: TrialConfig, unit: int) -> int:
    """Those that come into the unit's first norm."""
    pools = config.resnet.transition == "pooling" and _opens(config, unit)
    return _channels(config, unit - 1 if pools else unit)


def _pixels(config: TrialConfig, unit: int) -> int:
    """Numbers of one image behind the unit."""
    side = dataset_of(config.data).size
    for _ in range((unit - 1) // config.resnet.n):
        side = downsampled(side)
    return _channels(config, unit) * side**2


def _saved(config: TrialConfig, unit: int) -> int:
    """Numbers of one image: the unit's input and what comes out of its first two norms and of both convolutions; before
    it the input of a transition."""
    own, before = _pixels(config, unit), _pixels(config, unit - 1) if _opens(config, unit) else 0
    if before and config.resnet.transition == "pooling":
        return 2 * before + 3 * own
    return before + 5 * own


def _features(config: TrialConfig) -> int:
    """Numbers of one image that all units keep."""
    last = config.predicting_units[-1]
    return sum(_saved(config, unit) for unit in range(1, last + 1)) + _pixels(config, last)


def _head_numbers(config: TrialConfig) -> int:
    """Of one image: pooled features and the logarithms of probabilities."""
    classes = dataset_of(config.data).classes
    return sum(_channels(config, unit) + classes for unit in config.predicting_units)


def _convolutions(config: TrialConfig) -> Iterator[int]:
    """The weights of each convolution."""
    yield KERNEL * dataset_of(config.data).channels * config.resnet.c
    for unit in range(1, config.predicting_units[-1] + 1):
        own = _channels(config, unit)
        if _opens(config, unit) and config.resnet.transition == "convolution":
            yield KERNEL * own // 2 * own
        yield KERNEL * _first_channels(config, unit) * own
        yield KERNEL * own**2
