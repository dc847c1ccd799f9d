"""The door for methods of your own: everything that a file of an extension imports from here.

A part is a frozen dataclass below one of these classes, whose fields are the keys that a sweep file may give, and has
the functions of its kind. ``register`` gives it the name by which a sweep file calls it::

    @register("ramp")
    @dataclass(frozen=True, kw_only=True)
    class Ramp(Weighting):
        power: float = 1.0

        def weights(self, costs, progress):
            return [(0.01 + progress.fraction * cost) ** self.power for cost in costs]

Shapes: N images, C channels, S x S pixels, L predictions, K classes. Tensors lie on the training device, and nothing
here may wait for it: no ``item``, no ``if`` on a tensor, no shape that depends on values. What is random comes from the
draws that are given.
Imports no torch, so that a sweep is planned without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from anytime_core.config import (
    FORMATS,
    KINDS,
    OURS,
    REGIMES,
    SOURCE,
    STRATEGIES,
    WEIGHTS,
    DataConfig,
    Normalisation,
    OwnNetwork,
    Part,
    our_parts,
)
from anytime_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from anytime_core.model.interface import AnytimeModule
    from anytime_core.training.regimes import Phase

State = Mapping[str, "Tensor"]
"""Tensors by name, which are part of each checkpoint."""
Numbers = float | Sequence[float] | Sequence[Sequence[float]]
RESERVED = ("name", "kind", SOURCE)
DATA_KEYS = (*(field.name for field in fields(DataConfig)), "path", "format", "size")
"""Of a data set in a sweep file, and of what a trial holds of it."""
P = TypeVar("P", bound=Part)


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far training is as an epoch begins: ``epoch`` counts from 1, ``fraction`` of all steps are done, 0 to below
    1."""

    epoch: int
    fraction: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What a step gave: its plain ``losses`` [L]; where a loss was drawn, ``chosen`` [L], 1 there and 0 elsewhere, and
    the ``probabilities`` [L] of the draw; its learning ``rate`` [1]."""

    losses: Tensor
    chosen: Tensor
    probabilities: Tensor | None
    rate: Tensor


@dataclass(frozen=True, kw_only=True)
class Weighting(Part):
    """Base weights B of the losses. They are scaled by ``normalize``: to a sum of one, or as they are (``none``)."""

    kind: ClassVar[str] = "weights"
    normalize: Normalisation = "sum_to_one"

    def weights(self, costs: Sequence[float], progress: Progress) -> Sequence[float]:
        """The weights of the L predictions, first to last, as an epoch begins. ``costs`` [L] are relative to the whole
        network's, above 0 to 1."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Strategy(Part):
    """How the weights of a step's losses come from the base weights B, and what is learned from the step."""

    kind: ClassVar[str] = "strategy"
    noise: ClassVar[bool] = False
    """Whether ``weights`` wants L draws from N(0, 1) in each step."""

    def start(self, base: Tensor, milestones: Sequence[int]) -> State:
        """The state before the first step. ``milestones`` are the indices of the predictions at 1/4, 1/2, 3/4 and 1 of
        the cost."""
        return {}

    def begin(self, state: State, epoch: int) -> State:
        """The tensors of the state that change as an epoch, counted from 1, begins."""
        return {}

    def probabilities(self, state: State) -> Tensor | None:
        """Those of the losses [L], of which one is drawn in each step; None where nothing is drawn."""
        return None

    def weights(self, state: State, base: Tensor, chosen: Tensor, noise: Tensor | None) -> Tensor:
        """The weights of the step's losses [L]. ``chosen`` [L] is 1 at the loss that was drawn."""
        return base

    def update(self, state: State, step: Step) -> State:
        """The tensors of the state that the step changes."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Surgery(Strategy):
    """A strategy whose weights follow from how the gradients of the trunk lie to each other.

    The predictions are summed, with their base weights, in ``groups`` of equal shares of the cost. Before the first
    step of an epoch, and after every ``every`` steps, the products of the groups' gradients are measured on the step's
    own images. That takes a forward pass and a backward pass for each group more.
    """

    groups: int = 4
    every: int = 10

    def combine(self, products: Tensor, draws: Tensor) -> Tensor:
        """The factors of the G groups' losses [G], of the ``products`` [G,G] of their gradients. A group without a
        prediction has a gradient of 0. ``draws`` [G,G] are from N(0, 1). May wait for the device."""
        raise NotImplementedError

    def start(self, base: Tensor, milestones: Sequence[int]) -> State:
        return {"factors": base.new_ones(len(base))}

    def weights(self, state: State, base: Tensor, chosen: Tensor, noise: Tensor | None) -> Tensor:
        return base * state["factors"]


@dataclass(frozen=True, kw_only=True)
class Objective(Part):
    """What is differentiated in place of the plain cross-entropies, which are still reported and learned from."""

    kind: ClassVar[str] = "objective"

    def start(self, predictions: int) -> Mapping[str, Numbers]:
        """The state before the first step, as numbers, or lists of them."""
        return {}

    def losses(self, state: State, logits: Tensor, labels: Tensor) -> Tensor:
        """logits [L,N,K], labels [N] -> [L]"""
        raise NotImplementedError

    def update(self, state: State, logits: Tensor, labels: Tensor) -> State:
        """The tensors of the state that the step changes. ``logits`` are without a gradient."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Answers(Part):
    """What each prediction answers with, from its logits and those before it."""

    kind: ClassVar[str] = "answers"

    def answers(self, logits: Tensor) -> Tensor:
        """[L,N,K] -> [L,N,K]; answer i from the first i predictions alone, as later ones are not there yet."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class GradientFlow(Part):
    """How much gradient comes back at each branch."""

    kind: ClassVar[str] = "flow"

    def factors(self, costs: Sequence[float]) -> Sequence[tuple[float, float]]:
        """For each of the L predictions, the factors of the gradient that its head sends into the trunk, and of that
        which the rest of the network sends back there. (1, 1) is usual; (1, 0) trains what is before it alone."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Regime(Part):
    """What is trained, in which order: phases, each with an optimiser of its own."""

    kind: ClassVar[str] = "regime"

    def count(self, predictions: int) -> int:
        """How many phases there are."""
        return 1

    def steps(self, predictions: int, schedule: int) -> Sequence[int]:
        """How many steps each phase has, where the sweep's schedule has so many: by default as many. A phase runs
        through the whole schedule of learning rates, which is stretched to its steps."""
        return (schedule,) * self.count(predictions)

    def phases(self, network: AnytimeModule) -> Sequence[Phase]:
        """As many as ``count`` says. ``network`` names the parameters of its units and heads."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """What a network holds on its device: how many numbers it trains (``parameters``), how many of one image a step
    keeps for its backward pass, images and parameters aside (``kept``), and how many of one image it makes at once at
    most (``largest``). ``of_heads`` are those of the parameters that serve one prediction alone: gradient surgery keeps
    gradients of all others."""

    parameters: int
    kept: int
    largest: int
    of_heads: int = 0


@dataclass(frozen=True, kw_only=True)
class Network(OwnNetwork):
    """An anytime network. ``predictions``, a field or a property, says how many predictions it has: L.

    ``build`` alone is needed. Predictions count from 1, the cheapest first. ``head`` and ``trunk`` name parameters of
    the module, or modules within it, as ``named_parameters`` does: midfeat and ``head_decay: loss_weight`` need
    ``head``, no_grad in stages needs both, opt needs ``up_to``. Where the module has a method ``let_flow(factors)``,
    which takes what a GradientFlow gives, ``flows`` says so: ``flow`` and no_grad with stop_gradient need it.
    """

    flows: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """How tables call it: a line that no other network of a sweep has; by default, its name and the fields that are
        not at their defaults."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = {field.name for field in fields(self) if given[field.name] != field.default}
        return " ".join([self.name, *(f"{name}={value}" for name, value in given.items() if name in changed)])

    def build(self, classes: int, channels: int, size: int) -> nn.Module:
        """A new module, on the CPU. Its ``forward`` takes normalised images [N,C,S,S] and yields the logits [N,K] of
        one prediction after the other; or it returns all of them [L,N,K], and a method ``refine`` yields them. torch
        draws from the trial's seed meanwhile."""
        raise NotImplementedError

    def costs(self, classes: int, channels: int, size: int) -> Sequence[int] | None:
        """Multiply-adds of one image up to each prediction [L]. None has torch count them, on a blank image."""
        return None

    def footprint(self, classes: int, channels: int, size: int) -> Footprint | None:
        """What it holds on its device. None is unknown: a trial then has a GPU alone."""
        return None

    def up_to(self, prediction: int) -> Network | None:
        """The network that ends at a prediction, of which opt trains the last prediction alone."""
        return None

    def head(self, prediction: int) -> Sequence[str]:
        """What gives the logits of a prediction, and serves no other."""
        return ()

    def trunk(self, prediction: int) -> Sequence[str]:
        """What a prediction needs, and those before it do not, but for its head."""
        return ()

    def gives(self, function: str) -> bool:
        """Whether its class has a function of its own in place of the one here."""
        return getattr(type(self), function) is not getattr(Network, function)


