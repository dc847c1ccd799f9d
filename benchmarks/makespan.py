"""Compares the makespan that `orchestrate plan` predicts with what the sweep then takes.

::

    python benchmarks/makespan.py                        # some minutes
    python benchmarks/makespan.py --seeds 2 --repeats 1  # to see that it works

In an empty storage the prediction comes from `plan --calibrate`. A sweep then fills another ledger with a trial of each
kind, and the same grid is asked for with more seeds (times are measured), and with networks that the ledger has not
seen (scaled, from a model): predicted, run, compared. Trials run on this machine's cores; the clock runs from the
beginning of the first to the end of the last. For Linux.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import estimate, plan
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial
from orchestrator.sweepfile.load import load

BIN = Path(sys.executable).parent
SEEN = [(n, c) for n in (1, 2, 3) for c in (2, 4, 8)]
UNSEEN = [(4, 4), (2, 6), (1, 12), (3, 3)]
METHODS: dict[str, Any] = {"ann": {}, "aann": {"strategy": "aann"}, "opt": {"regime": "opt", "at": [1]}}


def write_sweep(folder: Path, networks: Sequence[tuple[int, int]], seeds: Sequence[int], epochs: int) -> Sweep:
    content = {
        "name": "makespan",
        "networks": [{"n": n, "c": c} for n, c in networks],
        "datasets": ["digits"],
        "methods": METHODS,
        "seeds": list(seeds),
        "training": {"steps": 22 * epochs, "batch_size": 64, "learning_rate": {"0": 0.1}},
    }
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(content))  # which is YAML too
    return load(path)


def run(folder: Path, sweep: Sweep) -> float:
    """Returns the seconds that the command took."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    command = [str(BIN / "orchestrate"), "sweep", str(sweep.path), "--storage", str(folder / "runs")]
    began = time.perf_counter()
    done = subprocess.run(command, env=kept | {"HOME": str(folder)}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    return time.perf_counter() - began


def calibrate(folder: Path, sweep: Sweep, seconds: int) -> None:
    """Has the speeds measured, in a storage that holds no trial."""
    command = [str(BIN / "orchestrate"), "plan", str(sweep.path), "--storage", str(folder / "runs")]
    subprocess.run([*command, "--calibrate", f"{seconds}s"], capture_output=True, check=True)


def compare(folder: Path, sweep: Sweep) -> dict[str, Any]:
    """Predicts, runs, and compares."""
    ledger = Ledger(folder / "runs")
    planned = plan.make(sweep.trials, ledger)
    new = [entry.trial for entry in planned.to_run]
    outlook = estimate.outlook(planned, ledger, [estimate.here(new)])
    command = run(folder, sweep)
    taken = _makespan(ledger, new)
    if outlook.makespan is None:
        raise click.ClickException("the makespan is unknown, though the ledger has times")
    return {
        "trials": len(new),
        "sources": dict(outlook.sources),
        "predicted": outlook.makespan,
        "taken": taken,
        "command": command,
    }


def _makespan(ledger: Ledger, trials: Sequence[Trial]) -> float:
    """By when the files were written."""
    folders = [ledger.folder(trial.id) for trial in trials]
    began = min((folder / "config.json").stat().st_mtime for folder in folders)
    return max((folder / "result.json").stat().st_mtime for folder in folders) - began


def benchmark(folder: Path, seeds: int, epochs: int, repeats: int, seconds: int) -> dict[str, Any]:
    run(folder, write_sweep(folder, SEEN, [0], epochs))
    rows: dict[str, list[dict[str, Any]]] = {"calibrated": [], "seen shapes": [], "shapes not seen": []}
    for repeat in range(repeats):
        empty = folder / f"empty-{repeat}"
        empty.mkdir()
        sweep = write_sweep(empty, SEEN, range(seeds), epochs)
        calibrate(empty, sweep, seconds)
        rows["calibrated"].append(compare(empty, sweep))
        more = range(1, 1 + seeds * (repeat + 1))
        rows["seen shapes"].append(compare(folder, write_sweep(folder, SEEN, more, epochs)))
        network = UNSEEN[repeat % len(UNSEEN)]
        rows["shapes not seen"].append(compare(folder, write_sweep(folder, [network], range(seeds * 2), epochs)))
        click.echo(f"{repeat + 1} of {repeats}", err=True)
    return {
        "rows": [_row(name, found) for name, found in rows.items()],
        "load": os.getloadavg()[0],
        "on": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
        | {name: version(name) for name in ("anytime-orchestrator", "torch", "ray")},
    }


def _row(name: str, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ratios = [each["taken"] / each["predicted"] for each in found]
    return {
        "of": name,
        "ratio": median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "n": len(found),
        "each": list(found),
    }


def as_text(found: dict[str, Any]) -> str:
    lines = [f"{'':<18}{'trials':>7}{'predicted, s':>14}{'taken, s':>10}{'ratio':>7}{'command, s':>12}  times"]
    for row in found["rows"]:
        for each in row["each"]:
            sources = ", ".join(f"{count} {source}" for source, count in each["sources"].items())
            lines.append(
                f"{row['of']:<18}{each['trials']:>7}{each['predicted']:>14.1f}{each['taken']:>10.1f}"
                f"{each['taken'] / each['predicted']:>7.2f}{each['command']:>12.1f}  {sources}"
            )
    lines += [
        "{of}: taken over predicted {ratio:.2f} ({least:.2f} to {most:.2f}, n = {n})".format(**row)
        for row in found["rows"]
    ]
    on = ", ".join(f"{name} {value}" for name, value in found["on"].items())
    return "\n".join([*lines, f"{on}; load {found['load']:.1f}"])


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="That each comparison adds.")
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True, help="Of each trial, of 22 steps.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--calibrate", "seconds", type=click.IntRange(min=1), default=60, show_default=True, help="Seconds.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def main(seeds: int, epochs: int, repeats: int, seconds: int, form: str) -> None:
    """What `orchestrate plan` predicts of a sweep, and what it takes."""
    with TemporaryDirectory(prefix="makespan-", ignore_cleanup_errors=True) as folder:
        found = benchmark(Path(folder), seeds, epochs, repeats, seconds)
    click.echo(json.dumps(found, indent=1) if form == "json" else as_text(found))


if __name__ == "__main__":
    main()
