"""From a cell of a table to its trial, to all that is known of how it came about, and to whether a rerun agrees."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anytime_core.config import is_here, to_dict
from anytime_core.cost import trial_costs
from anytime_core.result import EpochMetrics
from orchestrator.analysis import expense, time_spent
from orchestrator.analysis.answers import kept_of, metric_values
from orchestrator.errors import UsageError
from orchestrator.ledger import notes
from orchestrator.ledger.guarantees_file import Calibration
from orchestrator.ledger.ledger import Attempt, Failure, Ledger
from orchestrator.ledger.notes import Note
from orchestrator.sweep.by_code import one_code, went_on
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.metrics import METRICS, errors_of
from orchestrator.sweep.trial import (
    ID_LENGTH,
    Cell,
    Resources,
    Trial,
    TrialRecord,
    TrialState,
    bracketed,
    config_in,
    place_of,
)
from orchestrator.sweep.tuning import Tuning
from orchestrator.text import counted

SHORTEST_PREFIX = 4
MOST_CANDIDATES = 20
"""That the message on an ambiguous cell lists."""

EXPLAINING = (
    "code_version",
    "sources",
    "code",
    "data_hash",
    "threads",
    "device_name",
    "gpu_driver",
    "cuda",
    "python",
    "torch",
    "numpy",
    "environment",
)
"""What of a trial's provenance may be why its bits are others than those of its rerun."""
OF_EPOCH = ("step", "learning_rate")
OF_PREDICTION = ("train_loss", "train_error", "test_loss", "test_error", "probabilities")
OF_TRAINING = ("train_loss", "train_error", "probabilities")
"""The same of an epoch that one of the two has not evaluated."""


# Finding


def find(sweep: Sweep, given: str) -> Trial:
    """The trial that is meant: by its id, by a prefix of it, or by the words of a cell, such as
    ``aann (7,16) cifar10 seed 1``, in any order and no more than are needed.

    Raises UsageError where that is no trial, or more than one: it lists what there is.
    """
    meant = _meant(sweep, given)
    if len(meant) != 1:
        raise UsageError(_ambiguous(sweep, given, meant) if meant else _unknown(sweep, given))
    return meant[0]


def find_stored(sweep: Sweep, given: str, ledger: Ledger) -> Trial:
    """The same, or else a trial of the storage by its id or a prefix of it: one of another sweep, or of another version
    of an extension. It can be shown, but its code may be gone. Raises UsageError, StorageError."""
    ids = [] if _meant(sweep, given) else stored(ledger, given)
    if len(ids) > 1:
        listed = ", ".join(ids[:MOST_CANDIDATES])
        raise UsageError(f"{given!r} may be {len(ids)} trials in {ledger.storage}: {listed}; give more digits of one")
    return _trial_of(ids[0], ledger) if ids else find(sweep, given)


def _meant(sweep: Sweep, given: str) -> list[Trial]:
    trials = {trial.id: trial for trial in sweep.trials}
    return [trials[given]] if given in trials else by_words(sweep, given) or _by_prefix(sweep, given)


def stored(ledger: Ledger, given: str) -> list[str]:
    """The ids of the storage that have this prefix. Raises StorageError."""
    return sorted(name for name in ledger.begun() if is_prefix(given, name))


def _trial_of(trial_id: str, ledger: Ledger) -> Trial:
    values = ledger.config(trial_id)
    if values is None:
        raise UsageError(f"trial {trial_id} in {ledger.storage}: its config is lost, or damaged")
    config = config_in(values, f"trial {trial_id}")
    return Trial(id=trial_id, config=config, cell=place_of(config), resources=Resources())


def by_words(sweep: Sweep, given: str) -> list[Trial]:
    """Those with all of these words in the label of a cell; a cell that has no other word comes before all. Trials of a
    tuning are meant where no cell of the tables is."""
    words = _words(given)
    return _labelled(sweep, words, sweep.cells) or _labelled(sweep, words, _tuning_cells(sweep))


