"""What the benchmarks of training share: runs that take turns, ratios with their spread, where it ran, what is printed.

Standard library, numpy and torch alone, so that all of them run on a bare machine with a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from anytime_core.config import DataConfig, Joint, NetworkConfig, Precision, Regime, TrainingConfig, TrialConfig
from anytime_core.data import cache
from anytime_core.data.catalog import DATASETS
from anytime_core.data.dataset import Images
from anytime_core.errors import DataError

Row = dict[str, Any]
Found = dict[str, Any]
"""What a benchmark gives: ``rows``, ``notes``, ``on`` (where it ran), ``faults`` (what went wrong), all as JSON."""


class NotHereError(Exception):
    """This machine lacks what it takes, which is no fault."""


# What is trained, on what


def trial(
    n: int,
    c: int,
    *,
    period: int = 1,
    data: str = "cifar10",
    batch: int = 128,
    steps: int = 64_000,
    regime: Regime | None = None,
    precision: Precision = "float32",
    compiled: bool = False,
    seed: int = 0,
) -> TrialConfig:
    """A trial of Table 6, but for what is given; its learning rate falls at a half and three quarters of its steps."""
    spec = DATASETS[data]
    falls = {steps // 2: 0.01, 3 * steps // 4: 0.001} if steps >= 4 else {}
    return TrialConfig(
        network=NetworkConfig(n=n, c=c, period=period),
        data=DataConfig(name=data, pad=spec.pad, flip=spec.flip),
        regime=regime or Joint(),
        training=TrainingConfig(
            steps=steps,
            batch_size=batch,
            learning_rate={0: 0.1, **falls},
            precision=precision,
            compiled=compiled,
        ),
        seed=seed,
    )


def random_images(data: str, train: int, test: int, seed: int = 0) -> Images:
    """Bytes in the shape of a data set. Training takes as long as on its own images, and learns nothing."""
    spec, rng = DATASETS[data], np.random.default_rng(seed)
    shape = (spec.channels, spec.size, spec.size)
    return Images(
        train_images=rng.integers(0, 256, (train, *shape), np.uint8),
        train_labels=rng.integers(0, spec.classes, train, np.int64),
        test_images=rng.integers(0, 256, (test, *shape), np.uint8),
        test_labels=rng.integers(0, spec.classes, test, np.int64),
    )


def images_for(data: str, root: Path | None, train: int, test: int) -> tuple[Images, str]:
    """The data set below ``root``, whatever its md5 sums, else random bytes; and which of them it is."""
    if root is None:
        return random_images(data, train, test), f"random bytes in the shape of {data}"
    try:
        return cache.load(data, root, check_md5=False), f"{data} from --data-root"
    except DataError as error:
        return random_images(data, train, test), f"random bytes in the shape of {data}: {error}"


# Time


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began


@contextmanager
def fastest_algorithms() -> Iterator[None]:
    """Those that cuDNN and torch's compiler find by trying, as the usual loops have them."""
    import torch._inductor.config as inductor  # a second, for those that need it

    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with inductor.patch(deterministic=False):  # our compiled units would have it so for all
            yield
    finally:
        torch.backends.cudnn.benchmark = before


@dataclass(frozen=True, slots=True)
class Turns:
    """Seconds a step of each variant, turn by turn: by the clock, and of this process on all its threads, in which
    other work on the machine does not count."""

    wall: dict[str, list[float]]
    cpu: dict[str, list[float]]


def in_turns(variants: Mapping[str, Callable[[int], object]], steps: int, repeats: int, device: torch.device) -> Turns:
    """A B A B: in every turn each variant makes ``steps`` steps. One turn before does not count."""
    found = Turns({name: [] for name in variants}, {name: [] for name in variants})
    for turn in range(-1, repeats):
        for name, run in variants.items():
            worked = time.process_time()
            seconds = seconds_of(partial(run, steps), device)
            if turn >= 0:
                found.wall[name].append(seconds / steps)
                found.cpu[name].append((time.process_time() - worked) / steps)
    return found


