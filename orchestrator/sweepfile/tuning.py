"""``tune:`` of a method in a sweep file: which points of a grid are tried on held-out images, to choose one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, model_validator

from anytime_core.config import AnyNetwork, DataConfig, TrialConfig
from anytime_core.data.catalog import dataset_of
from anytime_core.seeds import named_seed
from orchestrator.sweep import halving
from orchestrator.sweep.trial import Cell, Trial, cell_of
from orchestrator.sweep.tuning import CRITERIA, KIND, Point, Tuning
from orchestrator.sweepfile.document import Document, Fault
from orchestrator.sweepfile.fields import OurNetwork, Seed, distinct, named_in

if TYPE_CHECKING:
    from orchestrator.sweepfile.methods import Method
    from orchestrator.sweepfile.schema import SweepFile

T = TypeVar("T")

MOST_HELD_OUT = 5000
SHARE_HELD_OUT = 10
"""Where the file does not say: a tenth of the training images, and at most as many as the paper holds out."""

Grid = dict[str, Annotated[list[float | str], Field(min_length=1)]]
"""Values of parameters; names of parts, such as weights."""
Place = tuple[DataConfig, AnyNetwork]
WHERE: dict[str, Callable[[DataConfig, AnyNetwork], str]] = {
    "cell": lambda data, network: f"{network.label} {data.name}",
    "dataset": lambda data, network: data.name,
    "method": lambda data, network: "",
}
Make = Callable[[Cell, TrialConfig], Trial]


class Tune(BaseModel):
    """All points of the ``grid``, or ``points`` of them drawn at random, are trained with ``validation`` images held
    out, once for each of ``seeds``, which without any is the sweep's first. The one with the lowest mean of what
    ``choose`` names is taken: for each network and data set (``per: cell``), one for each data set (``dataset``), or
    one for all (``method``). Without ``networks``, which are ResNets to try the points on, these are the sweep's. With
    ``halving`` worse points are stopped along the way."""

    on: Literal["validation"] = "validation"
    grid: Grid = Field(min_length=1)
    points: Annotated[int, Field(ge=1)] | None = None
    validation: Annotated[int, Field(ge=1)] | None = None
    choose: Annotated[str, named_in(CRITERIA)] = "average_error"
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(distinct)] | None = None
    per: Literal["cell", "dataset", "method"] = "cell"
    networks: Annotated[list[OurNetwork], Field(min_length=1), AfterValidator(distinct)] | None = None
    halving: bool = False

    @model_validator(mode="after")
    def _a_cell_has_its_own_network(self) -> Tune:
        if self.networks and self.per == "cell":
            raise ValueError("networks: what is tried on them is for several cells; per must be dataset or method")
        return self

    @model_validator(mode="before")
    @classmethod
    def _on_is_no_boolean(cls, value: Any) -> Any:
        """YAML 1.1 reads the key ``on`` as true."""
        return {"on" if key is True else key: item for key, item in value.items()} if isinstance(value, dict) else value

    def split(self, data: DataConfig) -> DataConfig:
        """The data with images for validation: the data set's own split, where it has one."""
        if dataset_of(data).validation_images:
            return replace(data, own_validation=True)
        usual = max(min(dataset_of(data).train_images // SHARE_HELD_OUT, MOST_HELD_OUT), 1)
        return replace(data, validation=self.validation or usual)

    def places(self, datasets: Iterable[DataConfig], networks: Iterable[AnyNetwork]) -> dict[str, list[Place]]:
        """Those that have a choice in common, by what these are called in tables."""
        groups: dict[str, list[Place]] = {}
        for data, network in product(datasets, networks):
            groups.setdefault(WHERE[self.per](data, network), []).append((data, network))
        return groups

    def drawn(self, points: Mapping[str, T]) -> dict[str, T]:
        """So many of the points, in the grid's order. Each has a number drawn by its name, and the lowest are taken: a
        value more in the grid replaces few of them."""
        first = sorted(points, key=lambda name: named_seed(0, "point of a grid", name))[: self.points]
        return {name: point for name, point in points.items() if name in first}


def tunings(file: SweepFile, made: Make) -> Iterator[Tuning]:
    """The choices that a file's methods ask for. ``made`` gives a config at a place of the sweep its trial."""
    for name, method in file.methods.items():
        if tune := method.tuned:
            tried = tune.places([tune.split(data) for data in file.datasets], tune.networks or file.networks)
            for where, results in tune.places(file.datasets, file.networks).items():
                points = tuple(_points(file, name, tried[where], results, made))
                steps = max(trial.config.steps for point in points for trial in point.trials)
                rungs = halving.rungs(len(points), steps) if tune.halving else ()
                yield Tuning(method=name, where=where, choose=tune.choose, points=points, steps=steps, rungs=rungs)


def _points(
    file: SweepFile, name: str, tried: Sequence[Place], results: Sequence[Place], made: Make
) -> Iterator[Point]:
    given = file.methods[name]
    seeds = (given.tuned and given.tuned.seeds) or file.pool[:1]
    for point, method in given.points(name).items():
        first = _configs(file, method, tried, seeds)
        trials = [made(cell_of(f"{point} {KIND}", config.network, config), config) for config in first]
        second = _configs(file, method, results, file.pool)
        cells = {cell_of(name, config.network, config): config for config in second}
        yield Point(
            name=point.removeprefix(f"{name} "),
            trials=tuple(trials),
            results={cell: made(cell, config) for cell, config in cells.items()},
        )


def _configs(file: SweepFile, method: Method, places: Sequence[Place], seeds: Sequence[int]) -> Iterator[TrialConfig]:
    for data, network in places:
        for regime, seed in product(method.regimes(network, data, file.weights), seeds):
            yield TrialConfig(network=network, data=data, regime=regime, training=file.training, seed=seed)


def faults(
    document: Document, methods: Mapping[Any, Method], datasets: Sequence[DataConfig], batch: int
) -> Iterator[Fault]:
    """Data sets that no method can be tuned on; ``batch`` is the training's number of images in a step."""
    for name, method in methods.items():
        if tune := method.tuned:
            said = (_unsuited(tune, data, batch) for data in datasets)
            yield from (document.fault(("methods", str(name), "tune"), words) for words in said if words)


def _unsuited(tune: Tune, data: DataConfig, batch: int) -> str:
    """Why a data set cannot be tuned on; nothing where it can."""
    spec = dataset_of(data)
    if data.validated:
        return (
            f"{data.name} is evaluated on images for validation already; what is chosen by such images must be "
            "evaluated on others: leave out the validation of the data set"
        )
    if tune.validation and spec.validation_images:
        return f"validation is {tune.validation}, and {data.name} has a split of its own for it; leave it out"
    held_out = tune.split(data).validation
    if batch > spec.train_images - held_out:
        left = f"leaves {max(spec.train_images - held_out, 0)} of {data.name}"
        return f"validation: holding out {held_out} of {spec.train_images} training images {left}; a batch is {batch}"
    return ""
