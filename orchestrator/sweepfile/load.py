"""Loads a sweep file: reads it, refuses every fault in it at once, and expands its grid into cells and trials."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from anytime_core.config import AnyNetwork, DataConfig, NetworkConfig, Opt, Part, Regime, TrialConfig
from anytime_core.cost import network_costs
from anytime_core.data.catalog import dataset_of
from anytime_core.extend import Progress
from anytime_core.training.weighting import base_weights
from orchestrator.errors import GoneError, SweepError, UsageError
from orchestrator.extensions import finding, importing
from orchestrator.extensions.finding import Extension
from orchestrator.sweep.comparisons import Place
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Cell, Identities, Trial, cell_of
from orchestrator.sweepfile import datasets as own_datasets
from orchestrator.sweepfile import deciding, reported, schema, trust, tuning
from orchestrator.sweepfile import networks as networks_of_extensions
from orchestrator.sweepfile.deciding import Decide
from orchestrator.sweepfile.document import Document, Fault, Key, read
from orchestrator.sweepfile.faults import faults_of, sound_items, sound_section
from orchestrator.sweepfile.methods import part_named
from orchestrator.sweepfile.schema import SweepFile
from orchestrator.sweepfile.weights import AnyWeights, given_to, unmatched


def load(path: Path) -> Sweep:
    """The sweep of a YAML file. Raises UsageError if it cannot be read, and what ``sweep_of`` raises."""
    return sweep_of(read(path))


def sweep_of(document: Document) -> Sweep:
    """The sweep, before its tuning has chosen anything. Raises SweepError with every fault in it, which is a GoneError
    where extensions or data are not here, and nothing else is wrong. What code of extensions prints meanwhile goes to
    standard error: the output is the command's."""
    with redirect_stdout(sys.stderr):
        return _sweep_of(document)


def _sweep_of(document: Document) -> Sweep:
    extensions = extended(document)
    own = own_datasets.resolved(document)
    document = own.document
    faults = own.faults + faults_of(document)
    if isinstance(document.content, dict):
        faults += _contradictions(document)
    document.refuse(faults, GoneError if own.gone and {*faults} == {*own.gone} else SweepError)
    file = schema.parsed(document)
    trials: dict[str, Trial] = {}
    cells: dict[Cell, Trial] = {}
    identities = Identities()
    turns = {seed: turn for turn, seed in enumerate(file.pool)} if file.order == "coverage" else {}

    def made(cell: Cell, config: TrialConfig) -> Trial:
        identity = identities.of(config)
        turn = turns.get(config.seed, 0)
        return Trial(id=identity, config=config, cell=cell, resources=file.resources, keep=file.keep, turn=turn)

    for cell, config in _grid(file):
        cells[cell] = trial = made(cell, config)
        trials.setdefault(trial.id, trial)
    sweep = Sweep(
        name=file.name,
        description=file.description,
        path=document.path,
        trials=tuple(trials.values()),
        cells={cell: trial.id for cell, trial in cells.items()},
        report=file.report,
        retries=file.retries,
        notify=file.notify,
        price=file.price,
        carbon=file.carbon,
        extensions=extensions,
        own_data=own.sources,
        remarks=tuple(own.notes),
        tuning=tuple(tuning.tunings(file, made)),
        deciding=(asked := deciding.deciding(file, cells)),
    )
    if asked:
        document.refuse([*deciding.unreached(document, asked)])
        sweep = replace(sweep, remarks=(*sweep.remarks, *deciding.remarks(asked, file.resources)))
    return sweep.chosen({})


def extended(document: Document) -> tuple[Extension, ...]:
    """Makes the extensions known that the file names, and no others. Raises GoneError for those that are not there or
    cannot be imported, UsageError for those that the user has not trusted yet."""
    content = document.content if isinstance(document.content, dict) else {}
    named = content.get("extensions")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    faults, found = [], []
    for index, name in enumerate(names):
        try:
            found.append(finding.find(name, document.path.parent))
        except UsageError as error:
            faults.append(document.fault(("extensions", index), str(error)))
    document.refuse(faults, GoneError)
    trust.check_extensions(document.path, found)
    try:
        activate(found)
    except UsageError as error:
        document.refuse([document.fault(("extensions",), str(error))], GoneError)
    return tuple(found)


