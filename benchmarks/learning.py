"""Trains ANN and AANN as Table 6 has them, at once and as far as there is time; shows their errors beside the paper's.

::

    python benchmarks/learning.py --data-root DATA --folder RUNS --minutes 10     # (7,16) on CIFAR-10
    python benchmarks/learning.py --data-root DATA --folder RUNS --minutes 10     # goes on from the last checkpoint

Without --data-root the images are random bytes, from which nothing can be learned: that only shows that it runs.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

import harness
from anytime_core.config import Aann, Ann, Joint, TrialConfig
from anytime_core.cost import trial_costs
from anytime_core.result import EpochMetrics, average_error, milestone_errors
from anytime_core.training.trainer import train
from harness import Found, Row

METHODS = {"ann": Ann, "aann": Aann}
PAPER = Path(__file__).parents[1] / "orchestrator" / "paper" / "reference" / "table6.csv"


class TimeUpError(Exception):
    pass


def config_of(method: str, options: argparse.Namespace) -> TrialConfig:
    n, c = options.network
    regime = Joint(strategy=METHODS[method]())
    precision = options.precision or harness.usual_precision(options.device)
    keys = {"data": options.data, "batch": options.batch, "steps": options.steps, "precision": precision}
    return harness.trial(n, c, period=3 if n >= 25 else 1, regime=regime, **keys)


def work(options: argparse.Namespace) -> None:
    """One method, in a process of its own, until it has finished or the time is up; prints its last epoch."""
    deadline, last = time.monotonic() + 60 * options.minutes, None
    images, _ = harness.images_for(options.data, options.data_root, max(options.images, options.batch), 500)

    def report(metrics: EpochMetrics) -> None:
        nonlocal last
        last = metrics
        if metrics.epoch % 20 == 0 or metrics.step == options.steps:
            harness.say(f"{options.work}: step {metrics.step:,}, error at the end {metrics.test_error[-1]:.1f} %")
        if time.monotonic() > deadline:
            raise TimeUpError

    with suppress(TimeUpError):
        folder = options.folder / options.work
        train(
            config_of(options.work, options),
            report,
            folder,
            images=images,
            device=options.device,
            threads=options.threads,
        )
    assert last is not None, "there is an epoch"
    print(json.dumps({"step": last.step, "errors": last.test_error, "diverged": last.diverged}))


def started(method: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    n, c = options.network
    named = {"network": f"{n},{c}", "device": options.device, "data": options.data, "images": options.images}
    named |= {"data-root": options.data_root, "precision": options.precision, "batch": options.batch}
    named |= {"steps": options.steps, "threads": options.threads, "folder": options.folder, "work": method}
    command = [sys.executable, "-W", "ignore", __file__, "--minutes", str(options.minutes)]
    for name, value in named.items():
        command += [f"--{name}", str(value)] if value is not None else []
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def row_of(method: str, told: dict[str, Any], options: argparse.Namespace) -> Row:
    errors = milestone_errors(trial_costs(config_of(method, options)), told["errors"])
    row: Row = {"method": method, "by": "ours", "step": told["step"]}
    row |= {f"at_{fraction}": error for fraction, error in errors.items()}
    return row | {"average": average_error(told["errors"])} | ({"diverged": True} if told["diverged"] else {})


def paper_rows(method: str, options: argparse.Namespace) -> list[Row]:
    """Table 6's, where it has one."""
    n, c = map(str, options.network)
    with PAPER.open() as file:
        found = {
            row["metric"]: float(row["error_pct"])
            for row in csv.DictReader(file)
            if (row["method"], row["n"], row["c"], row["dataset"]) == (method, n, c, options.data)
        }
    row: Row = {"method": method, "by": "the paper", "step": 64_000}
    row |= {
        f"at_{metric}" if metric in ("1/4", "1/2", "3/4", "1") else "average": value for metric, value in found.items()
    }
    return [row] if found else []


def benchmark(options: argparse.Namespace) -> Found:
    _, which = harness.images_for(options.data, options.data_root, 1, 1)
    running = {method: started(method, options) for method in options.methods}
    rows, faults = [], []
    for method, process in running.items():
        told = process.communicate()[0]
        if process.returncode:
            faults.append(f"{method} ended with code {process.returncode}")
            continue
        rows += [row_of(method, json.loads(told), options), *paper_rows(method, options)]
    n, c = options.network
    notes = [
        f"({n},{c}), {options.steps:,} steps of batch {options.batch}, n = 1 seed; {which}",
        "errors in percent, of the last prediction within each fraction of the cost, and the mean of all predictions",
    ]
    return {"rows": rows, "notes": notes, "faults": faults, "on": harness.surroundings(options.device)}


def options() -> argparse.ArgumentParser:
    parser = harness.parser(__doc__ or "", repeats=1, steps=64_000)
    parser.add_argument("--network", type=harness.size, default=(7, 16), metavar="N,C", help="default: 7,16")
    parser.add_argument(
        "--folder", type=Path, required=True, help="for checkpoints, from which the same command goes on"
    )
    parser.add_argument(
        "--minutes", type=float, default=10, help="until it stops, at an epoch's end; default: %(default)s"
    )
    parser.add_argument("--precision", choices=["float32", "bfloat16"], help="default: float32, on CUDA bfloat16")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), help="default: both")
    parser.add_argument("--work", choices=list(METHODS), help=argparse.SUPPRESS)
    return parser


def main() -> None:
    given = options().parse_args()
    if given.work is not None:
        torch.set_num_threads(given.threads)
        work(given)
    else:
        harness.main(benchmark, options())


if __name__ == "__main__":
    main()
