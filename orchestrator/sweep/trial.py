"""A trial: one network to train, where it stands in the sweep's tables, and what became of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from anytime_core.config import (
    MILESTONES,
    Absent,
    AnyNetwork,
    Joint,
    NetworkConfig,
    Opt,
    Transition,
    TrialConfig,
    from_dict,
    opt_unit,
    plain,
    resnet_label,
)
from anytime_core.cost import nearest_index, network_costs
from anytime_core.data.catalog import dataset_of
from anytime_core.errors import DataError
from anytime_core.result import TrialResult
from orchestrator.errors import UsageError
from orchestrator.sweep.keep import Keep
from orchestrator.text import counted

ID_LENGTH = 16
ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}")
"""What the id of a trial looks like."""
AUTO = "auto"
MOST_UNITS = 256
"""In a block; the longest residual network on record, of 1,202 layers, has 200."""
MOST_CHANNELS = 4096


class TrialState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    PAUSED = "paused"
    FAILED = "failed"
    DIVERGED = "diverged"
    FINISHED = "finished"

    @property
    def ended(self) -> bool:
        """Whether the trial has its final result and never runs again."""
        return self in (TrialState.DIVERGED, TrialState.FINISHED)


def trial_id(config: TrialConfig) -> str:
    """The identity of a trial: a hash of its fully resolved config, seed included. Key order and explicit defaults do
    not change it; nor does anything that cannot change the numbers, such as paths and resources, as it is not there."""
    return Identities().of(config)


def identity(config: Mapping[str, Any]) -> str:
    """The same of a config as JSON has it."""
    return _hashed(json.dumps(config, sort_keys=True, separators=(",", ":")))


def _hashed(canonical: str) -> str:
    return hashlib.sha256(canonical.encode()).hexdigest()[:ID_LENGTH]


class Identities:
    """``trial_id`` of many configs that share their parts, as those of a sweep do: each part is written out once.

    Parts are known by being the same object: equal ones may differ as JSON, as 0.0 and -0.0 do.
    """

    def __init__(self) -> None:
        self._written: dict[int, tuple[object, str]] = {}  # with the part, whose address is another's once it is gone

    def of(self, config: TrialConfig) -> str:
        """A hash of ``to_dict(config)`` as JSON, with its keys in order and no spaces."""
        part = self._part
        canonical = (
            f'{{"data":{part(config.data)},"network":{part(config.network)},"regime":{part(config.regime)},'
            f'"seed":{config.seed:d},"training":{part(config.training)}}}'
        )
        return _hashed(canonical)

    def _part(self, part: Any) -> str:
        if (known := self._written.get(id(part))) is None:
            text = json.dumps(plain(part), sort_keys=True, separators=(",", ":"), allow_nan=False)
            known = self._written[id(part)] = part, text
        return known[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What one trial occupies while it runs. It trains on one device: a GPU, or a share of it, unless ``gpus`` is 0;
    ``auto`` is the share that ``packing`` finds. On a CPU it has as many threads as ``cpus``."""

    cpus: int = 1
    gpus: float | str = 0.0

    @property
    def share(self) -> float:
        """Of a GPU; all of it while it is not known."""
        return 1.0 if isinstance(self.gpus, str) else self.gpus

    def __str__(self) -> str:
        """Such as ``1 CPU and 0.25 GPUs``."""
        gpus = "1 GPU" if self.share == 1 else f"{self.share:g} GPUs"
        return f"{counted(self.cpus, 'CPU')} and {'a share of a GPU' if self.gpus == AUTO else gpus}"

    def __post_init__(self) -> None:
        faults = [f"cpus is {self.cpus}, must be at least 1"] if self.cpus < 1 else []
        if isinstance(self.gpus, str) and self.gpus != AUTO:
            faults.append(f"gpus is {self.gpus!r}, must be {AUTO}, or between 0 and 1")
        elif not 0 <= self.share <= 1:
            faults.append(f"gpus is {self.gpus}, must be between 0 and 1: a trial trains on one device")
        if faults:
            raise ValueError("; ".join(faults))


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class OwnPlace:
    """The place of an extension's network in the tables, with all that they need of it, so that they can be made when
    its code is gone. ``costs`` are multiply-adds up to each prediction; ``fractions`` of the cost those of METRICS to
    which the prediction that an OPT trial is trained for is nearest."""

    label: str
    costs: tuple[int, ...]
    fractions: tuple[str, ...] = ()

    @property
    def predictions(self) -> int:
        return len(self.costs)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Cell:
    """The place of a trial in the tables. ``unit`` is the depth that an OPT trial is trained for.

    A network of an extension's is ``own``; of n, c, period and transition, by which ResNets make families, it has none:
    they are 0, 0, 1 and the default.
    """

    dataset: str
    n: int = 0
    c: int = 0
    period: int = 1
    method: str
    seed: int
    unit: int | None = None
    transition: Transition = "convolution"
    own: OwnPlace | None = None

    @property
    def network(self) -> str:
        """How tables call it, whosever it is."""
        return self.own.label if self.own else resnet_label(self.n, self.c, self.period, self.transition)

    @property
    def predicting_units(self) -> range:
        """Of the whole network, the last one first."""
        return range(self.own.predictions, 0, -1) if self.own else range(3 * self.n, 0, -self.period)

    @property
    def fractions(self) -> tuple[str, ...]:
        """Of the cost: those that an optimum stands for."""
        if self.own:
            return self.own.fractions
        return tuple(str(fraction) for fraction in MILESTONES if opt_unit(self.n, fraction) == self.unit)

    @property
    def label(self) -> str:
        unit = "" if self.unit is None else f" unit {self.unit}"
        return f"{self.method} {self.network} {self.dataset}{unit} seed {self.seed}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Where its tuning has a trial pause: at the end of the epoch that reaches ``step``. Once it is there ``rests``
    says why it does not go on; ``lost`` that this is for good, as others did better. ``likely`` are the steps that it
    has in the end if the points rank as in their grid: all points together have as many in any other order."""

    step: int
    likely: int
    rests: str = ""
    lost: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """``id`` is ``trial_id(config)``. ``resources``, ``keep``, ``pause`` and ``turn`` are no part of that. Trials of a
    lower ``turn`` run first.

    One that ``awaits`` a choice, which this says in words, stands in for the trial that will be chosen: its config is
    that of one candidate, its id that of no trial, and it cannot run."""

    id: str
    config: TrialConfig
    cell: Cell
    resources: Resources
    keep: Keep = field(default_factory=Keep)
    awaits: str = ""
    pause: Pause | None = None
    turn: int = 0

    @property
    def until(self) -> int:
        """The steps that it makes before it pauses or ends."""
        return min(self.pause.step, self.config.steps) if self.pause else self.config.steps

    @property
    def likely(self) -> int:
        """The steps that it makes in all, as far as that is known."""
        return min(self.pause.likely, self.config.steps) if self.pause else self.config.steps


def bracketed(text: str) -> str:
    """The text with networks as tables write them, (n,c): they may come without their brackets, or with a space."""
    return re.sub(r"(?:\(\s*)?\b(\d+)\s*,\s*(\d+)\b(?:\s*\))?", r" (\1,\2)", text)


def cell_of(method: str, network: AnyNetwork, config: TrialConfig) -> Cell:
    """``network`` is that of the sweep; an OPT trial's own differs from it in the period."""
    unit = config.regime.unit if isinstance(config.regime, Opt) else None
    place: dict[str, Any] = {"dataset": config.data.name, "method": method, "seed": config.seed, "unit": unit}
    if isinstance(network, NetworkConfig):
        return Cell(n=network.n, c=network.c, period=network.period, transition=network.transition, **place)
    if isinstance(network, Absent):
        return Cell(own=OwnPlace(label=network.label, costs=()), **place)
    spec = dataset_of(config.data)
    costs = tuple(network_costs(network, spec.classes, spec.channels, spec.size))
    return Cell(own=OwnPlace(label=network.label, costs=costs, fractions=_fractions(costs, unit)), **place)