def activate(extensions: Sequence[Extension]) -> None:
    """Has sweep files and reports know these extensions, and no others. Raises UsageError."""
    changed = importing.activate(extensions)
    reported.install()
    if changed:
        schema.rebuild()


def _grid(file: SweepFile) -> Iterator[tuple[Cell, TrialConfig]]:
    """Every place of the grid and what is trained for it."""
    for data, network, (name, method) in product(file.datasets, file.networks, file.expanded_methods.items()):
        regimes = [(_built(network, regime), regime) for regime in method.regimes(network, data, file.weights)]
        assert regimes, f"{name} trains nothing of {network.label}"
        for seed, (built, regime) in product(file.pool, regimes):
            config = TrialConfig(network=built, data=data, regime=regime, training=file.training, seed=seed)
            yield cell_of(name, network, config), config


def _built(network: AnyNetwork, regime: Regime | Part) -> AnyNetwork:
    """An optimum has one prediction whatever the period: written as 1, sweeps that differ in it share the trial."""
    return replace(network, period=1) if isinstance(network, NetworkConfig) and isinstance(regime, Opt) else network


def _contradictions(document: Document) -> Iterator[Fault]:
    """Faults between parts of a file; a part that has a fault of its own is left out."""
    networks, datasets = sound_items(document, "networks"), sound_items(document, "datasets")
    methods, report = document.content.get("methods"), sound_section(document, "report")
    if isinstance(methods, dict) and report:
        yield from _baseline_faults(document, methods, report.baseline)
    for index, twin in _repeated(networks):
        yield document.fault(("networks", index), f"is the same as networks.{twin}")
    for index, twin in _repeated({index: data.name for index, data in datasets.items()}):
        yield document.fault(("datasets", index), f"is the same data set as datasets.{twin}")
    known = [data for data in datasets.values() if data.own != own_datasets.STAND_IN]
    wrong = networks_of_extensions.faults(document, networks, known)
    yield from wrong
    places = {fault.key for fault in wrong}
    sound = [network for index, network in networks.items() if ("networks", str(index)) not in places]
    yield from _weight_faults(document, sound, known)
    yield from _batch_faults(document, datasets.values())
    if training := sound_section(document, "training"):
        yield from tuning.faults(document, sound_items(document, "methods"), known, training.batch_size)
    yield from _regime_faults(document, sound, list(datasets.values()), known)
    if "decide" in document.content and document.content["decide"] is None:
        yield document.fault(("decide",), "is empty; must be a mapping with compare, or be left out")
    if asked := sound_section(document, "decide"):
        yield from _decide_faults(document, asked, sound, datasets.values())


def _baseline_faults(document: Document, methods: Collection[object], baseline: str) -> Iterator[Fault]:
    """Of a method with a grid, the baseline must be one point; one that has a fault of its own may have any."""
    sound = sound_items(document, "methods")
    unsound = [str(name) for name in methods if name not in sound]
    names: list[str] = []
    for name in methods:
        names += schema.expanded({str(name): sound[name]}) if name in sound else [str(name)]
    if baseline not in names and not any(baseline.startswith(f"{name} ") for name in unsound):
        if "baseline" in (document.content.get("report") or {}):
            said = f"given {baseline!r}; must be one of the methods"
        else:
            said = f"is missing: without it the baseline is {baseline!r}, which is none of the methods"
        yield document.fault(("report", "baseline"), f"{said}: {', '.join(names)}")


def _decide_faults(
    document: Document, asked: Decide, networks: Iterable[AnyNetwork], datasets: Iterable[DataConfig]
) -> Iterator[Fault]:
    seeds = document.content.get("seeds")
    if "seeds" not in document.content or sound_section(document, "seeds"):
        yield from deciding.seed_faults(document, asked, seeds)
    sound, given = sound_items(document, "methods"), document.content.get("methods")
    if isinstance(given, dict) and len(sound) == len(given):
        named = {str(name): method for name, method in sound.items()}
        whole = [name for name, method in schema.expanded(named).items() if method.regime != "opt"]
        places = [Place(data.name, network.label) for data, network in product(datasets, networks)]
        yield from deciding.comparison_faults(document, asked, whole, places)


