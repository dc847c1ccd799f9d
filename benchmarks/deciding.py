"""How often sweeps that stop early are wrong, and how soon they stop: through the real ledger, and through real sweeps.

::

    python benchmarks/deciding.py                    # 1,000 sweeps of each kind by the deciding code alone: seconds
    python benchmarks/deciding.py --ledger 1000      # also through the ledger: a quarter of an hour on one core
    python benchmarks/deciding.py --driver 20        # also so many sweeps by the command, with trials of one step each

A null sweep asks whether either of two methods is better than a baseline that wins every other pair. Each round writes
its results into a storage, and the next begins from what it reads there.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from anytime_core.config import to_dict
from anytime_core.cost import trial_costs
from anytime_core.result import TrialResult
from orchestrator.ledger.choices import chosen
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.comparisons import Outcome
from orchestrator.sweep.deciding import Find
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial, TrialRecord
from orchestrator.sweepfile.load import load

TEXT = """
name: decides
networks: [{{n: 1, c: 2}}]
datasets: [digits]
methods: {{ann: {{}}, aann: {{strategy: aann}}, exp3: {{strategy: exp3}}}}
training: {{steps: 1, batch_size: 64, learning_rate: {{0: 0.1}}}}
decide: {{compare: [{compare}], at_most: {{seeds: {seeds}}}, first: 1, rope: {rope}}}
report: {{tables: [decisions], figures: [decisions]}}
"""
NULL: dict[str, Any] = {"compare": "all > ann at AE", "seeds": 20, "rope": 0}
ONE: dict[str, Any] = {"compare": "aann > ann at AE", "seeds": 195, "rope": 0}
CHANCES = {0.7: 37, 0.8: 17, 0.9: 11}
"""Of winning a pair, with the median number of pairs that the design expects."""
BASE = 50.0


def record(trial: Trial, chance: float, rng: random.Random) -> TrialRecord:
    """A result that wins its pair with this chance, unless it is the baseline's."""
    own = BASE if trial.cell.method == "ann" else BASE - 1 if rng.random() < chance else BASE + 1
    costs = tuple(trial_costs(trial.config))
    result = TrialResult(
        state="finished",
        units=trial.config.predicting_units,
        costs=costs,
        errors=(own,) * len(costs),
        steps=1,
        seconds=0.1,
        device="cpu",
    )
    return TrialRecord(trial_id=trial.id, config=to_dict(trial.config), result=result, attempts=1, provenance={})


def decided(sweep: Sweep, storage: Path, chance: float, seed: int) -> Sweep:
    """The sweep once its ledger holds all that it asks for."""
    ledger, rng = Ledger(storage), random.Random(seed)
    ledger.make()
    while left := [trial for trial in chosen(sweep, ledger).trials if not ledger.record(trial.id)]:
        rng.shuffle(left)
        for trial in left:
            own = random.Random(f"{seed} {trial.id}")  # whatever the order
            ledger.finish(ledger.begin(trial, sweep.name), record(trial, chance, own))
    return chosen(sweep, ledger)


def alone(folder: Path, runs: int) -> dict[str, Any]:
    """By outcomes that are drawn, without a trial."""
    null, one = (_sweep(folder / f"{name}.yaml", said).deciding for name, said in (("null", NULL), ("one", ONE)))
    assert null
    assert one
    ended = [null.played(_drawn(0.5, random.Random(seed))).standings for seed in range(runs)]
    stops = {}
    for chance in CHANCES:
        found = [one.played(_drawn(chance, random.Random(seed))).standings[0] for seed in range(runs)]
        stops[str(chance)] = median(it.seeds if it.decision == "better" else ONE["seeds"] for it in found)
    return {
        "drawn_null_sweeps": runs,
        "drawn_false_decisions": sum(any(it.decision == "better" for it in standings) for standings in ended),
        "drawn_mean_seeds": sum(max(it.seeds for it in standings) for standings in ended) / runs,
        "drawn_median_pairs": stops,
    }


