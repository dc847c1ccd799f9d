"""What a sweep file may say of a method: which regimes it trains, by the fields of its kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial, reduce
from itertools import combinations, product
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    Tag,
    TypeAdapter,
    model_validator,
)
from pydantic_core import CoreSchema

from anytime_core.config import (
    MILESTONES,
    OPTIONAL,
    PARTS,
    REGIMES,
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
    opt_unit,
    refuse_gaps,
)
from anytime_core.cost import nearest_index, network_costs
from anytime_core.data.catalog import dataset_of
from orchestrator.sweepfile import parts
from orchestrator.sweepfile.fields import Answers, AnyStrategy, AtLeastOneFraction, Flow, Objective, Weights, depths
from orchestrator.sweepfile.short_methods import strategies, written_out
from orchestrator.sweepfile.tuning import Grid, Tune
from orchestrator.sweepfile.weights import AnyWeights, given_to


def _regime(value: Any) -> str:
    return str(value.get("regime", "joint")) if isinstance(value, dict) else "joint"


def _exact(value: float | str) -> str:
    """A number as short as it can be and still be that number: the name of a method is its identity in tables."""
    if isinstance(value, str):
        return value
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _whole(value: float | str) -> float | str:
    """Whole numbers as such, as a number of epochs must be; the parts make floats of the others."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Method(BaseModel):
    """What a sweep file says of one method: to add a kind, a subclass and a line in METHODS."""

    regime: str

    def variants(self, name: str) -> dict[str, Self]:
        """The methods that this entry stands for, by name: itself, unless it has a grid."""
        return {name: self}

    @property
    def tuned(self) -> Tune | None:
        """How one of its ``points`` is chosen."""
        return None

    @property
    def tuned_on(self) -> list[NetworkConfig]:
        """Networks beside the sweep's."""
        return (self.tuned and self.tuned.networks) or []

    def points(self, name: str) -> dict[str, Self]:
        """What its tuning tries, by name; nothing where it has none."""
        return {}

    def regimes(self, network: AnyNetwork, data: DataConfig, weights: AnyWeights) -> list[Regime | Part]:
        """What is trained on a network and data, a trial each; ``weights`` are the sweep's. Nothing, where they should
        have a list for the network, and have none that is sound: no such file is loaded."""
        raise NotImplementedError


def _overlap(one: str, other: str) -> bool:
    """Whether two keys set the same, as ``strategy`` and ``strategy.gamma`` do."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


class GridMethod(Method):
    """One with parameters. ``grid`` gives lists of values to some: each combination of them is a method. ``tune`` does
    the same for one method, which takes the best of them."""

    grid: Grid = Field(default_factory=dict)
    tune: Tune | None = None

    def parameters(self) -> Mapping[str, Collection[str]]:
        """What a grid may vary, with all that each sets: two keys of one grid may not set the same."""
        raise NotImplementedError

    def at(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that differ at a point of the grid. Raises ValueError for values that are refused."""
        raise NotImplementedError

    @property
    def tuned(self) -> Tune | None:
        return self.tune

    @model_validator(mode="after")
    def _grid_is_of_parameters(self) -> Self:
        if self.grid and self.tune:
            raise ValueError("has a grid and tune; must have one of them: tune has a grid of its own")
        grid, where = (self.tune.grid, "tune.grid") if self.tune else (self.grid, "grid")
        allowed = self.parameters()
        if unknown := [name for name in grid if name not in allowed]:
            of = self._called()
            raise ValueError(f"{where}: {of} has no {', '.join(unknown)}; allowed: {', '.join(allowed) or 'nothing'}")
        for one, other in combinations(grid, 2):
            if any(map(_overlap, *zip(*product(allowed[one], allowed[other]), strict=True))):
                raise ValueError(f"{where}: {one} and {other} set the same; must have one of them")
        if repeated := [name for name, values in grid.items() if len(set(values)) < len(values)]:
            raise ValueError(f"{where}: {', '.join(repeated)} holds one value twice")
        for name, values in grid.items():
            if wrong := [value for value in values if isinstance(value, str) != (name in NAMED)]:
                kind = "a name" if name in NAMED else "a number"
                raise ValueError(f"{where}.{name}: given {', '.join(map(repr, wrong))}; must be {kind}")
        self._each(grid, "")  # raises for values that are refused
        return self

    def _called(self) -> str:
        """In messages."""
        return self.regime

    def variants(self, name: str) -> dict[str, Self]:
        """One for each point of the grid, named by it."""
        return self._each(self.grid, name)

    def points(self, name: str) -> dict[str, Self]:
        if not self.tune:
            return {}
        points = self.tune.drawn(self._each(self.tune.grid, ""))  # whatever the name: equal grids try the same
        return {name + point: method for point, method in points.items()}

    def _each(self, grid: Grid, name: str) -> dict[str, Self]:
        """One for each point of a grid."""
        methods = {}
        for point in product(*grid.values()):
            values: dict[str, Any] = dict(zip(grid, map(_whole, point), strict=True))
            suffix = "".join(f" {parameter}={_exact(value)}" for parameter, value in values.items())
            methods[name + suffix] = self.model_copy(update=self.at(values) | {"grid": {}})
        return methods