def cells_by_words(sweep: Sweep, given: str) -> dict[Cell, str]:
    """The cells of the tables that are meant, with their trials: all of them by no words; else those that have all of
    these words, or whose trial has this id. Raises UsageError where there are none."""
    if not given.strip():
        return dict(sweep.cells)
    found = _with_words(_words(given), sweep.cells)
    found = found or {cell: name for cell, name in sweep.cells.items() if is_prefix(given, name)}
    if not found:
        raise UsageError(_unknown(sweep, given))
    return found


def _tuning_cells(sweep: Sweep) -> dict[Cell, str]:
    """The places of trials that stand in no table, as words find them."""
    return {trial.cell: trial.id for one in sweep.tuning for trial in one.trials}


def _labelled(sweep: Sweep, words: frozenset[str], cells: Mapping[Cell, str]) -> list[Trial]:
    ids = set(_with_words(words, cells).values())
    return [trial for trial in sweep.trials if trial.id in ids]


def _with_words(words: frozenset[str], cells: Mapping[Cell, str]) -> dict[Cell, str]:
    found = {}
    for cell, trial_id in cells.items():
        own = _words(cell.label)
        if words and words == own:
            return {cell: trial_id}
        if words and words <= own | (set() if cell.own else {cell.transition}):
            found[cell] = trial_id
    return found


def _words(text: str) -> frozenset[str]:
    """Such as {aann, (7,16), cifar10, seed=1}; a network may come without its brackets, or with a space."""
    text = re.sub(r"\b(seed|unit)[\s=:]+(\d+)", r"\1=\2", bracketed(text), flags=re.IGNORECASE)
    return frozenset(text.casefold().split())


def _by_prefix(sweep: Sweep, given: str) -> list[Trial]:
    return [trial for trial in sweep.trials if is_prefix(given, trial.id)]


def is_prefix(given: str, trial_id: str) -> bool:
    """Whether it is the first digits of an id, and enough of them."""
    prefix = given.strip().casefold()
    return bool(re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},{ID_LENGTH}}}", prefix)) and trial_id.startswith(prefix)


def _ambiguous(sweep: Sweep, given: str, candidates: Sequence[Trial]) -> str:
    shown = [f"  {trial.id}  {_label(sweep, trial, given)}" for trial in candidates[:MOST_CANDIDATES]]
    more = [f"  and {left} more"] if (left := len(candidates) - len(shown)) else []
    head = f"{sweep.path}: {given!r} may be {len(candidates)} trials; give more words, or the id, of one:"
    return "\n".join([head, *shown, *more])


def _label(sweep: Sweep, trial: Trial, given: str) -> str:
    """Of the cell that was meant: a trial that several share has one for each."""
    labels = [cell.label for cell in cells_of(sweep, trial)]
    return next((label for label in labels if _words(given) <= _words(label)), labels[0])


def _unknown(sweep: Sweep, given: str) -> str:
    names: dict[str, Callable[[Cell], object]] = {
        "methods": lambda cell: cell.method,
        "networks": lambda cell: cell.network,
        "data sets": lambda cell: cell.dataset,
        "seeds": lambda cell: cell.seed,
        "units": lambda cell: cell.unit,
    }
    there = {name: dict.fromkeys(map(of, sweep.cells)) for name, of in names.items()}
    lines = [f"  {name}: {_listed(values)}" for name, values in there.items() if any(v is not None for v in values)]
    head = f"{sweep.path}: no cell is {given!r}; words of cells are:"
    return "\n".join([head, *lines, f"  or an id, or its first {SHORTEST_PREFIX} digits or more"])


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values if value is not None)


def cells_of(sweep: Sweep, trial: Trial) -> tuple[Cell, ...]:
    """All places of the sweep that the trial stands in: of its tables, or of a tuning."""
    places = {**sweep.cells, **_tuning_cells(sweep)}
    return tuple(cell for cell, trial_id in places.items() if trial_id == trial.id)


