"""Thresholds at which a trained network may answer early, with a guarantee: found on held-out images, kept beside the
network, and given to whatever runs it.

``stats.outcomes.guarantees`` has the mathematics, ``ledger.guarantees_file`` the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anytime_core.inputs import LOST, as_options, guarantee_of, percent
from anytime_core.outcomes import Outcomes
from orchestrator.errors import RiskError, UsageError
from orchestrator.inference.lookup import TrainedTrial
from orchestrator.ledger.guarantees_file import Calibration, Split
from orchestrator.ledger.ledger import Ledger
from orchestrator.stats.outcomes.curves import reached, relative_costs
from orchestrator.stats.outcomes.guarantees import LOSSES, NEVER, Guarantee, guaranteed, images_needed, least_risk
from orchestrator.stats.outcomes.policies import by_confidence

UNLIKELY = 0.001
"""A chance at which test images contradict that they are like the held-out ones."""
SAID = {
    "lost": "are answered wrongly where the last prediction is right",
    "error": "are answered wrongly",
    "differs": "get another answer than the last prediction's",
}
"""What happens to an image that has a loss: a line for each of LOSSES."""
assert SAID.keys() == LOSSES.keys()


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The words that a guarantee is found by: the ``risk`` that bounds the share of images with a ``loss``, on average,
    or but for a chance of ``delta``."""

    risk: float
    delta: float | None = None
    loss: str = LOST


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What a threshold does to ``n`` images of a ``split``. ``cost`` is the mean of an image, as a part of the whole;
    ``losses`` is the share of images with a loss; errors are in percent, where images leave and at the last prediction.
    ``costs`` [L] and the shares ``leaving`` [L] of images are those of each prediction."""

    split: Split
    n: int
    cost: float
    losses: float
    error: float
    last_error: float
    costs: tuple[float, ...]
    leaving: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrated:
    """A new guarantee. ``sentence`` says what it means and when, ``notes`` what is to know of it here."""

    trial: TrainedTrial
    calibration: Calibration
    sentence: str
    notes: tuple[str, ...]
    effect: Effect


# Finding and keeping one


def calibrate(trial: TrainedTrial, ledger: Ledger, asked: Asked, split: Split) -> Calibrated:
    """Finds the threshold on the images of a split, and keeps it beside the network.

    Raises UsageError where there are no such images, or the network is not the one that answered them; RiskError where
    no threshold has the guarantee.
    """
    outcomes = ledger.outcomes(trial.trial_id)
    held_out = _held_out(trial, outcomes, split)
    network = _trained_network(trial, ledger)
    guarantee = guaranteed(held_out, asked.risk, asked.delta, asked.loss)
    if guarantee is None:
        raise RiskError(_out_of_reach(trial, held_out, asked, split))
    calibration, seen = Calibration(split=split, guarantee=guarantee), "test" if "test" in outcomes else split
    ledger.keep_guarantee(trial.trial_id, network, calibration)
    effect = _effect(outcomes[seen], seen, guarantee)
    return Calibrated(
        trial=trial,
        calibration=calibration,
        sentence=sentence(calibration, trial),
        notes=(*_notes(calibration), *_contradicted(calibration, effect)),
        effect=effect,
    )


def _held_out(trial: TrainedTrial, outcomes: Mapping[str, Outcomes], split: Split) -> Outcomes:
    if split in outcomes:
        return outcomes[split]
    if not outcomes or split == "test" or trial.config.data.validated:
        raise UsageError(
            f"{trial.label}: what it answers to {split} images is not kept, or damaged; `orchestrate outcomes "
            "SWEEP.yaml` keeps it"
        )
    raise UsageError(
        f"{trial.label}: no validation images were held out when it was trained; --on test takes the "
        f"{outcomes['test'].labels.size} test images, whose error at the threshold is no honest measurement any more"
    )


def _trained_network(trial: TrainedTrial, ledger: Ledger) -> str:
    """The hash of the saved network, which must be the one that was trained: its answers are what is looked at."""
    saved = _saved_network(trial, ledger)
    if (trained := trial.record.provenance.get("network_hash")) not in (None, saved):
        raise UsageError(f"{trial.label}: its saved network is {saved}, and the one that was trained was {trained}")
    return saved


def _saved_network(trial: TrainedTrial, ledger: Ledger) -> str:
    from anytime_core.trained import network_hash

    return network_hash(ledger.checkpoints(trial.trial_id))


def _out_of_reach(trial: TrainedTrial, held_out: Outcomes, asked: Asked, split: Split) -> str:
    n, wrong = held_out.labels.size, int(LOSSES[asked.loss](held_out)[-1].sum())
    assert asked.delta is not None, "without one some threshold always has the guarantee"
    least = math.ceil(1e4 * least_risk(held_out, asked.delta, asked.loss)) / 1e4
    possible = f"the least risk that can be had is {percent(least)}" if least < 1 else "no risk can be had"
    return (
        f"{trial.label}: no threshold keeps {as_options(asdict(asked))}: even the last prediction gets {wrong} of {n} "
        f"{split} images wrong; {possible}"
    )


def _notes(calibration: Calibration) -> Iterator[str]:
    guarantee = calibration.guarantee
    if calibration.split == "test":
        yield "the threshold was found on the test images: their error at it is no honest measurement any more"
    if guarantee.threshold == NEVER:
        needed = images_needed(guarantee.risk, guarantee.delta)
        why = (
            f"{guarantee.n} images are too few, {needed} may do"
            if guarantee.n < needed
            else "a lower threshold would bring more losses than are allowed"
        )
        yield f"no image leaves before the last prediction: {why}"


def _contradicted(calibration: Calibration, effect: Effect) -> Iterator[str]:
    """Where the test images have more losses than they could be expected to have by chance."""
    from scipy.special import bdtrc  # takes a while to import

    losses, risk = round(effect.losses * effect.n), calibration.guarantee.risk
    if effect.split != calibration.split and losses and bdtrc(losses - 1, effect.n, risk) < UNLIKELY:
        yield (
            f"{losses} of {effect.n} test images have a loss, too many for chance at a risk of {percent(risk)}: they "
            "are not exchangeable with the validation images, and new images may not be either"
        )


def _effect(outcomes: Outcomes, split: Split, guarantee: Guarantee) -> Effect:
    costs = relative_costs(outcomes)
    exits = by_confidence(outcomes, guarantee.threshold)
    cost, accuracy = reached(outcomes, exits)
    lost = LOSSES[guarantee.loss](outcomes)[exits, np.arange(len(exits))]
    return Effect(
        split=split,
        n=len(exits),
        cost=cost,
        losses=float(lost.mean()),
        error=100 - accuracy,
        last_error=100 * float((~outcomes.right[-1]).mean()),
        costs=tuple(costs.tolist()),
        leaving=tuple((np.bincount(exits, minlength=len(costs)) / len(exits)).tolist()),
    )


# Saying what it means


def sentence(calibration: Calibration, trial: TrainedTrial) -> str:
    """The guarantee and its conditions."""
    it, precision = calibration.guarantee, trial.config.training.precision
    how = "On average" if it.delta is None else f"With a probability of {percent(1 - it.delta)}"
    computed = "" if precision == "float32" else f", and the network answers as it does in {precision}"
    return (
        f"{how}, at most {percent(it.risk)} of new images {SAID[it.loss]}, if these are exchangeable with the {it.n} "
        f"{calibration.split} images of {trial.config.data.name} that the threshold was found on{computed}."
    )


def tables(calibrated: Calibrated) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What the threshold is, what it brings, and where images leave: a title and rows of each."""
    it, effect = calibrated.calibration.guarantee, calibrated.effect
    yield (
        "leave once the probability, in float16, is at least the threshold",
        [{"threshold": it.leaving_from, "losses": it.losses, "allowed": max(it.allowed, 0), "images": it.n}],
    )
    yield (
        f"what it brings on the {effect.n} {effect.split} images, in %",
        [
            {
                "mean cost": 100 * effect.cost,
                it.loss: 100 * effect.losses,
                "error": effect.error,
                "error of the last prediction": effect.last_error,
            }
        ],
    )
    yield (
        "where these leave, in %",
        [
            {"prediction": number, "cost": 100 * cost, "images": 100 * share}
            for number, (cost, share) in enumerate(zip(effect.costs, effect.leaving, strict=True), 1)
        ],
    )


