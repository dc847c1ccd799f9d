"""What single fields of a sweep file may hold, and how they are written short: data sets, networks, fractions,
names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from anytime_core.bounds import refuse
from anytime_core.config import (
    OPTIONAL,
    STRATEGIES,
    AnyNetwork,
    DataConfig,
    NetworkConfig,
    Part,
    Strategy,
    TrainingConfig,
    known_parts,
)
from anytime_core.data.catalog import DATASETS, dataset_of, own_dataset
from orchestrator.sweep.carbon import Carbon
from orchestrator.sweep.grid import LONGEST_NAME, NAME
from orchestrator.sweep.limits import Price
from orchestrator.sweep.trial import MOST_CHANNELS, MOST_UNITS
from orchestrator.sweepfile.document import given
from orchestrator.sweepfile.parts import OneOf, OursOr, named
from orchestrator.sweepfile.weights import AnyWeights, OurWeights

T = TypeVar("T")

OWN_KEYS = ("path", "format", "size")
"""Of a data set of the user's own, beside those of every data set, and the fields of its reader."""
HIDDEN = ("own", "own_validation")
"""Fields of DataConfig that no file may give."""
DATA_KEYS = (*(part.name for part in fields(DataConfig) if part.name not in HIDDEN), *OWN_KEYS)
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
        raise ValueError(f"no data set is named {given(name)}; allowed: {allowed}")
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
        raise ValueError(f"no network is named {given(value['name'])}; allowed: {allowed}")
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
        raise ValueError(f"{given(value)} is not a fraction such as 1/4") from error
    if not 0 < fraction <= 1:
        raise ValueError(f"{value} is not a fraction of the cost: must be above 0 and at most 1")
    return fraction


def depths(value: Any) -> Any:
    """``all`` stands as None from here on; what is left empty does not."""
    if value is None:
        raise ValueError("is empty; must be fractions of the cost, or all")
    return None if value == "all" else value


def distinct(values: list[T]) -> list[T]:
    if len(set(values)) < len(values):
        raise ValueError(f"{values} holds one value twice")
    return values


def _price(value: Any) -> Price:
    return Price.of(value if isinstance(value, str) else str(value))


def _carbon(value: Any) -> Carbon:
    return Carbon.of(value if isinstance(value, str) else str(value))


def named_in(registry: Mapping[str, object]) -> BeforeValidator:
    """A name that the registry has when the file is read."""

    def check(value: Any) -> Any:
        if not isinstance(value, str) or value not in registry:
            *others, last = map(repr, registry)
            raise ValueError(f"given {given(value)}; must be {', '.join(others)} or {last}")
        return value

    return BeforeValidator(check)


TEXT = BeforeValidator(lambda value: str(value) if type(value) is int else value)
"""YAML takes the name 1 for a number."""
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
HourlyPrice = Annotated[Price, BeforeValidator(_price)]
Intensity = Annotated[Carbon, BeforeValidator(_carbon)]
Name = Annotated[str, Field(pattern=f"^{NAME}$", max_length=LONGEST_NAME)]
