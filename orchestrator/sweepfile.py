"""What a sweep file may hold: read ``SweepFile`` from top to bottom.

Unknown keys are refused, and every fault of a file is listed at once, with its line.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import fields
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Discriminator, Field, Tag, ValidationError
from pydantic_core import ErrorDetails

from anytime_core.config import (
    MILESTONES,
    STRATEGIES,
    Ann,
    DataConfig,
    Joint,
    NetworkConfig,
    Opt,
    Regime,
    Strategy,
    TrainingConfig,
    WeightingConfig,
    by_name,
    opt_unit,
)
from anytime_core.data.catalog import DATASETS
from anytime_core.weighting import WEIGHTINGS, is_known
from orchestrator.document import Document, Fault
from orchestrator.stats import P_VALUES
from orchestrator.trial import Resources


def _named(value: Any) -> Any:
    """``aann`` is short for ``{name: aann}``."""
    return {"name": value} if isinstance(value, str) else value


def _dataset(value: Any) -> Any:
    """Fills in the augmentation that is usual for the data set (section 4.1)."""
    value = _named(value)
    if not isinstance(value, dict) or "name" not in value:
        return value
    if (spec := DATASETS.get(value["name"])) is None:
        raise ValueError(f"no data set is named {value['name']!r}; allowed: {', '.join(DATASETS)}")
    return {"pad": spec.pad, "flip": spec.flip, **value}


def _leaves_images(data: DataConfig) -> DataConfig:
    if data.validation >= (available := DATASETS[data.name].train_images):
        raise ValueError(f"validation is {data.validation}, must be less than the {available} training images")
    return data


def _known_weights(weights: WeightingConfig) -> WeightingConfig:
    if not is_known(weights.name):
        raise ValueError(f"no weights are named {weights.name!r}; allowed: {', '.join(WEIGHTINGS)}, opt(k)")
    return weights


def _fraction(value: Any) -> Fraction:
    try:
        fraction = Fraction(str(value).replace(" ", ""))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{value!r} is not a fraction such as 1/4") from error
    if not 0 < fraction <= 1:
        raise ValueError(f"{value} is not a fraction of the cost: must be above 0 and at most 1")
    return fraction


def _distinct(values: list[int]) -> list[int]:
    if len(set(values)) < len(values):
        raise ValueError(f"{values} holds one value twice")
    return values


def _regime(value: Any) -> str:
    return str(value.get("regime", "joint")) if isinstance(value, dict) else "joint"


Dataset = Annotated[DataConfig, BeforeValidator(_dataset), AfterValidator(_leaves_images)]
Weights = Annotated[WeightingConfig, BeforeValidator(_named), AfterValidator(_known_weights)]
AnyStrategy = Annotated[Strategy, Field(discriminator="name"), BeforeValidator(_named)]
CostFraction = Annotated[Fraction, BeforeValidator(_fraction)]
AtLeastOneFraction = Annotated[list[CostFraction], Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]


class JointMethod(BaseModel):
    """All predictions are trained together; ``weights`` default to the sweep's."""

    regime: Literal["joint"] = "joint"
    strategy: AnyStrategy = Ann()
    weights: Weights | None = None

    def regimes(self, network: NetworkConfig, weights: WeightingConfig) -> list[Regime]:
        return [Joint(weights=self.weights or weights, strategy=self.strategy)]


class OptMethod(BaseModel):
    """One trial for each depth, which trains only its prediction: ``at`` fractions of the cost, or ``all`` depths."""

    regime: Literal["opt"]
    at: Annotated[AtLeastOneFraction | None, BeforeValidator(lambda value: None if value == "all" else value)] = list(
        MILESTONES
    )

    def regimes(self, network: NetworkConfig, weights: WeightingConfig) -> list[Regime]:
        if self.at is None:
            return [Opt(unit=unit) for unit in network.predicting_units]
        units = sorted({max(opt_unit(network.n, fraction), 1) for fraction in self.at})
        return [Opt(unit=unit) for unit in units]


