"""Measures what it costs that a network can be interrupted: an AnytimePredictor with a deadline and an event that are
never reached, against a plain forward pass of the same network, which gives all of its predictions at the end.

::

    python benchmarks/predictor.py                                  # some minutes
    python benchmarks/predictor.py --repeats 3 --network 1 4 8 1    # to see that it works

The two take turns, A B B A, and each pair gives a ratio, so that what else the machine does falls on both alike. With
one thread, times are those in which that thread ran, so that others' work counts little. With ``--runtime`` the
exported network is a third. Networks are not trained, which changes no time.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import click
import numpy as np
import torch

from anytime_core.data.loader import Normalisation
from anytime_core.model.network import AnytimeResNet
from anytime_core.predictor import AnytimePredictor
from anytime_core.trained import TrainedNetwork
from orchestrator.inference.export import Description, export
from orchestrator.inference.onnx_runner import Network
from orchestrator.system.hardware import cpu_model

NETWORKS = ((2, 8, 8, 1), (5, 16, 32, 1), (9, 32, 32, 1), (5, 16, 32, 16))
CLASSES = 10
NEVER = 3600.0
"""Seconds: a deadline that is looked at and not reached."""
WARM_UP = 10

Run = Callable[[], object]


def timed(run: Run) -> float:
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    run()
    return clock() - started


def ratios(plain: Run, anytime: Run, repeats: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds of each, and of each pair the ratio; which one is first changes from pair to pair."""
    for _ in range(WARM_UP):
        plain()
        anytime()
    one: list[float] = []
    other: list[float] = []
    for index in range(repeats):
        for run, times in ((plain, one), (anytime, other))[:: -1 if index % 2 else 1]:
            times.append(timed(run))
    return one, other, [b / a for a, b in zip(one, other, strict=True)]


def network_of(n: int, c: int, channels: int) -> TrainedNetwork:
    network = AnytimeResNet(n, c, CLASSES, in_channels=channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    mean, std = (torch.full((1, channels, 1, 1), value) for value in (120.0, 60.0))
    return TrainedNetwork(network, Normalisation(mean, std)).eval()


def measure(n: int, c: int, side: int, images: int, repeats: int, folder: Path | None) -> list[dict[str, Any]]:
    """A row for the interface, and one for the exported network where there is a folder for it."""
    channels = 3
    network = network_of(n, c, channels)
    pixels = np.random.default_rng(0).integers(0, 256, (images, channels, side, side), dtype=np.uint8)
    predictor, stop = AnytimePredictor(network), Event()

    @torch.inference_mode()
    def plain() -> object:
        return network(torch.as_tensor(pixels)).softmax(2)

    others: dict[str, Run] = {"predictor": lambda: predictor.predict(pixels, deadline=NEVER, stop=stop)}
    if folder:
        names = [str(index) for index in range(CLASSES)]
        described = Description(trial="", label="", dataset="", size=side, classes=names)
        export(network, described, folder / "network.zip")
        runtime = Network(folder / "network.zip", threads=torch.get_num_threads())
        others["exported"] = lambda: runtime.predict(pixels, deadline=NEVER, stop=stop)
    rows = []
    for name, run in others.items():
        one, other, found = ratios(plain, run, repeats)
        low, _, high = quantiles(found, n=4)
        row = {"what": name, "network": f"({n},{c})", "pixels": side, "images": images, "units": 3 * n}
        spread = {"ratio": median(found), "ratio_low": low, "ratio_high": high, "ratio_of_least": min(other) / min(one)}
        rows.append(row | {"plain_ms": 1000 * median(one), "ms": 1000 * median(other)} | spread | {"n": repeats})
    return rows


@click.command()
@click.option("--network", "chosen", type=(int, int, int, int), multiple=True, help="n, c, pixels of a side, images.")
@click.option("--repeats", type=click.IntRange(min=2), default=200, show_default=True, help="Pairs.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--runtime", is_flag=True, help="The exported network too, in ONNX Runtime.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def main(chosen: tuple[tuple[int, int, int, int], ...], repeats: int, threads: int, runtime: bool, form: str) -> None:
    torch.set_num_threads(threads)
    with TemporaryDirectory() as folder:
        place = Path(folder) if runtime else None
        rows = [row for which in chosen or NETWORKS for row in measure(*which, repeats, place)]
    machine = {"cpu": cpu_model(), "threads": threads, "python": platform.python_version(), "torch": torch.__version__}
    if form == "json":
        click.echo(json.dumps({"machine": machine, "rows": rows}, indent=1))
        return
    click.echo(", ".join(f"{name} {value}" for name, value in machine.items()))
    click.echo("          network  pixels  images  units   plain ms        ms   ratio  quartiles        of least")
    for row in rows:
        click.echo(
            f"{row['what']:9} {row['network']:>7} {row['pixels']:7} {row['images']:7} {row['units']:6} "
            f"{row['plain_ms']:10.3f} {row['ms']:9.3f}  {row['ratio']:6.3f}  {row['ratio_low']:.3f} to "
            f"{row['ratio_high']:.3f}  {row['ratio_of_least']:8.3f}"
        )


if __name__ == "__main__":
    main()
