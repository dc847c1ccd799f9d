"""What a sweep file may hold: read ``SweepFile`` from top to bottom.

Unknown keys are refused, and every fault of a file is listed at once, with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from fractions import Fraction
from functools import reduce
from itertools import product
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails

from anytime_core.config import (
    KINDS,
    MILESTONES,
    OPTIONAL,
    PARTS,
    REGIMES,
    STRATEGIES,
    Ann,
    AnyNetwork,
    DataConfig,
    Joint,
    Midfeat,
    NetworkConfig,
    NoGrad,
    Opt,
    Part,
    Regime,
    Strategy,
    TrainingConfig,
    WeightingConfig,
    known_parts,
    opt_unit,
    refuse,
    refuse_gaps,
)
from anytime_core.cost import nearest_index, network_costs
from anytime_core.data.catalog import DATASETS, dataset_of, own_dataset
from orchestrator.report.figures import FIGURES
from orchestrator.report.layouts import LAYOUTS
from orchestrator.stats.scopes import SCOPES
from orchestrator.stats.significance import TESTS
from orchestrator.sweep import report as sweep
from orchestrator.sweep.notify import Notify
from orchestrator.sweep.retries import Retries
from orchestrator.sweep.trial import MOST_CHANNELS, MOST_UNITS, Resources
from orchestrator.sweepfile import parts
from orchestrator.sweepfile.document import Document, Fault, Key
from orchestrator.sweepfile.document import given as _given
from orchestrator.sweepfile.document import suggestion as _suggestion
from orchestrator.sweepfile.parts import OneOf, OursOr, named
from orchestrator.sweepfile.weights import SOUND_LISTS, AnyWeights, OurWeights, given_to

T = TypeVar("T")

OWN_KEYS = ("path", "format", "size")
"""Of a data set of the user's own, beside those of every data set, and the fields of its reader."""
HIDDEN = ("own", "own_validation")
"""Fields of DataConfig that no file may give."""
DATA_KEYS = (*(part.name for part in fields(DataConfig) if part.name not in HIDDEN), *OWN_KEYS)
FLAGS = ("flip", "compiled")
MOST_STEPS = 2**31 - 1
LONGEST_FRACTION = 24


def _dataset(value: Any) -> Any:
    """Fills in the augmentation that is usual for the data set (section 4.1)."""
    value = named(value)
    if not isinstance(value, dict) or not isinstance(name := value.get("name"), str):
        return value
    if value.get("validation") == "own":
        value = {**value, "validation": 0, "own_validation": True}
    own = value.get("own")
    if (spec := own_dataset(name, own) if own else DATASETS.get(name)) is None:
        allowed = f"{', '.join(DATASETS)}, or give path and format"
        raise ValueError(f"no data set is named {_given(name)}; allowed: {allowed}")
    return {"pad": spec.pad, "flip": spec.flip, **value}


def _fits_images(data: DataConfig) -> DataConfig:
    spec = dataset_of(data)
    refuse(
        f"validation is {data.validation}, and {data.name} has a split of its own for it; must be own, or left out"
        if data.validation and spec.validation_images
        else None,
        f"validation is {data.validation}, must be less than the {spec.train_images} training images"
        if data.validation >= spec.train_images
        else None,
        f"pad is {data.pad}, must be at most the image's {spec.size} pixels" if data.pad > spec.size else None,
        f"flip is true, must be false: {data.name} is never mirrored" if data.flip and spec.never_flips else None,
    )
    return data


def _unnamed(value: Any) -> Any:
    """A ResNet is told by having no name."""
    if isinstance(value, dict) and "name" in value:
        allowed = f"{', '.join(known_parts('network'))}, and a ResNet, which has no name: {{n: 3, c: 16}}"
        raise ValueError(f"no network is named {_given(value['name'])}; allowed: {allowed}")
    return value


def _feasible(network: NetworkConfig) -> NetworkConfig:
    """A slip of the keyboard must not fill the memory."""
    refuse(
        f"n is {network.n}, must be at most {MOST_UNITS}" if network.n > MOST_UNITS else None,
        f"c is {network.c}, must be at most {MOST_CHANNELS}" if network.c > MOST_CHANNELS else None,
    )
    return network


def _countable(training: TrainingConfig) -> TrainingConfig:
    refuse(f"steps is {training.steps}, must be at most {MOST_STEPS}" if training.steps > MOST_STEPS else None)
    return training