def _weight_faults(
    document: Document, networks: Collection[AnyNetwork], datasets: Collection[DataConfig]
) -> Iterator[Fault]:
    """Weights that some network cannot have, such as opt(9) where there are 6 predictions."""
    common = sound_section(document, "weights")
    methods = {name: method for name, method in sound_items(document, "methods").items() if method.regime == "joint"}
    used: dict[Key, AnyWeights] = {
        (("methods", str(name), "weights") if method.weights else ("weights",)): weights
        for name, method in methods.items()
        if (weights := method.weights or common)
    }
    for name, method in methods.items():
        grid = method.tune.grid if method.tune else method.grid
        for index, given in enumerate(grid.get("weights", [])):
            used["methods", str(name), *(("tune",) if method.tune else ()), "grid", "weights", str(index)] = part_named(
                "weights", given
            )
    whole = bool(networks) and len(networks) == len(document.content["networks"])
    for at, weights in used.items():
        alike = [method for method in methods.values() if (method.weights or common) is weights]
        tried = dict.fromkeys([*networks, *(network for method in alike for network in method.tuned_on)])
        yield from unmatched(document, at, weights, tried, whole=whole)
        for network in tried:
            key, own = given_to(network, weights)
            try:
                if own and (image := _image(network, datasets)):
                    costs = network_costs(network, *image)
                    base_weights(own, costs, Progress(epoch=1, fraction=0.0))
            except (Exception, SystemExit) as error:  # an extension may raise anything
                yield document.fault(
                    (*at, *key), f"network {network.label}: {importing.located(error)}{importing.told(error)}"
                )


def _regime_faults(
    document: Document, networks: Iterable[AnyNetwork], datasets: list[DataConfig], known: list[DataConfig]
) -> Iterator[Fault]:
    """What a regime and the training cannot be together, such as weights of an extension's and ``head_decay``. None of
    it is of the data: those of the first set stand for all. Networks of extensions see ``known`` data sets alone."""
    training, weights = sound_section(document, "training"), sound_section(document, "weights")
    methods = sound_items(document, "methods") if training and weights else {}
    trained = [
        (name, method, network, data)
        for name, method in methods.items()
        for network in [*networks, *method.tuned_on]
        for data in (datasets if isinstance(network, NetworkConfig) else known)[:1]
    ]
    for name, method, network, data in trained:
        for variant in (method.points("") or method.variants("")).values():
            try:
                for regime in variant.regimes(network, data, weights):
                    _tried(TrialConfig(network=network, data=data, regime=regime, training=training))
            except (Exception, SystemExit) as error:  # an extension may raise anything
                yield document.fault(("methods", str(name)), f"{importing.located(error)}{importing.told(error)}")


def _tried(trial: TrialConfig) -> None:
    if trial.phases < 1:
        raise ValueError(f"regime {trial.regime.name}: count gives {trial.phases}, must give at least 1")
    steps, wanted = trial.phase_steps, trial.phases
    if len(steps) != wanted or not all(isinstance(each, int) and each > 0 for each in steps):
        raise ValueError(
            f"regime {trial.regime.name}: its phases have {list(steps)} steps, must be {wanted} whole numbers above 0"
        )


def _image(network: AnyNetwork, datasets: Iterable[DataConfig]) -> tuple[int, int, int] | None:
    """Classes, channels and pixels of a side: any will do for a network of ours, whose number of predictions is all
    that matters, and none are known to suit one of an extension's where no data are known."""
    if isinstance(network, NetworkConfig):
        return 10, 3, 32
    if (first := next(iter(datasets), None)) is None:
        return None
    spec = dataset_of(first)
    return spec.classes, spec.channels, spec.size


def _batch_faults(document: Document, datasets: Iterable[DataConfig]) -> Iterator[Fault]:
    training = sound_section(document, "training")
    for data in datasets if training else ():
        images = dataset_of(data).train_images - data.validation
        if training.batch_size > images:
            message = f"given {training.batch_size}; must be at most the {images} training images of {data.name}"
            yield document.fault(("training", "batch_size"), message)


def _repeated(values: Mapping[int, Any]) -> Iterator[tuple[int, int]]:
    """The key of each value that was there before, and the key of its first place."""
    first: dict[Any, int] = {}
    for key, value in values.items():
        if (place := first.setdefault(value, key)) != key:
            yield key, place
