"""A sweep in one storage, run without Ray and without a network: what runs that draw their numbers share."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.ledger import last_run, needs
from orchestrator.ledger.choices import chosen
from orchestrator.ledger.ledger import Ledger
from orchestrator.planning import plan as planning
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import Trial


@dataclass
class StoredSweep:
    sweep: Sweep
    ledger: Ledger

    def begin(self) -> None:
        """As a driver does, before it looks at trials."""
        self.ledger.make()
        needs.declare(self.sweep, self.ledger)
        last_run.remember(self.sweep, self.ledger)

    @property
    def now(self) -> Sweep:
        return chosen(self.sweep, self.ledger)

    @property
    def to_run(self) -> list[Trial]:
        return [entry.trial for entry in planning.make(self.now.trials, self.ledger).to_run]