def _fraction(value: Any) -> Fraction:
    text = str(value).replace(" ", "")
    try:
        if len(text) > LONGEST_FRACTION or "e" in text.lower():  # 1e999999999 would be worked out
            raise ValueError
        fraction = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{_given(value)} is not a fraction such as 1/4") from error
    if not 0 < fraction <= 1:
        raise ValueError(f"{value} is not a fraction of the cost: must be above 0 and at most 1")
    return fraction


def _depths(value: Any) -> Any:
    """``all`` stands as None from here on; what is left empty does not."""
    if value is None:
        raise ValueError("is empty; must be fractions of the cost, or all")
    return None if value == "all" else value


def _distinct(values: list[T]) -> list[T]:
    if len(set(values)) < len(values):
        raise ValueError(f"{values} holds one value twice")
    return values


def _named_in(registry: Mapping[str, object]) -> BeforeValidator:
    """A name that the registry has when the file is read."""

    def check(value: Any) -> Any:
        if not isinstance(value, str) or value not in registry:
            *others, last = map(repr, registry)
            raise ValueError(f"given {_given(value)}; must be {', '.join(others)} or {last}")
        return value

    return BeforeValidator(check)


def _regime(value: Any) -> str:
    return str(value.get("regime", "joint")) if isinstance(value, dict) else "joint"


Dataset = Annotated[DataConfig, BeforeValidator(_dataset), AfterValidator(_fits_images)]
OurNetwork = Annotated[NetworkConfig, BeforeValidator(_unnamed), AfterValidator(_feasible)]
Training = Annotated[TrainingConfig, AfterValidator(_countable)]
if TYPE_CHECKING:
    AnyStrategy = Strategy | Part
    Network = AnyNetwork
    Weights = AnyWeights
    Objective = Part
    Answers = Part
    Flow = Part
else:
    AnyStrategy = Annotated[Any, OneOf("strategy", STRATEGIES)]
    Network, Weights = Annotated[Any, OursOr("network", OurNetwork)], Annotated[Any, OursOr("weights", OurWeights)]
    Objective, Answers, Flow = (Annotated[Any, OneOf(kind, {})] for kind in OPTIONAL)
CostFraction = Annotated[Fraction, BeforeValidator(_fraction)]
AtLeastOneFraction = Annotated[list[CostFraction], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]


