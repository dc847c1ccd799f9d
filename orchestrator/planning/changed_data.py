"""Why trials that seem to have ended are to run: the data of the user's own that they were trained on have changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from anytime_core.config import OwnData
from orchestrator.errors import UsageError
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import config_of

MOST_NAMES = 8


def notes(sweep: Sweep, last_trials: Sequence[str], ledger: Ledger) -> Iterator[str]:
    """A line for each data set that is not as ``last_trials``, those of the sweep's last run, had it."""
    now = {trial.config.data.name: own for trial in sweep.trials if (own := trial.config.data.own)}
    if not now:
        return
    ids = {trial.id for trial in sweep.trials}
    before = _before(set(last_trials) - ids, ledger)
    for name, own in now.items():
        if (old := before.get(name)) and old != own:
            was, here = _described(old, own), _described(own, old)
            yield f"{name} has changed since this sweep last ran: it was {was}, and is {here}; its trials run again"


def _before(trial_ids: set[str], ledger: Ledger) -> dict[str, OwnData]:
    found = {}
    for record in ledger.records(sorted(trial_ids)).values():
        try:
            data = config_of(record).data
        except UsageError:  # of another version: it tells nothing
            continue
        if data.own:
            found[data.name] = data.own
    return found


def _described(own: OwnData, other: OwnData) -> str:
    """Its content, and of the rest what differs."""
    counts = {
        "classes": (_listed(own.class_names), _listed(other.class_names)),
        "pixels a side": (own.size, other.size),
        "channels": (own.channels, other.channels),
        "training images": (own.train_images, other.train_images),
        "test images": (own.test_images, other.test_images),
        "validation images": (own.validation_images, other.validation_images),
    }
    differing = [f"{mine} {words}" for words, (mine, others) in counts.items() if mine != others]
    return " with ".join([own.content, *([", ".join(differing)] if differing else [])])


def _listed(names: Sequence[str]) -> str:
    shown = "/".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown}/... of {len(names)}"
