"""Trainings that are to take the place of earlier ones: beside those, in a storage of their own, until they have ended.

So the result of a trial stays while it is trained again, whatever becomes of that, and a training that was interrupted
goes on as any other does.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from anytime_core.training.checkpoint import MOST
from orchestrator.ledger.ledger import GUARANTEES, OUTCOMES, RESULT, Ledger
from orchestrator.ledger.storage import beneath, storage_at

RERUNS = "reruns"
"""Below the storage."""
STAYS = ("config.json", "lock")
"""What a trial's folder has whoever trains it."""


def beside(ledger: Ledger) -> Ledger:
    """The ledger of what is trained again."""
    return Ledger(beneath(ledger.storage, RERUNS))


def ended(ledger: Ledger, trial_ids: Iterable[str]) -> list[str]:
    """Those of these trials that have been trained again to their end, and still have their earlier results. Raises
    StorageError."""
    again = beside(ledger)
    begun = again.begun()
    return [trial_id for trial_id in sorted(trial_ids) if trial_id in begun and again.record(trial_id)]


def adopt(trial_id: str, ledger: Ledger) -> None:
    """Has the later training of a trial take the place of the earlier one, its result last. After a kill the same call
    does the rest; where another command is at it, both write the same. Raises OSError."""
    storage = storage_at(ledger.storage)
    new, old = f"{RERUNS}/trials/{trial_id}", f"trials/{trial_id}"
    with ledger.alone(trial_id), suppress(FileNotFoundError):  # which another command has taken away
        names = _names(ledger, new)
        if RESULT not in names:  # they are not all there any more
            return
        for name in sorted(names, key=lambda name: (name == RESULT, name)):
            storage.write(f"{old}/{name}", storage.read(f"{new}/{name}", MOST))
        for name in _names(ledger, old) - names - _still_true(ledger, trial_id):
            storage.delete(f"{old}/{name}")
    storage.delete(f"{new}/{RESULT}")  # first
    storage.clear(new)


def _still_true(ledger: Ledger, trial_id: str) -> set[str]:
    """What was found out of the earlier network after its training, where the one that is there now is the same."""
    own, guarantees = ledger.network_hash(trial_id), ledger.guarantees(trial_id)
    true = {OUTCOMES: bool(ledger.outcomes(trial_id)), GUARANTEES: guarantees and guarantees.network_hash == own}
    return {name for name, is_true in true.items() if own and is_true}


def _names(ledger: Ledger, folder: str) -> set[str]:
    found = {path.removeprefix(f"{folder}/") for path in storage_at(ledger.storage).walk(folder)}
    return found.difference(STAYS)