def _fractions(costs: Sequence[int], unit: int | None) -> tuple[str, ...]:
    return tuple(str(fraction) for fraction in MILESTONES if unit and nearest_index(costs, fraction) == unit - 1)


def place_of(config: TrialConfig) -> Cell:
    """That of a trial whose sweep is not known: its method is called by the names of its parts."""
    regime = config.regime
    method = regime.strategy.name if isinstance(regime, Joint) else regime.name
    return cell_of(method, config.network, config)


def place_words(config: TrialConfig) -> dict[str, str | int | None]:
    """The same in words, as files of a trial's have it: which sweeps it is of, and what they call its method, may
    change after it was trained."""
    place = place_of(config)
    return {name: getattr(place, name) for name in ("method", "network", "dataset", "unit", "seed")}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """What the ledger holds of a trial that ended: its result, and where it came from."""

    trial_id: str
    config: dict[str, Any]
    result: TrialResult
    attempts: int
    provenance: dict[str, Any]

    @property
    def state(self) -> TrialState:
        return TrialState(self.result.state)


def config_of(record: TrialRecord) -> TrialConfig:
    """The config of a trial that ended. Raises UsageError for one that this version cannot read, as of a later version,
    or somebody's hand."""
    return config_in(record.config, f"trial {record.trial_id}")


def config_in(values: Mapping[str, Any], what: str) -> TrialConfig:
    """The same as JSON has it. Parts of extensions that are not here are ``Absent``. ``what`` it is of is said in the
    message."""
    try:
        config = from_dict(values)
        dataset_of(config.data)
        network = config.network
        if isinstance(network, NetworkConfig) and (network.n > MOST_UNITS or network.c > MOST_CHANNELS):
            raise ValueError(f"a network of n = {network.n}, c = {network.c} is none that can be")
    except (DataError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise UsageError(f"{what} cannot be read by this version: {reason}") from error
    return config


def steps_of(config: TrialConfig, record: TrialRecord | None = None) -> int | None:
    """The steps of its whole training; None where it has not finished, and only code that is gone knows them."""
    if record and record.state is TrialState.FINISHED:
        return record.result.steps
    try:
        return config.steps
    except ValueError:
        return None
