"""What a sweep file may say of loss weights: a name, a list of values, or such a list for each network.

Lists by network are a thing of the file alone. A trial holds the list of its own network, as if that alone were given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Tag,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from anytime_core.config import KINDS, AnyNetwork, Normalisation, Part, WeightingConfig
from anytime_core.training.weighting import WEIGHTINGS, is_known
from orchestrator.sweep.trial import bracketed
from orchestrator.sweepfile.document import Document, Fault, Key, given, suggestion
from orchestrator.sweepfile.parts import named

SOUND_LISTS = {"lists": "sound"}
"""The context of pydantic's in which a list that has a fault of its own is read as an empty one, and hides no other."""


def _by_label(value: Any) -> Any:
    if not isinstance(value, dict):
        allowed = "a list of numbers, one for each prediction, or such a list for each network, by its label"
        raise ValueError(f"given {given(value)}; must be {allowed}")
    return {str(label): values for label, values in value.items()}


def _possible(values: tuple[float, ...]) -> tuple[float, ...]:
    if not values:
        raise ValueError("is empty; must be a number for each prediction")
    WeightingConfig(name="values", values=values)  # raises for what no weights can be
    return values


def _sound(value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    try:
        return read(value)
    except ValidationError:
        if info.context == SOUND_LISTS:
            return ()
        raise


Values = Annotated[tuple[float, ...], AfterValidator(_possible), WrapValidator(_sound)]


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsByNetwork:
    """``values`` are lists by the labels of the sweep's networks."""

    name: Literal["values"] = "values"
    normalize: Normalisation = "sum_to_one"
    values: Annotated[dict[str, Values], BeforeValidator(_by_label)]

    def key_of(self, network: AnyNetwork) -> str | None:
        """The key that is its label, or else the first that means it."""
        label = str(network.label)
        return label if label in self.values else next((key for key in self.values if _alike(key, label)), None)

    def of(self, network: AnyNetwork) -> WeightingConfig | None:
        """None for a network that has no list, or one with a fault."""
        key = self.key_of(network)
        values = () if key is None else self.values[key]
        return WeightingConfig(name=self.name, normalize=self.normalize, values=values) if values else None


def _alike(key: str, label: str) -> bool:
    """But for spaces, capitals and the brackets of (n,c), as in other lookups."""
    first, second = ("".join(bracketed(text).casefold().split()) for text in (key, label))
    return first == second


AnyWeights = WeightingConfig | Part | WeightsByNetwork


def given_to(network: AnyNetwork, weights: AnyWeights) -> tuple[Key, WeightingConfig | Part | None]:
    """The weights of one network, and the key of what ``weights`` says of it."""
    if isinstance(weights, WeightsByNetwork):
        return ("values", weights.key_of(network) or ""), weights.of(network)
    return (), weights


def unmatched(
    document: Document, at: Key, weights: AnyWeights, networks: Iterable[AnyNetwork], *, whole: bool
) -> Iterator[Fault]:
    """Networks without a list, and lists that are of no network, or not of one alone. ``networks`` are the ``whole`` of
    the sweep's, or else those that have no fault: a list may be of another."""
    if not isinstance(weights, WeightsByNetwork):
        return
    keys = {str(network.label): weights.key_of(network) for network in networks}
    if missing := [label for label, key in keys.items() if key is None]:
        had = ", ".join(label for label in keys if label not in missing)
        message = f"has no list for {', '.join(missing)}" + (f", only for {had}" if had else "")
        yield document.fault((*at, "values"), f"{message}; must have one for each network of the sweep")
    for key in weights.values:
        if message := _key_fault(key, keys, whole):
            yield document.fault((*at, "values", key), message)


def _key_fault(key: str, keys: dict[str, str | None], whole: bool) -> str:
    """``keys`` are those of the networks, by their labels."""
    own = [label for label, used in keys.items() if used == key]
    if len(own) == 1:
        return ""
    if own:
        return f"means networks {' and '.join(own)}; must be the label of one, to the letter"
    if twin := next((label for label in keys if _alike(key, label)), None):
        return f"is a second list for network {twin}, after {given(keys[twin])}; give one"
    return f"no network of the sweep is called {given(key)}{suggestion(key, list(keys))}" if whole else ""


def _unfolded(value: Any) -> Any:
    """``{values: [1, 2]}`` is short for ``{name: values, values: [1, 2]}``."""
    value = named(value)
    return {"name": "values", **value} if isinstance(value, dict) and "values" in value else value


def _known(weights: WeightingConfig) -> WeightingConfig:
    if not weights.values and not is_known(weights.name):
        allowed = ", ".join([*WEIGHTINGS, "opt(k)", *KINDS["weights"], "or a list as {values: [1, 2]}"])
        raise ValueError(f"no weights are named {given(weights.name)}; allowed: {allowed}")
    return weights


def _form(value: Any) -> str:
    """Values that are no list, or an empty one, are read by network: that refusal says what both forms may be."""
    if isinstance(value, dict) and "values" in value:
        return "for all" if isinstance(value["values"], list | tuple) and value["values"] else "by network"
    return "by network" if isinstance(value, WeightsByNetwork) else "for all"


OurWeights = Annotated[
    Annotated[WeightingConfig, AfterValidator(_known), Tag("for all")] | Annotated[WeightsByNetwork, Tag("by network")],
    Discriminator(_form),
    BeforeValidator(_unfolded),
]