NAMED = ("strategy", "weights")
"""The parts of a joint method that a grid may name."""


def part_named(kind: str, name: str) -> Any:
    """A part as a sweep file means it by its name alone. Raises ValueError for a name that is none."""
    if kind == "strategy" and name not in (known := strategies()):
        raise ValueError(f"grid.strategy: no strategy is named {name!r}; allowed: {', '.join(known)}")
    read: Any = {"strategy": AnyStrategy, "weights": Weights}[kind]
    return TypeAdapter(read).validate_python(name)


class JointMethod(GridMethod):
    """All predictions are trained together; ``weights`` default to the sweep's. A grid varies parameters of the
    strategy, and of parts that are an extension's or of ``methods``; a parameter of several parts is set in all of
    them. It may also name strategies and weights, in place of those of the method."""

    regime: Literal["joint"] = "joint"
    strategy: AnyStrategy = Ann()
    weights: Weights | None = None
    objective: Objective | None = None
    answers: Answers | None = None
    flow: Flow | None = None

    def _parts(self) -> dict[str, Any]:
        """Those that a grid may vary, by their kinds."""
        given: dict[str, Any] = {"strategy": self.strategy}
        return given | {kind: part for kind in PARTS if isinstance(part := getattr(self, kind), Part)}

    def parameters(self) -> dict[str, list[str]]:
        """By their names, and those of several parts also one by one: ``share`` and ``objective.share``; and the parts
        that a grid may name."""
        found: dict[str, list[str]] = {}
        for kind, part in self._parts().items():
            for name in parts.numbers(type(part)):
                found.setdefault(name, []).append(f"{kind}.{name}")
        apart = {one: [one] for several in found.values() if len(several) > 1 for one in several}
        return found | apart | {kind: [kind] for kind in NAMED}

    def _called(self) -> str:
        return self.strategy.name if self._parts().keys() == {"strategy"} else "the method"

    def at(self, point: Mapping[str, Any]) -> dict[str, Any]:
        changed = self._parts() | {kind: self._named(kind, point[kind]) for kind in NAMED if kind in point}
        parameters = self.parameters()
        for parameter, value in ((name, value) for name, value in point.items() if name not in NAMED):
            for place in parameters[parameter]:
                kind, _, name = place.partition(".")
                changed[kind] = replace(changed[kind], **{name: value})
        return changed

    def _named(self, kind: str, name: str) -> Any:
        """The part of that name: the method's own, with its parameters, where it is called so."""
        own = getattr(self, kind)
        return own if getattr(own, "name", None) == name else part_named(kind, name)

    @model_validator(mode="after")
    def _grid_holds_what_is_given(self) -> Self:
        """Raises ValueError for a part with parameters that a grid would silently replace."""
        grid = self.tune.grid if self.tune else self.grid
        for kind in {*NAMED}.intersection(grid, self.model_fields_set):
            name = getattr(getattr(self, kind), "name", None)
            if name not in grid[kind]:
                raise ValueError(f"grid.{kind}: the method has {kind} {name}; must be among the names, or be left out")
        return self

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
    at: Annotated[AtLeastOneFraction | None, BeforeValidator(depths)] = list(MILESTONES)

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
refuse_gaps("methods.METHODS", METHODS, REGIMES)


def methods() -> dict[str, type[Method]]:
    """By their regimes, those of active extensions too."""
    return METHODS | parts.regime_methods(Method, GridMethod)


class _AnyMethod:
    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        known = methods()
        tagged: Any = (Annotated[kind, Tag(name)] for name, kind in known.items())
        written = BeforeValidator(partial(written_out, regimes=known, own=JointMethod.model_fields))
        return handler.generate_schema(Annotated[reduce(or_, tagged), Discriminator(_regime), written])


if TYPE_CHECKING:
    AnyMethod = Method
else:
    AnyMethod = Annotated[Any, _AnyMethod()]