@dataclass(frozen=True, kw_only=True)
class StagedNetwork(Network):
    """A network of stages that run one after the other, some of which predict.

    ``stages`` and ``predicting_stages`` say all that there is to say of it. So every regime can train it, it can be
    interrupted after each stage, and ``export`` writes a file of each. A stage is a ``body`` and, where it predicts, a
    ``head``, else None::

        def stages(self, classes, channels, size):
            return [(nn.Conv2d(channels, 8, 3), None), (Block(8), Head(8, classes)), (Block(8), Head(8, classes))]

    A body is given what the one before it gave: a tensor, or a tuple of tensors; the first is given images [N,C,S,S].
    A head is given what its own body gave, and gives logits [N,K].
    """

    flows: ClassVar[bool] = True

    @property
    def predicting_stages(self) -> Sequence[int]:
        """Which stages have a head, counted from 1: ascending, the last stage at the end."""
        raise NotImplementedError

    def stages(self, classes: int, channels: int, size: int) -> Sequence[tuple[nn.Module, nn.Module | None]]:
        """The body and the head of each stage, new and on the CPU. torch draws from the trial's seed meanwhile."""
        raise NotImplementedError

    def stage_costs(self, classes: int, channels: int, size: int) -> Sequence[tuple[int, int]] | None:
        """Multiply-adds of one image in the body and in the head of each stage, 0 where there is none. None has torch
        count them."""
        return None

    def footprint_of(self, heads: Sequence[int], classes: int, channels: int, size: int) -> Footprint | None:
        """What it holds on its device where these stages alone have a head, counted from 1, and the last of them is the
        last there is."""
        return None

    # What follows from these

    @property
    def predictions(self) -> int:
        return len(self.predicting_stages)

    def build(self, classes: int, channels: int, size: int) -> nn.Module:
        staged = import_module("anytime_core.model.staged")  # which imports torch
        module: nn.Module = staged.Staged(self.stages(classes, channels, size), self.predicting_stages)
        return module

    def costs(self, classes: int, channels: int, size: int) -> Sequence[int] | None:
        if (each := _each_stage(self, classes, channels, size)) is None:
            return None
        so_far = [*accumulate(body + head for body, head in each)]
        return [so_far[stage - 1] for stage in self.predicting_stages]

    def footprint(self, classes: int, channels: int, size: int) -> Footprint | None:
        return self.footprint_of(self.predicting_stages, classes, channels, size)

    def up_to(self, prediction: int) -> Network:
        return UpTo(of=self, prediction=prediction)

    def head(self, prediction: int) -> Sequence[str]:
        return [f"heads.{self.predicting_stages[prediction - 1] - 1}"]

    def trunk(self, prediction: int) -> Sequence[str]:
        after, last = [0, *self.predicting_stages][prediction - 1 : prediction + 1]
        return [f"bodies.{index}" for index in range(after, last)]


