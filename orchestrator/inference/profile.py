"""How long each prediction of a trained network takes on this device, and what it costs. torch is imported where it
measures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

import numpy as np

from anytime_core.data.catalog import dataset_of
from anytime_core.files import write_atomically
from orchestrator.analysis import curves, pareto, sequences
from orchestrator.analysis.curves import Curve, Panel
from orchestrator.errors import UsageError
from orchestrator.inference import lookup
from orchestrator.inference.lookup import TrainedTrial
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.figures import drawing
from orchestrator.report.losses import Losses
from orchestrator.report.views import render
from orchestrator.stats import eann
from orchestrator.sweep.grid import Sweep
from orchestrator.system.hardware import cpu_model
from orchestrator.table import Column, Entry, Table
from orchestrator.text import counted

if TYPE_CHECKING:
    from anytime_core.predictor import ExponentialSequence

WARM_UP = 3
"""Calls that are not counted: the first ones take longer."""
RESOLUTION = time.get_clock_info("perf_counter").resolution


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Seconds from the call to a prediction: the median of ``n`` calls, and their first and third quartile."""

    median: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileSettings:
    """How to measure: so many calls, with so many images at once. None of a ``device`` is CUDA where there is one, of
    ``threads`` as many as torch takes."""

    repeats: int = 30
    batch: int = 1
    device: str | None = None
    threads: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What there is to show."""

    tables: tuple[Table, ...]
    panels: tuple[Panel, ...]


def of_networks(members: Sequence[TrainedTrial], ledger: Ledger, settings: ProfileSettings) -> Profile:
    """Measures a network, or a sequence of several."""
    with threads(settings.threads):
        predictor = lookup.predictor(members, ledger, settings.device)
        latencies = measure(predictor, _side(members[0]), repeats=settings.repeats, batch=settings.batch)
        device = device_name(predictor)
    return Profile(
        tables=(table(members, predictor, latencies, batch=settings.batch, device=device),),
        panels=(panel(members, latencies, batch=settings.batch, device=device),),
    )


def of_sweep(sweep: Sweep, ledger: Ledger, settings: ProfileSettings, *, by_time: bool) -> Profile:
    """Which of a sweep's networks is best at each budget. Raises UsageError where none has finished."""
    how = pareto.MULTIPLY_ADDS
    notes: list[str] = []
    times: dict[str, list[float]] | None = None
    if by_time:
        how = pareto.MILLISECONDS
        with threads(settings.threads):
            times, notes = _times(lookup.finished(sweep.trials, ledger), ledger, settings)
    by_dataset = pareto.candidates(curves.read(sweep, ledger), times)
    if not by_dataset:
        raise UsageError(f"{sweep.path}: none of its trials has finished in {ledger.storage}")
    return Profile(
        tables=tuple(pareto.table(name, candidates, how, notes) for name, candidates in by_dataset.items()),
        panels=tuple(
            pareto.panel(
                name, candidates, how, f"{'validation' if name in sweep.validated else 'test'} error (%)", notes
            )
            for name, candidates in by_dataset.items()
        ),
    )


def _times(
    trials: Sequence[TrainedTrial], ledger: Ledger, settings: ProfileSettings
) -> tuple[dict[str, list[float]], list[str]]:
    """Seconds up to each prediction of each network, by its trial's id; and notes on how they were measured."""
    times: dict[str, list[float]] = {}
    notes: list[str] = []
    for it in trials:
        predictor = lookup.predictor([it], ledger, settings.device)
        latencies = measure(predictor, _side(it), repeats=settings.repeats, batch=settings.batch)
        times[it.trial_id] = _ascending([latency.median for latency in latencies])
        notes = [f"Measured on {device_name(predictor)}. {_note(latencies, settings.batch)}"]
    return times, notes


def _side(trial: TrainedTrial) -> int:
    return dataset_of(trial.config.data).size


