"""Has a storage keep the sources that this process trains with."""

from __future__ import annotations

from contextlib import suppress

from orchestrator.errors import UsageError
from orchestrator.ledger import snapshots
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile import trust
from orchestrator.system.snapshot import SnapshotError, current


def kept(ledger: Ledger) -> str:
    """The name of the snapshot, which is written unless it is there. This user trusts it from now on. Raises
    UsageError, StorageError."""
    try:
        snapshot = current()
    except SnapshotError as error:
        raise UsageError(f"--snapshot: {error}") from error
    snapshots.keep(snapshot, ledger)
    with suppress(OSError):  # then it is asked for
        trust.trust_snapshot(snapshots.place(snapshot.name), snapshot.content)
    return snapshot.name