def _each_stage(network: StagedNetwork, *image: int) -> Sequence[tuple[int, int]] | None:
    """What ``stage_costs`` gives. Raises ExtensionError where it is not of each stage."""
    each, count = network.stage_costs(*image), network.predicting_stages[-1]
    if each is not None and len(each) != count:
        raise ExtensionError(f"stage_costs gives {len(each)} pairs, must give {count}, one for each stage")
    return each


@dataclass(frozen=True, kw_only=True)
class UpTo(Network):
    """A network of stages up to one of its predictions, without the heads of those before it."""

    of: StagedNetwork
    prediction: int
    predictions: int = 1

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.of.name

    def build(self, classes: int, channels: int, size: int) -> nn.Module:
        # Built whole, so that its parameters begin as they do in the whole network.
        whole: Any = self.of.build(classes, channels, size)
        module: nn.Module = whole.up_to(self.prediction)
        return module

    def costs(self, classes: int, channels: int, size: int) -> Sequence[int] | None:
        if (each := _each_stage(self.of, classes, channels, size)) is None:
            return None
        stage = self.of.predicting_stages[self.prediction - 1]
        return [sum(body for body, _ in each[:stage]) + each[stage - 1][1]]

    def footprint(self, classes: int, channels: int, size: int) -> Footprint | None:
        stage = self.of.predicting_stages[self.prediction - 1]
        return self.of.footprint_of([stage], classes, channels, size)

    def head(self, prediction: int) -> Sequence[str]:
        return self.of.head(prediction)


