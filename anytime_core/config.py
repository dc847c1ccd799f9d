"""What one trial is: frozen, fully resolved data. Everything that can change its numbers is here, nothing else.

Where files live, which device trains and how many trials run at once are not part of a trial. Impossible values raise
ValueError when a config is made. Standard library only, so that planning a sweep needs no torch.
"""

from __future__ import annotations

import json
import math
from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from fractions import Fraction
from importlib import import_module
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, get_args

from anytime_core.bounds import one_of, refuse, whole, within

SOURCE = "source"
"""The key of a part that stands for its code."""
ADDED = {"added": True}
"""The metadata of a field that was not always there. ``plain`` leaves it out at its default, which must mean what was
done before there was the field: so every trial keeps its identity."""


def _as_floats(config: object, *names: str) -> None:
    """1 is stored as 1.0, so that equal configs are equal JSON and have one identity."""
    for name in names:
        object.__setattr__(config, name, float(getattr(config, name)))


Transition = Literal["convolution", "pooling"]


def resnet_label(n: int, c: int, period: int, transition: Transition) -> str:
    """As the paper writes a network, (n, c), with the period and the transition where they are not the usual ones."""
    return (
        f"({n},{c})" + ("" if period == 1 else f"/{period}") + ("" if transition == "convolution" else f" {transition}")
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig:
    """An anytime ResNet (section 4.1): ``n`` units in each of 3 blocks, ``c`` initial channels, a prediction every
    ``period`` units counted back from the last one.

    Between blocks channels double and images shrink by a 3x3 ``convolution``, as in the paper's text, or in the first
    unit, around which images are averaged by ``pooling`` and channels filled up with zeros, as in the authors' code.
    """

    n: int
    c: int
    period: int = 1
    transition: Transition = "convolution"

    def __post_init__(self) -> None:
        n, c, period = whole("n", self.n, 1), whole("c", self.c, 1), whole("period", self.period, 1)
        too_long = not n and not period and self.period > self.units
        refuse(
            n,
            c,
            period,
            f"period is {self.period}, must be at most 3n = {self.units}" if too_long else None,
            one_of("transition", self.transition, get_args(Transition)),
        )

    @property
    def label(self) -> str:
        return resnet_label(self.n, self.c, self.period, self.transition)

    @property
    def units(self) -> int:
        return 3 * self.n

    @property
    def predicting_units(self) -> tuple[int, ...]:
        """The 1-based units that predict: L, L - s, L - 2s, ... in ascending order (appendix B)."""
        return tuple(range(self.units, 0, -self.period))[::-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnData:
    """What a trial holds of a data set of the user's own, so that its results can be read when the data are gone.

    ``content`` identifies the images, the labels and how they are split. ``class_names`` are in the order of the
    labels. Images have ``size`` by ``size`` pixels of ``channels`` bytes. The others count images, of which a split for
    validation may have none. Paths and formats are no part of it.
    """

    content: str
    class_names: tuple[str, ...]
    channels: int
    size: int
    train_images: int
    test_images: int
    validation_images: int = 0

    def __post_init__(self) -> None:
        names = tuple(self.class_names)  # JSON has lists
        refuse(
            None if isinstance(self.content, str) and self.content else f"content is {self.content!r}, must be a hash",
            None if len(names) > 1 else f"class_names holds {len(names)} names, must hold at least 2",
            *(whole(name, getattr(self, name), 1) for name in ("channels", "size", "train_images", "test_images")),
            whole("validation_images", self.validation_images, 0),
        )
        object.__setattr__(self, "class_names", names)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """A data set and how its training images are augmented.

    ``validation`` holds out that many images at the end of the training set and evaluates on them instead of the test
    set (section 4.1 uses 5,000). ``pad`` zeros are added to each side before a random crop back to the image's size.
    As in the authors' code for SVHN, before that each image's ``contrast`` is multiplied by up to 1 plus or minus this,
    and up to plus or minus ``brightness``, of 255, is added to all of its pixels.

    A data set that is not of the catalog is ``own``. With ``own_validation`` its own split for validation is evaluated
    on instead of the test set, and nothing is held out.
    """

    name: str
    validation: int = 0
    pad: int = 4
    flip: bool = False
    brightness: float = field(default=0.0, metadata=ADDED)
    contrast: float = field(default=0.0, metadata=ADDED)
    own: OwnData | None = field(default=None, metadata=ADDED)
    own_validation: bool = field(default=False, metadata=ADDED)

    def __post_init__(self) -> None:
        refuse(
            whole("validation", self.validation, 0),
            whole("pad", self.pad, 0),
            within("brightness", self.brightness, 0, 255),
            within("contrast", self.contrast, 0, 1),
            self._split_fault() if self.own_validation else None,
        )
        _as_floats(self, "brightness", "contrast")

    @property
    def validated(self) -> bool:
        """Whether errors are those of validation images, not of test images."""
        return bool(self.validation) or self.own_validation

    def _split_fault(self) -> str | None:
        if not self.own or not self.own.validation_images:
            return f"validation is own, and {self.name} has no split of its own for validation"
        return f"validation is {self.validation} and own, must be one of them" if self.validation else None


class Part:
    """What an extension adds to a config, of one ``kind``: a frozen dataclass, whose fields are what a sweep file may
    say. See ``anytime_core.extend``. Our networks beside the ResNet are parts, too.

    ``name`` is what it is called there; ``source`` stands for the code that defines it, and is in the identity of each
    trial that uses it. That of ours is a version, which is raised by hand when what it computes changes.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    source: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Absent(Part):
    """A part of an ended trial whose extension is not here, or has changed since. It can be read and shown, but nothing
    can be trained or loaded with it. ``values`` are JSON."""

    kind: str  # type: ignore[misc]
    name: str  # type: ignore[misc]
    source: str  # type: ignore[misc]
    values: str

    def __str__(self) -> str:
        what = "version" if self.name in our_parts(self.kind) else "source"
        return f"{self.kind} {self.name} of {what} {self.source}"

    @property
    def label(self) -> str:
        return self.name

    @property
    def predicting_units(self) -> tuple[int, ...]:
        raise ValueError(f"{self} is not here, or has changed; how many predictions it has is not known")


def untrainable(part: object) -> str:
    """The message for a part that no code of ours knows and no extension gives: see ``Absent``."""
    return f"{part} is not here, or has changed; nothing can be trained with it"


class OwnNetwork(Part):
    """A network of an extension's, or of ours that is no ResNet, as far as a config needs it: see
    ``anytime_core.extend.Network``."""

    kind: ClassVar[str] = "network"

    if TYPE_CHECKING:  # as attributes, they would be defaults of fields of these names

        @property
        def label(self) -> str: ...
        @property
        def predictions(self) -> int: ...

    @property
    def predicting_units(self) -> tuple[int, ...]:
        """Each of its units predicts."""
        return tuple(range(1, self.predictions + 1))


AnyNetwork = NetworkConfig | OwnNetwork | Absent


OPTIONAL = ("objective", "answers", "flow")
PARTS = ("weights", "strategy", *OPTIONAL)
"""Kinds of parts of joint training."""
KINDS: dict[str, dict[str, type[Part]]] = {kind: {} for kind in (*PARTS, "regime", "network", "reader")}
"""The parts that extensions have added, by kind and name."""
OURS: dict[str, dict[str, type[Part]]] = {kind: {} for kind in KINDS}
"""Those of this package, which no extension replaces: see ``our_parts``."""


def our_parts(kind: str) -> dict[str, type[Part]]:
    """The parts of this package, by name."""
    for rooms in ("networks", "methods"):
        import_module(f"anytime_core.{rooms}")  # puts them there; it imports what is here
    return OURS.get(kind, {})


def known_parts(kind: str) -> dict[str, type[Part]]:
    """Ours and those of extensions, by name."""
    return {**our_parts(kind), **KINDS[kind]}


def of_ours(part: Part) -> bool:
    """Whether this package has or had such a part, of this or another version."""
    return part.name in our_parts(part.kind)


FORMATS = ("image_folder", "npz", "parquet")
"""The names of our formats of data of the user's own."""
Normalisation = Literal["sum_to_one", "as_published", "none"]
WEIGHTS = ("constant", "linear", "expb2", "expb0.5", "half_end", "sieve")
"""The names of our weights, beside ``opt(k)`` and ``values``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightingConfig:
    """The base weight B_i of each prediction's loss (section 3.2) and the scale of their sum. The weights named
    ``values`` are those ``values``, one for each prediction."""

    name: str = "sieve"
    normalize: Normalisation = "sum_to_one"
    values: tuple[float, ...] = field(default=(), metadata=ADDED)

    def __post_init__(self) -> None:
        faults = [within(f"values.{index}", value, 0) for index, value in enumerate(self.values)]
        if self.values and self.name != "values":
            faults.append(f"values are given to weights named {self.name}, must be named values")
        refuse(one_of("normalize", self.normalize, get_args(Normalisation)), *faults)
        if self.values and not sum(self.values):
            refuse("values are all 0, must hold one above 0")
        object.__setattr__(self, "values", tuple(map(float, self.values)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ann:
    """No loss is amplified: the plain weighted sum (section 3.2)."""

    name: Literal["ann"] = "ann"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Amplifying:
    """Each step the weight of one chosen loss grows by ``gamma`` times the sum of all weights.

    In the first ``warm_up_epochs`` the last loss is always chosen, and nothing is learned from any; the authors' code
    has one such epoch.
    """

    gamma: float = 0.5
    warm_up_epochs: int = field(default=0, metadata=ADDED)

    def __post_init__(self) -> None:
        refuse(*self._faults())
        _as_floats(self, *(name for name in self.__dataclass_fields__ if name not in ("name", "warm_up_epochs")))

    def _faults(self) -> list[str | None]:
        return [within("gamma", self.gamma, 0), whole("warm_up_epochs", self.warm_up_epochs, 0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Aann(_Amplifying):
    """Draws loss i with probability B_i / sum(B) (section 3.2)."""

    name: Literal["aann"] = "aann"


@dataclass(frozen=True, kw_only=True, slots=True)
class Milestone(_Amplifying):
    """Half of the probability evenly over the predictions at 1/4, 1/2, 3/4 and 1 of the cost, half over the rest
    (section 4.4)."""

    name: Literal["milestone"] = "milestone"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Learning(_Amplifying):
    """A no-regret learner over the relative improvements between neighbouring losses (appendix D).

    ``exploration`` is the share of uniform draws, ``final_reward`` the paper's lambda.
    """

    exploration: float = 0.3
    final_reward: float = 0.8

    def _faults(self) -> list[str | None]:
        # Not super(): with slots, dataclass makes a new class and the zero-argument form finds the old one.
        return [
            *_Amplifying._faults(self),
            within("exploration", self.exploration, 0, 1),
            within("final_reward", self.final_reward, 0),
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Exponential(_Learning):
    """After each update ``mixing`` times ``exploration`` of the weights is shared out evenly, so that none vanishes;
    none in the paper, 0.001 in the authors' code."""

    mixing: float = field(default=0.0, metadata=ADDED)

    def _faults(self) -> list[str | None]:
        return [*_Learning._faults(self), within("mixing", self.mixing, 0, 1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Exp3(_Exponential):
    """Exponential weights for bandits: only the drawn loss is updated (appendix D.3)."""

    name: Literal["exp3"] = "exp3"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rwm(_Exponential):
    """Randomised weighted majority: every loss is updated each step (appendix D.3).

    The paper gives no rate; ``rate`` times ``exploration`` is the exponent's, 0.5 in the authors' code.
    """

    rate: float = 0.5
    name: Literal["rwm"] = "rwm"

    def _faults(self) -> list[str | None]:
        return [*_Exponential._faults(self), within("rate", self.rate, 0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Avgl(_Learning):
    """Draws in proportion to an exponential average of the rewards (appendix D.1, D.4)."""

    momentum: float = 0.9
    name: Literal["avgl"] = "avgl"

    def _faults(self) -> list[str | None]:
        return [*_Learning._faults(self), within("momentum", self.momentum, 0, 1)]


Strategy = Ann | Aann | Milestone | Exp3 | Rwm | Avgl


@dataclass(frozen=True, kw_only=True, slots=True)
class Joint:
    """All predictions are trained together on the weighted sum of their losses (section 3.2).

    An extension's ``objective`` stands between logits and losses, its ``answers`` between logits and what is answered,
    its ``flow`` between a prediction and the units that it stands on.
    """

    name: Literal["joint"] = "joint"
    weights: WeightingConfig | Part = field(default_factory=WeightingConfig)
    strategy: Strategy | Part = field(default_factory=Ann)
    objective: Part | None = field(default=None, metadata=ADDED)
    answers: Part | None = field(default=None, metadata=ADDED)
    flow: Part | None = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        given = {kind: getattr(self, kind) for kind in PARTS}
        wrong = {kind: part for kind, part in given.items() if isinstance(part, Part) and part.kind != kind}
        refuse(*(f"{kind} is {part.name}, which is for {part.kind}" for kind, part in wrong.items()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Opt:
    """The optimum at one depth: only the prediction of ``unit`` is trained, deeper units do not exist (section 4.1)."""

    name: Literal["opt"] = "opt"
    unit: int

    def __post_init__(self) -> None:
        refuse(whole("unit", self.unit, 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Midfeat:
    """The network is trained for its final prediction, then each other head alone on what it computes, which no longer
    changes (section 4.2). Each of the two phases has the whole schedule."""

    name: Literal["midfeat"] = "midfeat"


@dataclass(frozen=True, kw_only=True, slots=True)
class NoGrad:
    """The network is trained one prediction at a time, first to last; all before it no longer changes (section 4.2).

    ``stages``, as in the paper's text: each stage has the whole schedule. ``stop_gradient``, as in the authors' code:
    all at once, in one schedule, and no gradient passes a unit that predicts.
    """

    name: Literal["no_grad"] = "no_grad"
    variant: Literal["stages", "stop_gradient"] = "stages"

    def __post_init__(self) -> None:
        refuse(one_of("variant", self.variant, ("stages", "stop_gradient")))


Regime = Joint | Opt | Midfeat | NoGrad
"""Of ours; an extension's is a ``Part``."""


HeadDecay = Literal["uniform", "loss_weight"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """Stochastic gradient descent and its schedule. The defaults are the paper's text, "as the original ResNet".

    ``learning_rate`` maps the first step of each phase to its rate, and must begin at step 0; the steps may be text, as
    JSON has them. Weight decay acts on convolutions and linear weights, not on batch norms and biases. With a
    ``head_decay`` of ``loss_weight``, as in the authors' code, that of each head is multiplied by its loss's weight.

    With a ``precision`` of ``bfloat16`` images pass through convolutions and batch norms in numbers of 8 binary digits.
    Parameters and their updates, the statistics of batch norms, heads, losses and strategies are float32 in any case.
    Where it is ``compiled``, torch's compiler fuses what lies between a unit's convolutions, which rounds otherwise.

    With ``evaluations`` that many epochs, evenly spread, end with an evaluation on the test images; the last epoch
    always does. Without it all of them do. The trained network is the same to the bit.
    """

    steps: int = 64_000
    batch_size: int = 128
    learning_rate: dict[int, float] = field(
        default_factory=lambda: {0: 0.1, 32_000: 0.01, 48_000: 0.001},
        hash=False,  # a dict has none
    )
    momentum: float = 0.9
    weight_decay: float = 1e-4
    head_decay: HeadDecay = field(default="uniform", metadata=ADDED)
    precision: Precision = field(default="float32", metadata=ADDED)
    compiled: bool = field(default=False, metadata=ADDED)
    evaluations: int | None = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        rates = {_step(step): rate for step, rate in self.learning_rate.items()}
        refuse(
            whole("steps", self.steps, 1),
            whole("batch_size", self.batch_size, 2),
            *(whole("a step of learning_rate", step, 0) for step in rates),
            None if 0 in rates else "learning_rate must give the rate at step 0",
            *(within(f"learning_rate at step {step}", rate, 0) for step, rate in rates.items()),
            within("momentum", self.momentum, 0, 1),
            within("weight_decay", self.weight_decay, 0),
            one_of("head_decay", self.head_decay, get_args(HeadDecay)),
            one_of("precision", self.precision, get_args(Precision)),
            None if isinstance(self.compiled, bool) else f"compiled is {self.compiled!r}, must be true or false",
            None if self.evaluations is None else whole("evaluations", self.evaluations, 1),
        )
        _as_floats(self, "momentum", "weight_decay")
        # In one order, and no longer the caller's own.
        object.__setattr__(self, "learning_rate", {step: float(rates[step]) for step in sorted(rates)})

    def rate_at(self, step: int) -> float:
        """The learning rate of the given 0-based step."""
        return self.learning_rate[max(start for start in self.learning_rate if start <= step)]


def _step(key: Any) -> Any:
    return int(key) if isinstance(key, str) and key.isdecimal() else key


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One trained network: the same config on the same machine gives the same bits."""

    network: AnyNetwork
    data: DataConfig
    regime: Regime | Part = field(default_factory=Joint)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        refuse(self._too_deep(), whole("seed", self.seed, 0), self._decay_fault())

    def _too_deep(self) -> str | None:
        if not isinstance(self.regime, Opt) or isinstance(self.network, Absent):
            return None
        if isinstance(self.network, NetworkConfig):
            units, what = self.network.units, "3n"
        else:
            units, what = self.network.predictions, f"the predictions of {self.network.name}"
        return (
            f"regime.unit is {self.regime.unit}, must be at most {what} = {units}" if self.regime.unit > units else None
        )

    def _decay_fault(self) -> str | None:
        """A head's decay is set once, and the weights of an extension may change with each epoch."""
        weights = getattr(self.regime, "weights", None)
        if self.training.head_decay == "uniform" or not isinstance(weights, Part):
            return None
        return f"training.head_decay is loss_weight, must be uniform: weights {weights.name} may change with each epoch"

    @property
    def resnet(self) -> NetworkConfig:
        """Its network, for what only an anytime ResNet has. Raises ValueError for another."""
        if not isinstance(self.network, NetworkConfig):
            raise ValueError(f"network {self.network.label} is no anytime ResNet, which has n units and c channels")
        return self.network

    @property
    def predicting_units(self) -> tuple[int, ...]:
        """The units whose predictions this trial trains, 1-based and ascending."""
        return (self.regime.unit,) if isinstance(self.regime, Opt) else self.network.predicting_units

    @property
    def phases(self) -> int:
        """How often the regime runs through the schedule."""
        match self.regime:
            case Midfeat():
                return min(2, len(self.predicting_units))
            case NoGrad(variant="stages"):
                return len(self.predicting_units)
            case Absent():
                raise ValueError(f"{self.regime} is not here, or has changed; how many phases it has is not known")
            case Part():
                return int(getattr(self.regime, "count", lambda predictions: 1)(len(self.predicting_units)))
            case _:
                return 1

    @property
    def phase_steps(self) -> tuple[int, ...]:
        """The steps of each phase: those of the schedule, unless an extension's regime, or one of ours that is such a
        part, says otherwise."""
        schedule, count = self.training.steps, self.phases
        given = getattr(self.regime, "steps", None)
        return tuple(given(len(self.predicting_units), schedule)) if given else (schedule,) * count

    @property
    def steps(self) -> int:
        """The steps of all phases."""
        return sum(self.phase_steps)

    def place_at(self, step: int) -> tuple[int, int]:
        """The phase of a step and how many steps of that phase are before it; all count from 0."""
        ends = [*accumulate(self.phase_steps)]
        phase = bisect(ends, step)
        return phase, step - ends[phase] + self.phase_steps[phase]


def opt_unit(n: int, fraction: Fraction) -> int:
    """The unit that stands for ``fraction`` of a network's cost when an optimum is trained for it: floor(3nf + 1/2)."""
    return math.floor(3 * n * fraction + Fraction(1, 2))


MILESTONES: tuple[Fraction, ...] = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1))
"""The fractions of the total cost at which the paper reports errors (section 4.1)."""


def to_dict(config: TrialConfig) -> dict[str, Any]:
    """The config as JSON holds it; every value explicit, but of fields that were added later at their default."""
    return plain(config)


def parts_of(config: TrialConfig) -> list[Part]:
    """The parts of extensions that a trial uses, and our networks that are no ResNets: see ``of_ours``."""
    joint = (getattr(config.regime, kind, None) for kind in PARTS)
    return [part for part in (config.network, config.regime, *joint) if isinstance(part, Part)]


def is_here(config: TrialConfig) -> bool:
    """Whether the code of all of its parts is, as it was."""
    return not any(isinstance(part, Absent) for part in parts_of(config))


def plain(part: Any) -> dict[str, Any]:
    """A config, or a part of one, as JSON holds it."""
    return json.loads(json.dumps(_values(part)))  # type: ignore[no-any-return]


def _values(value: Any) -> Any:
    if isinstance(value, Absent):
        return json.loads(value.values)
    if not is_dataclass(value):
        return value
    if isinstance(value, Part):
        own = {field.name: _values(_exact(field.type, getattr(value, field.name))) for field in fields(value)}
        return {"name": value.name, "source": value.source, **own}
    named = ((field, getattr(value, field.name)) for field in fields(value))
    return {field.name: _values(own) for field, own in named if not (field.metadata == ADDED and own == field.default)}


def _exact(kind: object, value: Any) -> Any:
    """1 for a float is 1.0, as in configs of ours: equal parts have one identity."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and kind in (float, "float") else value


def from_dict(values: Mapping[str, Any]) -> TrialConfig:
    """The inverse of ``to_dict``."""
    return TrialConfig(
        network=_network(values["network"]),
        data=_data(values["data"]),
        regime=_regime(values["regime"]),
        training=TrainingConfig(**values["training"]),
        seed=values["seed"],
    )


def _data(values: Mapping[str, Any]) -> DataConfig:
    own = values.get("own")
    return DataConfig(**{**values, "own": OwnData(**own)} if own else values)


def _network(values: Mapping[str, Any]) -> AnyNetwork:
    return cast(AnyNetwork, part_of("network", values)) if SOURCE in values else NetworkConfig(**values)


def _regime(values: Mapping[str, Any]) -> Regime | Part:
    if values["name"] != "joint":
        return _of_kind("regime", REGIMES, values)  # type: ignore[no-any-return]
    weights = values["weights"]
    others: dict[str, Any] = {kind: part_of(kind, values[kind]) for kind in OPTIONAL if values.get(kind)}
    return Joint(
        weights=part_of("weights", weights) if SOURCE in weights else WeightingConfig(**weights),
        strategy=_of_kind("strategy", STRATEGIES, values["strategy"]),
        **others,
    )


def part_of(kind: str, values: Mapping[str, Any]) -> Part:
    """The inverse of ``plain``: the part itself, if that is here and as it was, else ``Absent``."""
    own = {name: value for name, value in values.items() if name not in ("name", SOURCE)}
    wanted = values["name"], values[SOURCE]
    named = (part for part in known_parts(kind).values() if (part.name, part.source) == wanted)
    if (found := next(named, None)) is None:
        return Absent(kind, str(values["name"]), str(values[SOURCE]), json.dumps(values, sort_keys=True))
    return found(**{name: tuple(value) if isinstance(value, list) else value for name, value in own.items()})


def _of_kind(what: str, kinds: Mapping[str, type[Any]], values: Mapping[str, Any]) -> Any:
    if SOURCE in values:
        return part_of(what, values)
    if values["name"] not in kinds:
        raise ValueError(f"no {what} is named {values['name']!r}, must be one of {', '.join(kinds)}")
    return kinds[values["name"]](**values)


def _by_name(kinds: Iterable[type[Any]]) -> dict[str, type[Any]]:
    return {kind.__dataclass_fields__["name"].default: kind for kind in kinds}


STRATEGIES = _by_name(get_args(Strategy))
REGIMES = _by_name(get_args(Regime))
"""The configs of these unions by the value of their ``name``."""


def refuse_gaps(table: str, filled: Iterable[object], wanted: Iterable[object]) -> None:
    """Raises NotImplementedError where a table by kind lacks one: what is added in one place alone fails at once, not
    in the middle of a sweep."""
    if lacking := [getattr(kind, "__name__", str(kind)) for kind in wanted if kind not in set(filled)]:
        raise NotImplementedError(f"{table} lacks {', '.join(lacking)}")
