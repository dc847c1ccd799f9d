"""Measures what a sweep costs per trial when there are many of them, and beside it a plain Ray actor pool.

::

    python benchmarks/scale.py                    # 4,000 trials, some minutes
    python benchmarks/scale.py --trials 100       # to see that it works

Each trial is a real one that takes a single step of the smallest network: what is measured is not the training. The
pool has as many actors as there are cores and does the same training, but writes nothing down. Both run in one go, the
sweep by the command line in a process of its own, with its tracking. For Linux.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import psutil

from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load

BIN = Path(sys.executable).parent
NETWORKS, METHODS = 2, ("ann", "aann")
TENTH = 10
"""The first and the last tenth of the trials are compared; the first few, for which workers start, are left out."""


def write_sweep(folder: Path, trials: int) -> Sweep:
    """Of at least so many trials of one training step each."""
    content = {
        "name": "scale",
        "networks": [{"n": 1, "c": index + 1} for index in range(NETWORKS)],
        "datasets": ["digits"],
        "methods": {name: {"strategy": name} for name in METHODS},
        "seeds": list(range(-(-trials // (NETWORKS * len(METHODS))))),
        "training": {"steps": 1, "batch_size": 32, "learning_rate": {"0": 0.1}},
    }
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(content))  # which is YAML too
    return load(path)


# The sweep


def measure_sweep(folder: Path, sweep: Sweep) -> dict[str, Any]:
    storage = folder / "runs"
    command = [str(BIN / "orchestrate"), "sweep", str(sweep.path), "--storage", str(storage)]
    began = time.time()
    with open(folder / "said", "w") as said:
        driver = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, env=_environment(folder), start_new_session=True, text=True
        )
        shown = _Shown(driver)
        peak = _watch(driver)
    ended = time.time()
    if driver.returncode:
        raise click.ClickException((folder / "said").read_text()[-2000:])
    log = storage / "sweeps" / sweep.name / "ray.log"
    return {
        "seconds": ended - began,
        "driver_peak_mib": peak / 2**20,
        "log_kib": log.stat().st_size / 2**10,
        "said_kib": (folder / "said").stat().st_size / 2**10,
        "status_seconds": _timed([str(BIN / "orchestrate"), "status", str(sweep.path), "--storage", str(storage)]),
        **_costs(storage, sweep, began, shown.at, ended),
    }


class _Shown:
    """When a command printed the first line of its tables: all of them come in one go."""

    def __init__(self, driver: subprocess.Popen[str]) -> None:
        self.at = math.nan
        threading.Thread(target=self._read, args=[driver.stdout], daemon=True).start()

    def _read(self, lines: Iterable[str]) -> None:
        for _ in lines:
            self.at = time.time() if math.isnan(self.at) else self.at


def _watch(driver: subprocess.Popen[str]) -> int:
    """Waits. The driver's largest resident memory in bytes."""
    process, peak = psutil.Process(driver.pid), 0
    while driver.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.2)
    driver.wait()
    return peak