def as_json(calibrated: Calibrated) -> dict[str, Any]:
    return {
        "trial": calibrated.trial.trial_id,
        "network": calibrated.trial.label,
        "guarantee": _entry(calibrated.calibration, calibrated.trial),
        "notes": list(calibrated.notes),
        "effect": asdict(calibrated.effect),
    }


# Using those that are kept


def kept(trial: TrainedTrial, ledger: Ledger) -> list[dict[str, Any]]:
    """What whoever runs the network must know of each guarantee, as an exported file has it; of the same words, that of
    validation images first. Raises UsageError where they are those of another network."""
    found = ledger.guarantees(trial.trial_id)
    if found is None:
        return []
    if (saved := _saved_network(trial, ledger)) != found.network_hash:
        raise UsageError(
            f"{trial.label}: its guarantees are of network {found.network_hash}, and its saved network is {saved}; "
            f"`orchestrate calibrate {trial.trial_id}` makes them again"
        )
    return [_entry(it, trial) for it in sorted(found.calibrations, key=lambda it: it.split == "test")]


def _entry(calibration: Calibration, trial: TrainedTrial) -> dict[str, Any]:
    return {**asdict(calibration.guarantee), "on": calibration.split, "sentence": sentence(calibration, trial)}


def find(members: Sequence[TrainedTrial], ledger: Ledger, asked: Asked) -> Mapping[str, Any]:
    """The guarantee that was found by these words. Raises UsageError where none was, and for a sequence."""
    if len(members) > 1:
        raise UsageError(f"--risk is for one network, and {len(members)} are given")
    (trial,) = members
    try:
        return guarantee_of(kept(trial, ledger), asked.risk, asked.delta, asked.loss)
    except ValueError as error:
        command = f"orchestrate calibrate {trial.trial_id} {as_options(asdict(asked))}"
        raise UsageError(f"{trial.label}: {error}; `{command}` finds one") from error
