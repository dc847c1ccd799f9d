"""``tune:`` of a method in a sweep file: which points of a grid are tried on held-out images, to choose one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, model_validator

from anytime_core.config import AnyNetwork, DataConfig, TrialConfig
from anytime_core.data.catalog import dataset_of
from anytime_core.seeds import named_seed
from orchestrator.sweep.trial import Cell, Trial, cell_of
from orchestrator.sweep.tuning import CRITERIA, KIND, Point, Tuning
from orchestrator.sweepfile.document import Document, Fault
from orchestrator.sweepfile.fields import Seed, distinct, named_in

if TYPE_CHECKING:
    from orchestrator.sweepfile.methods import Method
    from orchestrator.sweepfile.schema import SweepFile

T = TypeVar("T")

MOST_HELD_OUT = 5000
SHARE_HELD_OUT = 10
"""Where the file does not say: a tenth of the training images, and at most as many as the paper holds out."""

Grid = dict[str, Annotated[list[float], Field(min_length=1)]]
Place = tuple[DataConfig, DataConfig, AnyNetwork]
"""Data, the same with held-out images, and a network."""
Make = Callable[[Cell, TrialConfig], Trial]


class Tune(BaseModel):
    """All points of the ``grid``, or ``points`` of them drawn at random, are trained with ``validation`` images held
    out, once for each of ``seeds``, which without any is the sweep's first. The one with the lowest mean of what
    ``choose`` names is taken: for each network and data set (``per: cell``), or one for all (``per: method``)."""

    on: Literal["validation"] = "validation"
    grid: Grid = Field(min_length=1)
    points: Annotated[int, Field(ge=1)] | None = None
    validation: Annotated[int, Field(ge=1)] | None = None
    choose: Annotated[str, named_in(CRITERIA)] = "average_error"
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(distinct)] | None = None
    per: Literal["cell", "method"] = "cell"

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

    def drawn(self, points: Mapping[str, T]) -> dict[str, T]:
        """So many of the points, in the grid's order. Each has a number drawn by its name, and the lowest are taken: a
        value more in the grid replaces few of them."""
        first = sorted(points, key=lambda name: named_seed(0, "point of a grid", name))[: self.points]
        return {name: point for name, point in points.items() if name in first}


def tunings(file: SweepFile, made: Make) -> Iterator[Tuning]:
    """The choices that a file's methods ask for. ``made`` gives a config at a place of the sweep its trial."""
    for name, method in file.methods.items():
        if tune := method.tuned:
            places = [(data, tune.split(data), network) for data in file.datasets for network in file.networks]
            for group in [[place] for place in places] if tune.per == "cell" else [places]:
                (data, _, network), *_ = group
                where = f"{network.label} {data.name}" if tune.per == "cell" else ""
                points = tuple(_points(file, name, tune, group, made))
                yield Tuning(method=name, where=where, choose=tune.choose, points=points)


def _points(file: SweepFile, name: str, tune: Tune, places: Sequence[Place], made: Make) -> Iterator[Point]:
    for point, method in file.methods[name].points(name).items():
        trials: dict[str, Trial] = {}
        results: dict[Cell, Trial] = {}
        for data, held_out, network in places:
            for config in _configs(file, method, network, held_out, tune.seeds or file.seeds[:1]):
                trial = made(cell_of(f"{point} {KIND}", network, config), config)
                trials[trial.id] = trial
            for config in _configs(file, method, network, data, file.seeds):
                cell = cell_of(name, network, config)
                results[cell] = made(cell, config)
        yield Point(name=point.removeprefix(f"{name} "), trials=tuple(trials.values()), results=results)


def _configs(
    file: SweepFile, method: Method, network: AnyNetwork, data: DataConfig, seeds: Sequence[int]
) -> Iterator[TrialConfig]:
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