def spread(values: Sequence[float], what: str, scale: float = 1.0) -> Row:
    """The median, the least and the most."""
    return {what: scale * median(values), f"{what}_least": scale * min(values), f"{what}_most": scale * max(values)}


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Turn by turn: what ran one after the other had the same machine."""
    return [one / other for one, other in zip(of, to, strict=True)]


# Where


def usual_precision(device: torch.device) -> Precision:
    return "bfloat16" if device.type == "cuda" else "float32"


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def surroundings(device: torch.device) -> Row:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: Row = {"device": device_name(device), "cores": cores, "threads": torch.get_num_threads()}
    found |= {"python": platform.python_version(), "torch": torch.__version__}
    if device.type == "cuda":
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]
    return found | {"load": round(os.getloadavg()[0], 1)}


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Options and output


def parser(
    description: str, *, repeats: int = 5, steps: int | None = None, batch: int = 128
) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=description.partition("\n")[0])
    options.add_argument(
        "--device", type=torch.device, default=default_device(), help="default: CUDA where there is one"
    )
    options.add_argument("--data", choices=list(DATASETS), default="cifar10")
    options.add_argument("--data-root", type=Path, help="where the data set lies; default: random bytes in its shape")
    # What begins an epoch, of ours and of the usual loaders, weighs beside the short steps of a GPU as it does in life.
    images = 50_000 if torch.cuda.is_available() else 5_120
    options.add_argument("--images", type=positive, default=images, help="of the random bytes; default: %(default)s")
    options.add_argument("--batch", type=positive, default=batch, help="default: %(default)s")
    options.add_argument("--repeats", type=positive, default=repeats, help="turns; default: %(default)s")
    if steps is not None:
        options.add_argument("--steps", type=positive, default=steps, help="of each in a turn; default: %(default)s")
    options.add_argument("--threads", type=positive, default=1, help="of torch; default: 1, as sweeps give a trial")
    options.add_argument("--format", dest="form", choices=["table", "json"], default="table")
    return options


def compiled_units(options: argparse.ArgumentParser) -> None:
    options.add_argument("--compiled", action="store_true", help="ours with its units compiled")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"given {text}, must be at least 1")
    return value


def size(text: str) -> tuple[int, int]:
    """``7,16``: n units in each of 3 blocks, c channels in the first."""
    try:
        n, c = (positive(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"given {text!r}, must be n,c, such as 7,16") from None
    return n, c


def main(benchmark: Callable[[argparse.Namespace], Found], options: argparse.ArgumentParser) -> None:
    """Runs a benchmark by the command line's options, and prints what it found. Exit code 1 if anything went wrong."""
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    found = benchmark(given)
    print(json.dumps(found, indent=1) if given.form == "json" else as_text(found))
    sys.exit(bool(found["faults"]))


def as_text(found: Found) -> str:
    cells = table_of(found["rows"])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    on = ", ".join(f"{name} {value}" for name, value in found["on"].items())
    return "\n".join([*lines, *(f"FAILED: {fault}" for fault in found["faults"]), *found["notes"], on])


def as_markdown(found: Found) -> str:
    head, *body = table_of(found["rows"]) or [[]]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)] if head else []
    notes = [*(f"**failed:** {fault}" for fault in found["faults"]), *found["notes"]]
    on = ", ".join(f"{name} {value}" for name, value in found["on"].items())
    return "\n".join([*lines, "", *(f"- {note}" for note in [*notes, on] if note)])


def table_of(rows: Sequence[Row]) -> list[list[str]]:
    """The heads and then each row; a value with a least and a most beside it is one cell of three numbers."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    shown = [head for head in heads if not head.endswith(("_least", "_most"))]
    if not rows:
        return []
    return [[head.replace("_", " ") for head in shown], *([_cell(row, head) for head in shown] for row in rows)]


def _cell(row: Row, head: str) -> str:
    value = _text(row.get(head))
    least, most = row.get(f"{head}_least"), row.get(f"{head}_most")
    return value if least is None else f"{value} ({_text(least)} to {_text(most)})"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)
