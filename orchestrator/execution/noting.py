"""Writes down what a person has to say of a sweep, or of one trial of it."""

from __future__ import annotations

import socket

from orchestrator.analysis import trace
from orchestrator.errors import UsageError
from orchestrator.ledger import notes
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.notes import Note
from orchestrator.sweep.grid import Sweep
from orchestrator.system.provenance import user


def note(sweep: Sweep, ledger: Ledger, cell: str, text: str) -> Note:
    """A note on the trial that these words mean, as for ``show``; without words on the sweep. Raises UsageError,
    StorageError."""
    who = f"{user()}@{socket.gethostname()}"
    if not cell:
        return notes.add(ledger, "sweeps", sweep.name, text, who)
    trial = trace.find_stored(sweep, cell, ledger)
    if trial.awaits:
        raise UsageError(f"{trial.cell.label}: {trial.awaits}; a note is about a trial")
    return notes.add(ledger, "trials", trial.id, text, who)