def write(profile: Profile, folder: Path, losses: Losses) -> list[Path]:
    """The tables as .csv, the figure as .png and .svg. An error costs no more than the figure, and is counted in
    ``losses``; raises OSError where the tables cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{it.name}.csv" for it in profile.tables]
    for path, it in zip(paths, profile.tables, strict=True):
        write_atomically(path, f"{render.as_csv(render.table_rows(it), render.headings(it))}\n".encode())
    name = profile.tables[0].name.partition("-")[0]
    with losses.counted(f"figure {name} is not drawn"):
        paths += drawing.save(drawing.drawn(name, profile.panels), folder)
    return paths


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """As many of torch's, on the CPU, as are asked for."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(predictor: ExponentialSequence, side: int, *, repeats: int, batch: int = 1) -> list[Latency]:
    """Of each answer, on a batch of random pixels of ``side`` x ``side``; on the device of the predictor."""
    end = int(predictor.spec.brightest or 255)
    pixels = np.random.default_rng(0).integers(0, end, (batch, predictor.channels, side, side), np.uint8, endpoint=True)
    for _ in range(WARM_UP):
        predictor.predict(pixels)
    calls = [[answer.seconds for answer in predictor.refine(pixels)] for _ in range(repeats)]
    return [_latency(times) for times in zip(*calls, strict=True)]


def _latency(times: Sequence[float]) -> Latency:
    low, _, high = quantiles(times, n=4, method="inclusive") if len(times) > 1 else (times[0],) * 3
    return Latency(median=median(times), low=low, high=high, n=len(times))


def device_name(predictor: ExponentialSequence) -> str:
    """Such as ``AMD EPYC 7763, 2 threads``."""
    import torch

    if predictor.device.type == "cuda":
        return str(torch.cuda.get_device_name(predictor.device))
    return f"{cpu_model() or 'CPU'}, {counted(torch.get_num_threads(), 'thread')}"


def errors(members: Sequence[TrainedTrial]) -> list[float]:
    """In percent, of each answer, as the ledger has them."""
    return [point.error for point in eann.sequence_curve([sequences.member(it.record.result) for it in members])]


def table(
    members: Sequence[TrainedTrial],
    predictor: ExponentialSequence,
    latencies: Sequence[Latency],
    *,
    batch: int,
    device: str,
) -> Table:
    """A line for each answer."""
    costs = predictor.costs(dataset_of(members[0].config.data).size)
    rows = [
        (
            Entry(value=index + 1),
            *([Entry(value=members[member].label)] if len(members) > 1 else []),
            Entry(value=unit),
            Entry(value=costs[index]),
            Entry(value=costs[index] / costs[-1], digits=4),
            Entry(value=1000 * latency.median, digits=3),
            Entry(value=1000 * latency.low, digits=3),
            Entry(value=1000 * latency.high, digits=3),
            Entry(value=error),
        )
        for index, ((member, unit), latency, error) in enumerate(
            zip(predictor.units, latencies, errors(members), strict=True)
        )
    ]
    names = ("unit", "multiply-adds", "relative", "ms", "ms low", "ms high", "error %")
    return Table(
        name="profile",
        title=f"{_title(members)} on {device}",
        columns=(
            Column(name="prediction"),
            *([Column(name="network", numeric=False)] if len(members) > 1 else []),
            *(Column(name=name) for name in names),
        ),
        rows=tuple(rows),
        notes=(_note(latencies, batch), f"Error on {_kind(members)} images, from the ledger."),
    )


def _note(latencies: Sequence[Latency], batch: int) -> str:
    images = "1 image" if batch == 1 else f"{batch} images at once"
    return f"ms: median, first and third quartile of n = {latencies[0].n} calls with {images}, after {WARM_UP} others."


def _title(members: Sequence[TrainedTrial]) -> str:
    return " then ".join(it.label for it in members)


def _kind(members: Sequence[TrainedTrial]) -> str:
    return "validation" if members[0].config.data.validated else "test"


def panel(members: Sequence[TrainedTrial], latencies: Sequence[Latency], *, batch: int, device: str) -> Panel:
    """Error against measured time: an answer stands until the next."""
    times = tuple(1000 * latency.median for latency in latencies)
    return Panel(
        kind="steps",
        title=_title(members),
        x_label="time (ms)",
        y_label=f"{_kind(members)} error (%)",
        curves=(Curve(label="answer so far", x=times, y=tuple(errors(members))),),
        notes=(device, _note(latencies, batch)),
    )


def _ascending(times: Sequence[float]) -> list[float]:
    """A sequence needs costs that grow, and medians of neighbours may be equal within the clock's resolution."""
    costs: list[float] = []
    for value in times:
        costs.append(max(value, costs[-1] + RESOLUTION) if costs else value)
    return costs