@dataclass(frozen=True, kw_only=True)
class Reader(Part):
    """Reads a data set that lies in a format of its own: ``{name: my-data, path: PATH, format: NAME}`` under
    ``datasets``, with the fields beside them.

    A trial's identity holds a hash of the images and labels that are read, and not the reader's source: so a reader may
    change, and only data that it now reads differently are trained on again.
    """

    kind: ClassVar[str] = "reader"

    def files(self, path: Path) -> Iterable[Path]:
        """The files, and folders, that decide what ``read`` gives. It reads again once the name, size or time of one of
        them changes. By default, all that lies at ``path``. Relative paths begin at that folder, or at that of a file.
        """
        return [path, *path.rglob("*")] if path.is_dir() else [path]

    def read(self, path: Path) -> Mapping[str, Any]:
        """Arrays of numpy by their names, as an ``.npz`` file has them: ``train_images``, ``train_labels``,
        ``test_images``, ``test_labels`` and, if there are any, ``validation_images``, ``validation_labels`` and
        ``class_names``. Images are uint8 [N,S,S], [N,S,S,C] or [N,C,S,S], labels whole numbers [N] from 0. What is
        wrong with the files may be raised as a ValueError, whose text is shown."""
        raise NotImplementedError


BASES: dict[str, type[Part]] = {
    base.kind: base for base in (Weighting, Strategy, Objective, Answers, GradientFlow, Regime, Network, Reader)
}
OUR_NAMES: dict[str, set[str]] = {
    "strategy": {*STRATEGIES},
    "regime": {*REGIMES},
    "weights": {*WEIGHTS, "opt", "values"},
    "reader": {*FORMATS},
}
"""Of what is no part; see ``config.OURS`` for those that are."""


class ExtensionError(ConfigError, ValueError):
    """Something is wrong with an extension: what, and what is allowed."""


