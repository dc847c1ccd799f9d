"""Measures a training step of ours beside the usual ways to write one.

::

    python benchmarks/trainer.py                                       # (3,16): ours and (a); minutes on a CPU
    python benchmarks/trainer.py --network 7,16 --network 9,128        # on CUDA, with all variants
    python benchmarks/trainer.py --variants ours-compiled b1 b2 c      # compiling takes minutes on a CPU

(a) is a float32 loop with a loader of one image at a time; (b1) has bfloat16, channels_last and torch.compile; (b2)
also its mode "reduce-overhead"; (c) is Lightning, where it imports. All train the same network, ANN, on the same
images, with the same optimiser (``baselines.py``), and take turns. Loading is part of a step. A ratio above 1 says how
many times faster ours is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from threading import Semaphore, Thread
from typing import Any

import torch

import baselines
import harness
from anytime_core.config import TrialConfig
from anytime_core.data.dataset import Images
from anytime_core.model.graphs import Mode
from harness import Found, NotHereError, Row
from ours import OurLoop

NAMES = {
    "ours": "ours: a CUDA graph, or eager on a CPU",
    "ours-eager": "ours, call by call",
    "ours-compiled": "ours, units compiled",
    "ours-fastest": "ours, by cuDNN's fastest algorithms, other bits each time",
    "a": "(a) the usual loop, float32",
    "b1": "(b1) bfloat16, channels_last, torch.compile",
    "b2": "(b2) the same, reduce-overhead",
    "c": "(c) Lightning",
}
ON_CPU, ON_CUDA = ("ours", "a"), tuple(NAMES)


@dataclass(frozen=True, slots=True)
class Setting:
    config: TrialConfig
    images: Images
    device: torch.device
    workers: int
    ending: ExitStack
    """What ends with the measurement."""


class Lockstep:
    """Work that calls back after each step, in a thread that waits there until it may make the next one."""

    def __init__(self, work: Callable[[Callable[[], None]], object]) -> None:
        self._may, self._done = Semaphore(0), Semaphore(0)
        self._error: BaseException | None = None
        self._closed = False
        self._thread = Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[Callable[[], None]], object]) -> None:
        self._may.acquire()
        try:
            work(self._after_step)
        except BaseException as error:
            self._error = error
        self._done.release()

    def _after_step(self) -> None:
        self._done.release()
        self._may.acquire()
        if self._closed:
            raise SystemExit

    def close(self) -> None:
        """The step that it waits for is not made."""
        self._closed = True
        self._may.release()
        self._thread.join()

    def steps(self, count: int) -> None:
        for _ in range(count):
            self._may.release()
            self._done.acquire()
            if self._error:
                raise RuntimeError(f"{type(self._error).__name__}: {self._error}") from self._error


def usual(setting: Setting, variant: str) -> tuple[Callable[[int], None], str]:
    """One of the usual loops, from the weights of ours; and whose transforms its loader has."""
    run = OurLoop(setting.config, setting.images, setting.device, "eager").run
    model, weights = baselines.twin_of(run.network), run.phase.weights
    data, training = setting.config.data, setting.config.training
    loader, whose = baselines.usual_loader(
        setting.images, data.pad, data.flip, training.batch_size, setting.workers, setting.device.type == "cuda"
    )
    if variant == "c":
        return _lightning(model, weights, setting, loader), whose
    if variant == "a":
        loop = baselines.UsualLoop(model, weights, training, loader, setting.device)
    else:
        mode = {"b1": None, "b2": "reduce-overhead"}[variant]
        loop = baselines.TunedLoop(model, weights, training, loader, setting.device, mode)
    return partial(_with_usual_settings, loop.steps), whose


def _with_usual_settings(steps: Callable[[int], None], count: int) -> None:
    with harness.fastest_algorithms():
        steps(count)


def _lightning(model: Any, weights: Any, setting: Setting, loader: Any) -> Callable[[int], None]:
    module = baselines.lightning_loop(model, weights, setting.config.training)

    def fit(after_step: Callable[[], None]) -> None:
        baselines.lightning_trainer(setting.config.training.steps, setting.device, after_step).fit(module, loader)

    lockstep = Lockstep(fit)
    setting.ending.callback(lockstep.close)
    return partial(_with_usual_settings, lockstep.steps)


def ours(setting: Setting, variant: str) -> Callable[[int], None]:
    mode: Mode = "eager" if variant == "ours-eager" else "auto"
    config = replace(setting.config, training=replace(setting.config.training, compiled=variant == "ours-compiled"))
    return OurLoop(config, setting.images, setting.device, mode, fastest=variant == "ours-fastest").steps


def measured(network: tuple[int, int], options: argparse.Namespace, images: Images, found: Found) -> None:
    """Adds the rows of one network, and what there is to say."""
    n, c = network
    period = 3 if n >= 25 else 1
    config = harness.trial(n, c, period=period, data=options.data, batch=options.batch, precision=options.precision)
    with ExitStack() as ending:
        _measured(Setting(config, images, options.device, options.workers, ending), options, found)


def _measured(setting: Setting, options: argparse.Namespace, found: Found) -> None:
    network = (setting.config.resnet.n, setting.config.resnet.c)
    name = f"({network[0]},{network[1]})"
    loops: dict[str, Callable[[int], None]] = {}
    first: dict[str, float] = {}
    # Ours first: a loader has a thread that asks CUDA for memory, which no capture may meet.
    for variant in (name for name in NAMES if name == "ours" or name in options.variants):
        if variant in ("ours-eager", "ours-fastest") and options.device.type == "cpu":
            continue  # it is ours
        try:
            loop = (
                ours(setting, variant)
                if variant.startswith("ours")
                else _noted(usual(setting, variant), found["notes"])
            )
            first[variant] = harness.seconds_of(partial(loop, 1), options.device)
            loop(3)  # what fails, fails in its first steps
            loops[variant] = loop
        except NotHereError as error:
            found["notes"].append(f"{NAMES[variant]} left out: {error}")
        except Exception as error:  # what cannot run is told, and the rest goes on
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            found["faults"].append(f"{name}, {NAMES[variant]}: {said}")
    harness.say(f"{name}: {', '.join(loops)}")
    if "ours" not in loops:
        return
    turns = harness.in_turns(loops, options.steps, options.repeats, options.device)
    found["rows"] += [_row(network, name, turns, first[name], options.device) for name in loops]


def _noted(found: tuple[Callable[[int], None], str], notes: list[str]) -> Callable[[int], None]:
    loop, whose = found
    notes.append(f"the loader's transforms are {whose}")
    return loop


def _row(network: tuple[int, int], name: str, turns: harness.Turns, first: float, device: torch.device) -> Row:
    row: Row = {"network": f"({network[0]},{network[1]})", "variant": NAMES[name]}
    row |= harness.spread(turns.wall[name], "ms", 1e3)
    row |= harness.spread(harness.ratios(turns.wall[name], turns.wall["ours"]), "over_ours")
    if "ours-compiled" in turns.wall:
        row |= harness.spread(harness.ratios(turns.wall[name], turns.wall["ours-compiled"]), "over_ours_compiled")
    if device.type == "cpu":
        row |= harness.spread(harness.ratios(turns.cpu[name], turns.cpu["ours"]), "over_ours_in_CPU_time")
    return row | {"first_step_s": first}


def benchmark(options: argparse.Namespace) -> Found:
    images, which = harness.images_for(options.data, options.data_root, max(options.images, options.batch), 500)
    cuda = options.device.type == "cuda"
    options.variants = options.variants or (ON_CUDA if cuda else ON_CPU)
    options.workers = (8 if cuda else 0) if options.workers is None else options.workers
    options.precision = options.precision or harness.usual_precision(options.device)
    found: Found = {"rows": [], "notes": [], "faults": []}
    for network in options.network or [(3, 16)]:
        measured(network, options, images, found)
    found["notes"] += [
        f"batch {options.batch}, {which}; ours in {options.precision}; {options.workers} workers for the usual loaders",
        f"n = {options.repeats} turns of {options.steps} steps, A B A B: the median, and least to most",
        "the first step holds compiling and capturing, and counts nowhere else",
    ]
    found["notes"] = list(dict.fromkeys(found["notes"]))
    return found | {"on": harness.surroundings(options.device)}


def options() -> argparse.ArgumentParser:
    parser = harness.parser(__doc__ or "", steps=50 if torch.cuda.is_available() else 2)
    parser.add_argument(
        "--network", type=harness.size, action="append", metavar="N,C", help="again for more; default: 3,16"
    )
    parser.add_argument("--variants", nargs="+", choices=list(NAMES), help="default: ours and a; on CUDA all")
    parser.add_argument("--workers", type=int, help="of the usual loaders; default: 0, on CUDA 8")
    parser.add_argument(
        "--precision", choices=["float32", "bfloat16"], help="of ours; default: float32, on CUDA bfloat16"
    )
    return parser


if __name__ == "__main__":
    harness.main(benchmark, options())