def _drawn(chance: float, rng: random.Random) -> Find:
    return lambda comparison, place, seed: Outcome(1 if rng.random() < chance else -1, clear=True)


def simulated(folder: Path, runs: int) -> dict[str, Any]:
    null, one = (_sweep(folder / f"{name}.yaml", said) for name, said in (("null", NULL), ("one", ONE)))
    false = sum(
        any(it.decision == "better" for it in _in(folder, null, 0.5, seed).deciding.standings)  # type: ignore[union-attr]
        for seed in range(runs)
    )
    soon = {}
    for chance, expected in CHANCES.items():
        found = [_in(folder, one, chance, seed).deciding.standings[0] for seed in range(runs // 10)]  # type: ignore[union-attr]
        pairs = [it.seeds if it.decision == "better" else ONE["seeds"] for it in found]
        soon[str(chance)] = {"median_pairs": median(pairs), "design": expected, "sweeps": len(pairs)}
    return {"null_sweeps": runs, "with_a_false_decision": false, "stops": soon}


def _in(folder: Path, sweep: Sweep, chance: float, seed: int) -> Sweep:
    with TemporaryDirectory(dir=folder) as storage:
        return decided(sweep, Path(storage), chance, seed)


def _sweep(path: Path, said: dict[str, Any]) -> Sweep:
    path.write_text(TEXT.format(**said), encoding="utf-8")
    return load(path)


def driven(folder: Path, runs: int) -> dict[str, Any]:
    """Sweeps by the command. Each is held against what its own results ask for."""
    trials, alike = 0, 0
    for run in range(runs):
        place = folder / f"driven-{run}"
        place.mkdir()
        seeds = list(range(8 * run, 8 * run + 8))
        said = TEXT.format(**NULL | {"seeds": 8}).replace("decide:", f"seeds: {seeds}\ndecide:")
        (place / "sweep.yaml").write_text(said, encoding="utf-8")
        command = [str(Path(sys.executable).with_name("orchestrate")), "sweep", "sweep.yaml"]
        subprocess.run(command, cwd=place, check=True, capture_output=True)
        ledger = Ledger(place / "runs")
        asked = chosen(load(place / "sweep.yaml"), ledger)
        trials += len(asked.trials)
        alike += set(ledger.begun()) == set(asked.ids)
    return {"driven_sweeps": runs, "trials": trials, "trained_what_their_results_ask_for": alike}


@click.command()
@click.option("--runs", default=1000, show_default=True, help="Sweeps of each kind without a ledger.")
@click.option("--ledger", default=0, show_default=True, help="Null sweeps through one; a tenth as many of the others.")
@click.option("--driver", default=0, show_default=True, help="Sweeps by the command.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def main(runs: int, ledger: int, driver: int, form: str) -> None:
    with TemporaryDirectory() as folder:
        found = alone(Path(folder), runs)
        found |= simulated(Path(folder), ledger) if ledger else {}
        found |= driven(Path(folder), driver) if driver else {}
    if form == "json":
        click.echo(json.dumps(found))
        return
    click.echo(f"{found['drawn_false_decisions']} of {runs} null sweeps decided anything")
    click.echo(f"they trained {found['drawn_mean_seeds']:.1f} of {NULL['seeds']} seeds")
    for chance, pairs in found["drawn_median_pairs"].items():
        click.echo(f"with {chance} of the pairs won: decided after {pairs:g} (design {CHANCES[float(chance)]})")
    if ledger:
        click.echo(f"{found['with_a_false_decision']} of {ledger} null sweeps decided anything, through the ledger")
        for chance, stop in found["stops"].items():
            click.echo(f"with {chance} of the pairs won: decided after {stop['median_pairs']:g}, through the ledger")
    if driver:
        click.echo(f"{found['trained_what_their_results_ask_for']} of {driver} sweeps by the command trained just that")


if __name__ == "__main__":
    main()