def _timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([*command, "--format", "json"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _costs(storage: Path, sweep: Sweep, began: float, shown: float, ended: float) -> dict[str, float]:
    """Seconds from one end of a trial to the next, early and late, by when the results were written; and those before
    the first end, and from the last one to the tables and to the prompt."""
    ledger = Ledger(storage)
    ends = sorted((ledger.folder(trial.id) / "result.json").stat().st_mtime for trial in sweep.trials)
    part = max(len(ends) // TENTH, 2)
    skipped = min(part, 20)
    early = (ends[skipped + part] - ends[skipped]) / part
    late = (ends[-1] - ends[-1 - part]) / part
    return {
        "first_trial_after": ends[0] - began,
        "tables_after": shown - ends[-1],
        "prompt_after": ended - ends[-1],
        "trial_seconds_early": early,
        "trial_seconds_late": late,
        "late_to_early": late / early,
        "trial_seconds": (ends[-1] - ends[skipped]) / (len(ends) - 1 - skipped),
    }


# The pool


def measure_pool(sweep_file: Path) -> None:
    """In a process of its own: prints what it took."""
    from orchestrator.system.environment import prepare_ray

    prepare_ray(own_cluster=True)
    import ray
    from ray.util import ActorPool

    trials = load(sweep_file).trials
    ray.init(include_dashboard=False, log_to_driver=False, address="local")
    try:
        actor = ray.remote(num_cpus=1)(Trainer)
        pool = ActorPool([actor.remote() for _ in range(int(ray.cluster_resources()["CPU"]))])
        done = pool.map_unordered(lambda one, trial: one.train.remote(trial), trials)
        ends = [time.perf_counter() for _ in done]
    finally:
        ray.shutdown()
    skipped = min(max(len(ends) // TENTH, 2), 20)
    click.echo(json.dumps({"trial_seconds": (ends[-1] - ends[skipped]) / (len(ends) - 1 - skipped)}))


class Trainer:
    """An actor that trains and does nothing else."""

    def __init__(self) -> None:
        from anytime_core.data.cache import load as load_images

        self._images = load_images("digits", None)

    def train(self, trial: Any) -> tuple[float, ...]:
        from anytime_core.training.trainer import train

        return train(trial.config, images=self._images, device="cpu", threads=1).errors


# The whole


def benchmark(folder: Path, trials: int) -> dict[str, Any]:
    sweep = write_sweep(folder, trials)
    _say(f"a pool trains {len(sweep.trials):,} trials")
    command = [sys.executable, "-W", "ignore", __file__, "--pool", str(sweep.path)]
    pool = subprocess.run(command, env=_environment(folder), stdout=subprocess.PIPE, text=True, check=True).stdout
    _say("a sweep does")
    found = measure_sweep(folder, sweep)
    in_pool = json.loads(pool.splitlines()[-1])["trial_seconds"]
    names = ("anytime-orchestrator", "torch", "ray", "mlflow")
    return {
        "trials": len(sweep.trials),
        "pool_trial_seconds": in_pool,
        "overhead_seconds": found["trial_seconds"] - in_pool,
        **found,
        "load": os.getloadavg()[0],
        "on": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
        | {name: version(name) for name in names},
    }


def _environment(folder: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "ORCHESTRATE_"))
    }
    return kept | {"HOME": str(folder)}


def _say(text: str) -> None:
    click.echo(text, err=True)


WORDS = {
    "trials": "trials",
    "seconds": "s, the whole command",
    "first_trial_after": "s until the first trial has ended",
    "tables_after": "s from the last one to the tables",
    "prompt_after": "s from the last one to the prompt",
    "trial_seconds_early": "s a trial, early",
    "trial_seconds_late": "s a trial, late",
    "late_to_early": "late to early",
    "trial_seconds": "s a trial, the sweep",
    "pool_trial_seconds": "s a trial, a plain pool",
    "overhead_seconds": "s a trial more than the pool",
    "driver_peak_mib": "MiB, the driver's memory at most",
    "log_kib": "KiB, Ray's log",
    "said_kib": "KiB on the terminal",
    "status_seconds": "s, `orchestrate status`",
    "load": "processes that wanted to run in the last minute",
}


def as_text(found: dict[str, Any]) -> str:
    lines = [f"{found[name]:>10,.4g}  {words}" for name, words in WORDS.items()]
    return "\n".join([*lines, ", ".join(f"{name} {value}" for name, value in found["on"].items())])


@click.command()
@click.option(
    "--trials", type=click.IntRange(min=40), default=4_000, show_default=True, help="At least; a multiple of 4."
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--pool", type=click.Path(path_type=Path), hidden=True)
def main(trials: int, form: str, pool: Path | None) -> None:
    """Trials that do nothing: what each costs early and late, memory, logs, `status`, and a plain Ray actor pool."""
    if pool:
        measure_pool(pool)
        return
    with TemporaryDirectory(prefix="scale-", ignore_cleanup_errors=True) as folder:
        found = benchmark(Path(folder), trials)
    click.echo(json.dumps(found, indent=1) if form == "json" else as_text(found))


if __name__ == "__main__":
    main()