def _exact(value: float) -> str:
    """A number as short as it can be and still be that number: the name of a method is its identity in tables."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


class Method(BaseModel):
    """What a sweep file says of one method: to add a kind, a subclass and a line in METHODS."""

    regime: str

    def variants(self, name: str) -> dict[str, Self]:
        """The methods that this entry stands for, by name: itself, unless it has a grid."""
        return {name: self}

    def regimes(self, network: AnyNetwork, data: DataConfig, weights: AnyWeights) -> list[Regime | Part]:
        """What is trained on a network and data, a trial each; ``weights`` are the sweep's. Nothing, where they should
        have a list for the network, and have none that is sound: no such file is loaded."""
        raise NotImplementedError


class JointMethod(Method):
    """All predictions are trained together; ``weights`` default to the sweep's. ``grid`` gives lists of values to
    parameters of the strategy, or of another part that is an extension's: each combination of them is a method."""

    regime: Literal["joint"] = "joint"
    strategy: AnyStrategy = Ann()
    weights: Weights | None = None
    objective: Objective | None = None
    answers: Answers | None = None
    flow: Flow | None = None
    grid: dict[str, Annotated[list[float], Field(min_length=1)]] = Field(default_factory=dict)

    def _gridded(self) -> dict[str, str]:
        """Which part each parameter belongs to that a grid may vary."""
        given: dict[str, Any] = {"strategy": self.strategy}
        given |= {kind: part for kind in PARTS if isinstance(part := getattr(self, kind), Part)}
        owners = [(field.name, kind) for kind, part in given.items() for field in fields(part) if field.name != "name"]
        names = [name for name, _ in owners]
        return {name if names.count(name) == 1 else f"{kind}.{name}": kind for name, kind in owners}

    @model_validator(mode="after")
    def _grid_is_of_a_part(self) -> JointMethod:
        allowed = self._gridded()
        if unknown := [name for name in self.grid if name not in allowed]:
            of = self.strategy.name if set(allowed.values()) <= {"strategy"} else "the method"
            raise ValueError(f"grid: {of} has no {', '.join(unknown)}; allowed: {', '.join(allowed) or 'nothing'}")
        if repeated := [name for name, values in self.grid.items() if len(set(values)) < len(values)]:
            raise ValueError(f"grid: {', '.join(repeated)} holds one value twice")
        self.variants("")  # raises for values that the strategy refuses
        return self

    def variants(self, name: str) -> dict[str, Self]:
        """One for each point of the grid, named by it."""
        variants = {}
        for point in product(*self.grid.values()):
            # Whole numbers as such, as a number of epochs must be; the strategy makes floats of the others.
            numbers = (int(value) if value.is_integer() else value for value in point)
            values: dict[str, Any] = dict(zip(self.grid, numbers, strict=True))
            suffix = "".join(f" {parameter}={_exact(value)}" for parameter, value in values.items())
            variants[name + suffix] = self.model_copy(update=self._at(values) | {"grid": {}})
        return variants

    def _at(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The parts at a point of the grid."""
        owners, changed = self._gridded(), dict[str, Any]()
        for parameter, value in point.items():
            kind = owners[parameter]
            part = changed.get(kind, getattr(self, kind))
            changed[kind] = replace(part, **{parameter.rpartition(".")[2]: value})
        return changed

    def regimes(self, network: AnyNetwork, data: DataConfig, weights: AnyWeights) -> list[Regime | Part]:
        others = {kind: getattr(self, kind) for kind in OPTIONAL}
        _, own = given_to(network, self.weights or weights)
        return [Joint(weights=own, strategy=self.strategy, **others)] if own else []


def _nearest(network: AnyNetwork, data: DataConfig, fraction: Fraction) -> int:
    """The unit that stands for a fraction of the cost; of a network of an extension's, the nearest that predicts."""
    if isinstance(network, NetworkConfig):
        return max(opt_unit(network.n, fraction), 1)
    spec = dataset_of(data)
    return nearest_index(network_costs(network, spec.classes, spec.channels, spec.size), fraction) + 1


class OptMethod(Method):
    """One trial for each depth, which trains only its prediction: ``at`` fractions of the cost, or ``all`` depths."""

    regime: Literal["opt"]
    at: Annotated[AtLeastOneFraction | None, BeforeValidator(_depths)] = list(MILESTONES)

    def regimes(self, network: AnyNetwork, data: DataConfig, weights: AnyWeights) -> list[Regime | Part]:
        if self.at is None:
            return [Opt(unit=unit) for unit in network.predicting_units]
        return [Opt(unit=unit) for unit in sorted({_nearest(network, data, fraction) for fraction in self.at})]


class MidfeatMethod(Method):
    """The final prediction first, then the other heads on the frozen network."""

    regime: Literal["midfeat"]

    def regimes(self, network: AnyNetwork, data: DataConfig, weights: AnyWeights) -> list[Regime | Part]:
        return [Midfeat()]


class NoGradMethod(Method):
    """One prediction after the other; or, as a ``variant``, all at once with no gradient between units."""

    regime: Literal["no_grad"]
    variant: Literal["stages", "stop_gradient"] = "stages"

    def regimes(self, network: AnyNetwork, data: DataConfig, weights: AnyWeights) -> list[Regime | Part]:
        return [NoGrad(variant=self.variant)]


METHODS: dict[str, type[Method]] = {
    "joint": JointMethod,
    "opt": OptMethod,
    "midfeat": MidfeatMethod,
    "no_grad": NoGradMethod,
}
"""What a sweep file may say of each regime of the trainer's."""
refuse_gaps("schema.METHODS", METHODS, REGIMES)


def methods() -> dict[str, type[Method]]:
    """By their regimes, those of active extensions too."""
    return METHODS | parts.regime_methods(Method)


class _AnyMethod:
    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        tagged: Any = (Annotated[kind, Tag(name)] for name, kind in methods().items())
        return handler.generate_schema(Annotated[reduce(or_, tagged), Discriminator(_regime)])


if TYPE_CHECKING:
    AnyMethod = Method
else:
    AnyMethod = Annotated[Any, _AnyMethod()]


class CheckedReport(sweep.Report):
    """Names are those of the registries."""

    tables: Annotated[list[Annotated[str, _named_in(LAYOUTS)]], AfterValidator(_distinct)] = Field(default=[])
    figures: Annotated[list[Annotated[str, _named_in(FIGURES)]], AfterValidator(_distinct)] = Field(default=[])
    p_value: Annotated[str, _named_in(TESTS)] = "hoeffding"
    scope: Annotated[str, _named_in(SCOPES)] | None = None


class SweepFile(BaseModel):
    """The grid is networks x datasets x methods x seeds; everything else holds for all of its trials."""

    name: Name
    description: str = ""
    extensions: Annotated[list[str], AfterValidator(_distinct)] = Field(default=[])
    networks: list[Network] = Field(min_length=1)
    datasets: list[Dataset] = Field(min_length=1)
    methods: dict[Name, AnyMethod] = Field(min_length=1)
    seeds: Annotated[list[Seed], AfterValidator(_distinct)] = Field(default=[0], min_length=1)
    weights: Weights = WeightingConfig()
    training: Training = Field(default_factory=TrainingConfig)
    resources: Resources = Resources()
    retries: Retries = Retries()
    notify: Notify = Notify()
    report: CheckedReport = CheckedReport()

    @property
    def expanded_methods(self) -> dict[str, Method]:
        """The methods, grids worked out."""
        return expanded(self.methods)


def rebuild() -> None:
    """Looks at the registries again: to be called where other extensions are active than before."""
    for model in (JointMethod, SweepFile):
        model.model_rebuild(force=True)


def expanded(methods: Mapping[str, Method]) -> dict[str, Method]:
    """The methods by name, a grid as a method for each of its points."""
    return {name: variant for given, method in methods.items() for name, variant in method.variants(given).items()}


def parsed(document: Document) -> SweepFile:
    """A file without faults."""
    return SweepFile.model_validate(document.content, extra="forbid")


def faults(document: Document) -> list[Fault]:
    """Every fault of a file but those between its parts."""
    if not isinstance(document.content, dict):
        return [document.fault((), f"must be a mapping with the keys {', '.join(SweepFile.model_fields)}")]
    wrong = list(_pydantic_faults(document))
    known = {fault.key for fault in wrong}
    return wrong + [fault for fault in _booleans(document, document.content, ()) if fault.key not in known]


def sound_items(document: Document, section: str) -> dict[Any, Any]:
    """The items of a section that have no fault of their own, by index or name."""
    part = document.content.get(section)
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return {key: value for key, item in items if (value := _sound(section, item))}


def sound_section(document: Document, section: str) -> Any:
    """What a section that holds for all trials says, or its default where it is not given; None if it has a fault."""
    if section not in document.content:
        return SweepFile.model_fields[section].get_default(call_default_factory=True)
    return _sound(section, document.content[section])


def _sound(section: str, value: Any) -> Any:
    with suppress(ValidationError):
        return TypeAdapter(READ[section]).validate_python(value, extra="ignore", context=SOUND_LISTS)


def part_in(
    document: Document, key: tuple[str | int, ...], part: type[Part], values: Mapping[str, Any]
) -> tuple[Part | None, list[Fault]]:
    """A part of an extension from the values of its fields, which stand in the mapping at ``key``; or their faults."""
    if wrong := list(_booleans(document, dict(values), tuple(map(str, key)))):
        return None, wrong
    try:
        return TypeAdapter(parts.without_name(part)).validate_python(values), []
    except ValidationError as error:
        inside = ({**details, "loc": (*key, *details["loc"])} for details in error.errors())
        return None, [_fault(document, cast(ErrorDetails, details)) for details in inside]


def _pydantic_faults(document: Document) -> Iterator[Fault]:
    wrong = []
    for extra in ("forbid", "ignore"):  # an unknown key hides what else is wrong with the mapping that it is in
        wrong += _refused(document, extra)
    # And so does a value of a wrong kind: without those there are, what else is there?
    known = {fault.key for fault in wrong}
    rest = Document(document.path, _without(document.content, known, ()), document.lines)
    emptied = {(name,) for name, section in rest.content.items() if not section and document.content[name]}
    return iter([*wrong, *(fault for fault in _refused(rest, "ignore") if fault.key not in known | emptied)])


def _refused(document: Document, extra: Literal["forbid", "ignore"]) -> list[Fault]:
    try:
        SweepFile.model_validate(document.content, extra=extra)
    except ValidationError as error:
        return [_fault(document, details) for details in error.errors()]
    return []


def _without(value: Any, keys: set[Key], path: Key) -> Any:
    """The content less what stands at these keys of mappings; a network cannot be without two of them."""
    if isinstance(value, dict):
        inner = {key: (*path, str(key)) for key in value}
        kept = {key: _without(item, keys, inner[key]) for key, item in value.items() if inner[key] not in keys}
        ours = path[:1] == ("networks",) and "name" not in value
        needed = {"n": MOST_UNITS, "c": 1} if ours else {}
        return {key: stand_in for key, stand_in in needed.items() if inner.get(key) in keys} | kept
    if isinstance(value, list):
        return [_without(item, keys, (*path, str(index))) for index, item in enumerate(value)]
    return value


def _booleans(document: Document, value: Any, path: Key) -> Iterator[Fault]:
    """Pydantic takes yes for 1."""
    if isinstance(value, bool) and path[-1] not in (*FLAGS, *parts.flags()):
        yield document.fault(
            path, f"given {value}; yes and no, true and false are allowed for {' and '.join(FLAGS)} alone"
        )
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _booleans(document, item, (*path, str(key)))


def _fault(document: Document, details: ErrorDetails) -> Fault:
    """Pydantic's word for a fault, made ours: where it is, what was given, what is allowed."""
    location, context = details["loc"], details.get("ctx", {})
    key, given = _key(location, document.content, details["type"]), _given(details["input"])
    match details["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument" | "invalid_key":
            message = f"unknown key{_suggestion(str(location[-1]), _allowed_keys(location))}"
        case "missing" | "missing_argument":
            message = "is missing"
        case "value_error":
            message = str(context["error"])
        case "union_tag_invalid":
            kind = "regime" if "regime" in context["discriminator"] else key[-1]
            message = f"no {kind} is named {_given(context['tag'])}; allowed: {context['expected_tags']}"
        case "union_tag_not_found":
            needed = "have a 'name'" if isinstance(details["input"], dict) else "be a mapping"
            message = f"given {given}; must {needed}"
        case "string_pattern_mismatch":
            message = f"given {given}; must be letters, digits, '.', '_' and '-', a letter or digit first"
        case "dict_type" | "model_type" | "model_attributes_type" | "dataclass_type":
            message = f"given {given}; must be a mapping"
        case "tuple_type":
            message = f"given {given}; must be a valid list"
        case _:  # such as "Input should be a valid list"
            message = f"given {given}; {re.sub('^[A-Z][a-z]+ should ', 'must ', details['msg'])}"
    return document.fault(key, message)


def _key(location: Sequence[str | int], content: Any, kind: str) -> list[str | int]:
    """The path of keys in the file: pydantic's location less the names it gives to the members of unions."""
    path: list[str | int] = []
    for place, part in enumerate(location):
        inside = isinstance(content, dict) and part in content
        inside |= isinstance(content, list) and isinstance(part, int) and part < len(content)
        if inside:
            content = content[part]
        if inside or (place == len(location) - 1 and kind.startswith("missing")):
            path.append(part)
    return path


def _allowed_keys(location: Sequence[str | int]) -> list[str]:
    """The keys that the mapping around ``location`` may have."""
    kind = _kind(location[:-1])
    if kind is DataConfig:
        readers = KINDS["reader"].values()
        return [*DATA_KEYS, *dict.fromkeys(field.name for reader in readers for field in fields(reader))]  # type: ignore[arg-type]
    names = kind.model_fields if issubclass(kind, BaseModel) else (field.name for field in fields(kind))
    return list(names)


def _kind(location: Sequence[str | int]) -> type[Any]:
    """What the mapping at pydantic's ``location`` is read into."""
    match list(location):
        case ["methods", _, "joint", kind, *name] if kind in PARTS:
            return _part(str(kind), str(name[0]) if name else "")
        case ["weights", *name]:
            return _part("weights", str(name[0]) if name else "")
        case ["methods", _, regime]:
            return methods()[str(regime)]
        case ["networks", _, str(name), *_] if name in known_parts("network"):
            return known_parts("network")[name]
        case [section, *_]:
            return SECTIONS[str(section)]
        case _:
            return SweepFile


def _part(kind: str, name: str) -> type[Any]:
    ours: type[Any] = WeightingConfig if kind == "weights" else STRATEGIES.get(name, Ann)
    added: Mapping[str, type[Any]] = KINDS[kind]
    return added.get(name, ours)


SECTIONS: dict[str, type[Any]] = {
    "networks": NetworkConfig,
    "datasets": DataConfig,
    "weights": WeightingConfig,
    "training": TrainingConfig,
    "resources": Resources,
    "retries": Retries,
    "notify": Notify,
    "report": CheckedReport,
}

READ: dict[str, Any] = {
    "networks": Network,
    "datasets": Dataset,
    "methods": AnyMethod,
    "weights": Weights,
    "training": Training,
    "report": CheckedReport,
}
"""What a section, or each item of it, is read into."""