def register(name: str) -> Callable[[type[P]], type[P]]:
    """Makes a part known by ``name``. Raises ExtensionError for what no sweep could use."""

    def add(part: type[P]) -> type[P]:
        kind = _kind_of(part)
        _refuse(name, part, kind, _taken(kind, name, part))
        part.name = name
        part.source = _source_of(part)
        KINDS[kind][name] = part
        return part

    return add


def ours(name: str, *, version: str) -> Callable[[type[P]], type[P]]:
    """Makes a part of this package known by ``name``. The ``version`` stands for its code in the ids of trials: it is
    raised when what the part computes changes, and only then."""

    def add(part: type[P]) -> type[P]:
        part.name, part.source = name, version
        OURS[_kind_of(part)][name] = part
        return part

    return add


def _kind_of(part: type[Part]) -> str:
    bases = [kind for kind, base in BASES.items() if isinstance(part, type) and issubclass(part, base)]
    if len(bases) != 1:
        allowed = ", ".join(base.__name__ for base in BASES.values())
        raise ExtensionError(f"{getattr(part, '__name__', part)} must be a class below one of {allowed}")
    return bases[0]


def _taken(kind: str, name: str, part: type[Part]) -> str | None:
    """A class that is made again, as in a notebook, takes the place of its former self."""
    if name in OUR_NAMES.get(kind, ()) or name in our_parts(kind):
        return f"{kind} {name} is one of ours; give it another name"
    other = KINDS[kind].get(name, part)
    if (other.__module__, other.__qualname__) != (part.__module__, part.__qualname__):
        return f"{kind} {name} is {other.__qualname__} of {other.__module__} already; give it another name"
    return None


def _refuse(name: str, part: Any, kind: str, taken: str | None) -> None:
    params = getattr(part, "__dataclass_params__", None)
    sound = is_dataclass(part) and "__dataclass_fields__" in vars(part) and params is not None and params.frozen
    faults = [
        taken,
        None if sound else f"{part.__name__} must be a @dataclass(frozen=True, kw_only=True), below @register",
        *(f"{part.__name__} has a field {name}, which is reserved" for name in _reserved(part) & _fields(part)),
        *(f"{part.__name__} lacks {what}" for what in _lacking(part)),
        None if name.isidentifier() else f"{name!r} must be a name such as my_method",
    ]
    if present := [fault for fault in faults if fault]:
        raise ExtensionError("; ".join(present))


def _fields(part: Any) -> set[str]:
    return {field.name for field in fields(part)} if is_dataclass(part) else set()


def _reserved(part: type[Part]) -> set[str]:
    """A field called as a function of its class would be hidden by it, or hide it; and beside those of a reader stand
    other keys of a data set."""
    bases = [base for base in (StagedNetwork, Network, Reader) if issubclass(part, base)]
    hidden = {name for base in bases for name in vars(base) if not name.startswith("_")}
    return {*RESERVED, *hidden, *(DATA_KEYS if issubclass(part, Reader) else ())}


def _lacking(part: type[Part]) -> Iterator[str]:
    """What each part of its kind must have."""
    if issubclass(part, StagedNetwork):
        given = part.predicting_stages
        if given is StagedNetwork.predicting_stages or callable(given):
            yield "predicting_stages, a property: write @property above it"
        if part.stages is StagedNetwork.stages:
            yield "stages(classes, channels, size)"
    elif issubclass(part, Network):
        if not hasattr(part, "predictions") and "predictions" not in _fields(part):
            yield "predictions, a field or a property"
        if part.build is Network.build:
            yield "build(classes, channels, size)"
    if issubclass(part, Reader) and part.read is Reader.read:
        yield "read(path)"


def _source_of(part: type[Part]) -> str:
    """What its module was imported as; a class made by hand, as in a test or a notebook, has none."""
    return str(getattr(sys.modules.get(part.__module__), "__extension_source__", ""))