# Tracing


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionError:
    """``number`` counts from 1; ``cost`` is in multiply-adds of one image, ``share`` that of the last prediction's
    cost; ``error`` in percent, None unless the trial has finished."""

    number: int
    unit: int
    cost: int
    share: float
    error: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """All that is known of a trial. ``cells`` are its places in the sweep, none of a trial that is not of it, whose
    ``sweep`` is the one that trained it, where that is known. ``metrics`` are its errors in the tables, in percent, by
    metric, and ``outcomes`` what its answers to single images come to, empty where these are not kept; ``guarantees``
    the thresholds that were found for its network; ``files`` those of its that are there; ``notes`` what people noted
    of it. ``tuning`` is each choice that it was, or may be, the result of, or that it was tried for. ``seconds`` is
    where its time went, by part, and ``load`` how busy its machine was, both empty where nobody measured;
    ``expense`` the energy and the money that it took, once it has ended; ``log_size`` is in bytes, None without one."""

    sweep: str
    trial: Trial
    cells: tuple[Cell, ...]
    state: TrialState
    step: int
    attempt: Attempt | None
    record: TrialRecord | None
    failure: Failure | None
    predictions: tuple[PredictionError, ...]
    metrics: Mapping[str, float | None]
    outcomes: Mapping[str, float | None]
    guarantees: tuple[Calibration, ...]
    files: Mapping[str, str]
    tuning: tuple[Tuning, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    load: Mapping[str, float] = field(default_factory=dict)
    expense: Mapping[str, float | None] = field(default_factory=dict)
    log_size: int | None = None
    notes: tuple[Note, ...] = ()


def trace(sweep: Sweep, trial: Trial, ledger: Ledger) -> Trace:
    """Reads what the ledger holds of a trial, ended or not. Raises StorageError."""
    standing, cells, attempt = ledger.standing(trial.id), cells_of(sweep, trial), ledger.attempt(trial.id)
    epochs = ledger.epochs(trial.id) if standing.attempts else []
    name = sweep.name if cells else attempt.sweep if attempt else ""
    return Trace(
        sweep=name,
        trial=trial,
        cells=cells,
        state=standing.under(ledger.driver(name) if name else None),
        step=standing.step,
        attempt=attempt,
        record=standing.record,
        failure=ledger.last_failure(trial.id) if standing.state is TrialState.FAILED else None,
        predictions=tuple(_predictions(trial, standing.record)),
        metrics=_metrics(trial.cell, standing.record),
        outcomes=_outcomes(trial, ledger) if standing.state is TrialState.FINISHED else {},
        guarantees=_guarantees(trial, standing.record, ledger),
        files=ledger.files(trial.id),
        tuning=tuple(one for one in sweep.tuning if trial.id in {it.id for it in (*one.trials, *one.results.values())}),
        seconds=time_spent.seconds_by_part(epochs, standing.record.provenance if standing.record else {}),
        load=time_spent.load(epochs),
        expense=expense.numbers(sweep, expense.expense(standing.record)) if standing.record else {},
        log_size=ledger.log_size(trial.id),
        notes=tuple(notes.seen(ledger, "trials", [trial.id]).get(trial.id, ())),
    )


def _predictions(trial: Trial, record: TrialRecord | None) -> Iterator[PredictionError]:
    """None of a trial that has not ended, and whose code is gone."""
    if not record and not is_here(trial.config):
        return
    units = record.result.units if record else trial.config.predicting_units
    costs = record.result.costs if record else trial_costs(trial.config)
    errors = record.result.errors if record else ()
    for index, (unit, cost) in enumerate(zip(units, costs, strict=True)):
        error = errors[index] if index < len(errors) else None
        yield PredictionError(number=index + 1, unit=unit, cost=cost, share=cost / costs[-1], error=error)


def _metrics(cell: Cell, record: TrialRecord | None) -> dict[str, float | None]:
    errors = errors_of(cell, record) if record and record.state is TrialState.FINISHED else {}
    return {metric: errors.get(metric) for metric in METRICS}


def _outcomes(trial: Trial, ledger: Ledger) -> dict[str, float | None]:
    kept = kept_of(ledger.outcomes(trial.id), held_out=trial.config.data.validated)
    return metric_values(kept) if kept else {}


def _guarantees(trial: Trial, record: TrialRecord | None, ledger: Ledger) -> tuple[Calibration, ...]:
    """None of another network than the trial's."""
    kept = ledger.guarantees(trial.id)
    trained = record.provenance.get("network_hash") if record else None
    return kept.calibrations if kept and trained in (None, kept.network_hash) else ()


# Comparing


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRecord:
    """One training of a trial to its end. ``epochs`` and ``network_hash`` are empty where they are not known."""

    record: TrialRecord
    epochs: tuple[EpochMetrics, ...]
    network_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """``what`` names the place, such as ``test_loss of prediction 2 in epoch 3``; None is absent."""

    what: str
    recorded: Any
    rerun: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class RerunComparison:
    """``differences`` holds the first of each kind, in the order in which a trial makes its numbers; ``provenance``
    what may explain them, ``lacking`` in words what could not be compared."""

    trial: Trial
    recorded: TrainingRecord
    rerun: TrainingRecord
    differences: tuple[Difference, ...]
    provenance: tuple[Difference, ...]
    lacking: tuple[str, ...]

    @property
    def same_bits(self) -> bool:
        """Whether the errors, the metrics of the epochs and the network are equal to the bit. A network that could not
        be compared is not."""
        return not self.differences and bool(self.recorded.network_hash)


def compare(trial: Trial, recorded: TrainingRecord, rerun: TrainingRecord) -> RerunComparison:
    """What two trainings of a trial differ in. Times, and who trained it, are no differences."""
    firsts = (
        next(_config_differences(trial, recorded), None),
        next(epoch_differences(recorded.epochs, rerun.epochs), None) if recorded.epochs else None,
        next(result_differences(recorded.record, rerun.record), None),
        _network_difference(recorded, rerun),
    )
    lacking = {"metrics of epochs": not recorded.epochs, "bits of the network": not recorded.network_hash}
    return RerunComparison(
        trial=trial,
        recorded=recorded,
        rerun=rerun,
        differences=tuple(first for first in firsts if first),
        provenance=tuple(provenance_differences(recorded.record, rerun.record)),
        lacking=tuple(name for name, absent in lacking.items() if absent),
    )


def _config_differences(trial: Trial, recorded: TrainingRecord) -> Iterator[Difference]:
    own, kept = flat(to_dict(trial.config)), flat(recorded.record.config)
    for name in own | kept:
        if own.get(name) != kept.get(name):
            yield Difference(what=f"config: {name}", recorded=kept.get(name), rerun=own.get(name))


def epoch_differences(recorded: Sequence[EpochMetrics], rerun: Sequence[EpochMetrics]) -> Iterator[Difference]:
    """In the order in which a training makes its numbers, to the bit."""
    for before, now in zip(recorded, rerun, strict=False):
        for name in OF_EPOCH:
            if not _same(getattr(before, name), getattr(now, name)):
                what = f"{name} of epoch {now.epoch}"
                yield Difference(what=what, recorded=getattr(before, name), rerun=getattr(now, name))
        for name in OF_PREDICTION if before.evaluated and now.evaluated else OF_TRAINING:
            yield from _differences(name, f" in epoch {now.epoch}", getattr(before, name), getattr(now, name))
    if len(recorded) != len(rerun):
        yield Difference(what="number of epochs", recorded=len(recorded), rerun=len(rerun))


def result_differences(recorded: TrialRecord, rerun: TrialRecord) -> Iterator[Difference]:
    if recorded.state != rerun.state:
        yield Difference(what="state", recorded=str(recorded.state), rerun=str(rerun.state))
    yield from _differences("final error", "", recorded.result.errors, rerun.result.errors)
    for name in ("steps", "units", "costs"):
        before, now = getattr(recorded.result, name), getattr(rerun.result, name)
        if before != now:
            yield Difference(what=name, recorded=before, rerun=now)


def _network_difference(recorded: TrainingRecord, rerun: TrainingRecord) -> Difference | None:
    if not recorded.network_hash or recorded.network_hash == rerun.network_hash:
        return None
    return Difference(what="network_hash", recorded=recorded.network_hash, rerun=rerun.network_hash)


def provenance_differences(recorded: TrialRecord, rerun: TrialRecord) -> Iterator[Difference]:
    """What may be why their bits differ, by the names of EXPLAINING."""
    pair = (recorded.provenance, rerun.provenance)
    hashed = all(provenance.get("sources") for provenance in pair)
    same = hashed and code_of(recorded) == code_of(rerun)
    needless = {"code_version", "code"} if same else set() if hashed else {"sources"}
    codes = [provenance.get("code") for provenance in pair]
    needless |= set() if all(codes) else {"code"}
    if all(codes) and codes[0] == codes[1]:  # other sources, but not where these trials come to them
        needless |= {"code_version", "sources"}
    for name in EXPLAINING:
        before, now = (provenance.get(name) for provenance in pair)
        if before != now and name not in needless:
            yield Difference(what=name, recorded=before, rerun=now)


def _differences(name: str, where: str, recorded: Sequence[float], rerun: Sequence[float]) -> Iterator[Difference]:
    """Between the values of all predictions."""
    for index in range(max(len(recorded), len(rerun))):
        before, now = ((values[index] if index < len(values) else None) for values in (recorded, rerun))
        if not _same(before, now):
            yield Difference(what=f"{name} of prediction {index + 1}{where}", recorded=before, rerun=now)


def _same(one: float | None, other: float | None) -> bool:
    """To the bit: 0 is not -0. All NaNs are one, as JSON keeps no more of them."""
    return one is other or (one is not None and other is not None and float(one).hex() == float(other).hex())


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with keys such as ``training.learning_rate.0``."""
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return leaves


# Mixed versions


def mixed(records: Iterable[TrialRecord]) -> list[str]:
    """What the trials behind one table do not have in common, a sentence each, such as ``12 trials by code 1a2b3c, 3 by
    4d5e6f-dirty.9f2c1d``: their code, the data of a data set, their device, torch, and the variables that change bits.
    Empty if they have it all."""
    records = list(records)
    by_dataset: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in records:
        by_dataset[record.config["data"]["name"]].append(record)
    notes = [
        _counted(_codes(records), "by code"),
        *(_counted(_values(own, "data_hash"), f"on {name}") for name, own in by_dataset.items()),
        _counted((str(record.provenance.get("device_name") or record.result.device) for record in records), "on"),
        _counted(_values(records, "torch"), "with torch"),
        _counted(_values(records, "environment", "no variable that changes bits"), "with"),
    ]
    return [note for note in notes if note]


def code_of(record: TrialRecord) -> str:
    """What trained it: the hash of the sources, which two commits may share and two copies of a version may not; of a
    record from before there was one, its version."""
    return str(record.provenance.get("sources") or record.provenance.get("code_version") or "unknown")


def _codes(records: Sequence[TrialRecord]) -> Iterator[str]:
    """The code of each record by its version, as people know it, and by the sources where two have one version. They
    are all alike where one code trains each of them as it was."""
    if one_code(records):
        return
    versions: dict[str, str] = {}
    for record in records:
        versions.setdefault(code_of(record), str(record.provenance.get("code_version") or "unknown"))
    shared = Counter(versions.values())
    for record in records:
        code, known = code_of(record), versions[code_of(record)]
        begun = ", begun by other code" if went_on(record) else ""
        yield (known if shared[known] == 1 else f"{known} (sources {code})") + begun


def _values(records: Iterable[TrialRecord], name: str, absent: str = "unknown") -> Iterator[str]:
    return (str(record.provenance.get(name) or absent) for record in records)


def _counted(values: Iterable[str], preposition: str) -> str:
    """Empty unless they differ; the most frequent comes first."""
    counts = Counter(values).most_common()
    if len(counts) < 2:
        return ""
    (first, count), *rest = counts
    others = [f"{number} {preposition.split()[0]} {value}" for value, number in rest]
    return ", ".join([f"{counted(count, 'trial')} {preposition} {first}", *others])