Method = Annotated[
    Annotated[JointMethod, Tag("joint")] | Annotated[OptMethod, Tag("opt")],
    Discriminator(_regime),
]


class Report(BaseModel):
    """How the tables are made: against which method percentages of wins are taken, and by which test."""

    baseline: str = "ann"
    p_value: Literal[tuple(P_VALUES)] = "hoeffding"  # type: ignore[valid-type]


class SweepFile(BaseModel):
    """The grid is networks x datasets x methods x seeds; everything else holds for all of its trials."""

    name: Name
    description: str = ""
    networks: list[NetworkConfig] = Field(min_length=1)
    datasets: list[Dataset] = Field(min_length=1)
    methods: dict[Name, Method] = Field(min_length=1)
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], AfterValidator(_distinct)] = Field(default=[0], min_length=1)
    weights: Weights = WeightingConfig()
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    resources: Resources = Resources()
    report: Report = Report()


def parsed(document: Document) -> SweepFile:
    """The file, if it is sound. Raises SweepError with every fault in it."""
    if not isinstance(document.content, dict):
        document.refuse([document.fault((), f"must be a mapping with the keys {', '.join(SweepFile.model_fields)}")])
    try:
        return SweepFile.model_validate(document.content, extra="forbid")
    except ValidationError as error:
        document.refuse([_fault(document, details) for details in error.errors()])
        raise  # unreachable: there is at least one fault


def _fault(document: Document, details: ErrorDetails) -> Fault:
    """Pydantic's word for a fault, made ours: where it is, what was given, what is allowed."""
    location, context = details["loc"], details.get("ctx", {})
    key, given = _key(location, document.content), details["input"]
    match details["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            message = f"unknown key{_suggestion(str(location[-1]), _allowed_keys(location))}"
        case "missing" | "missing_argument":
            message = "is missing"
        case "value_error":
            message = str(context["error"])
        case "union_tag_invalid":
            kind = "regime" if "regime" in context["discriminator"] else key[-1]
            message = f"no {kind} is named {context['tag']!r}; allowed: {context['expected_tags']}"
        case "union_tag_not_found":
            message = f"given {given!r}; must have a {context['discriminator']}"
        case "string_pattern_mismatch":
            message = f"given {given!r}; must be letters, digits, '.', '_' and '-', a letter or digit first"
        case _:
            message = f"given {given!r}; must be {details['msg'].removeprefix('Input should be ')}"
    return document.fault(key, message)


def _key(location: Sequence[str | int], content: Any) -> list[str | int]:
    """The path of keys in the file: pydantic's location less the names it gives to the members of unions."""
    path: list[str | int] = []
    for place, part in enumerate(location):
        inside = isinstance(content, dict) and part in content
        inside |= isinstance(content, list) and isinstance(part, int) and part < len(content)
        if inside:
            content = content[part]
        if inside or (place == len(location) - 1 and isinstance(content, dict)):
            path.append(part)
    return path


def _allowed_keys(location: Sequence[str | int]) -> list[str]:
    """The keys that the mapping around ``location`` may have."""
    kind = _kind(location[:-1])
    names = kind.model_fields if issubclass(kind, BaseModel) else (field.name for field in fields(kind))
    return list(names)


def _kind(location: Sequence[str | int]) -> type[Any]:
    """What the mapping at pydantic's ``location`` is read into."""
    match list(location):
        case ["methods", _, "joint", "strategy", name]:
            return by_name(STRATEGIES)[str(name)]
        case ["methods", _, "joint", "weights"]:
            return WeightingConfig
        case ["methods", _, regime]:
            return OptMethod if regime == "opt" else JointMethod
        case [section, *_]:
            return SECTIONS[str(section)]
        case _:
            return SweepFile


SECTIONS: dict[str, type[Any]] = {
    "networks": NetworkConfig,
    "datasets": DataConfig,
    "weights": WeightingConfig,
    "training": TrainingConfig,
    "resources": Resources,
    "report": Report,
}


def _suggestion(given: str, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, allowed, n=1)
    return f"; allowed: {', '.join(allowed)}" + (f" (did you mean {close[0]}?)" if close else "")
