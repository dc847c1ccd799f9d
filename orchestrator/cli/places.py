"""Where a command finds results, data sets and MLflow: as the user gave it, or below the storage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.parameter_types import expanded

if TYPE_CHECKING:
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.ledger.storage import Location

DEFAULT_STORAGE = Path("runs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The storage, and what the user gave of the others: None for what nobody gave, or the command does not take."""

    storage: Location
    given_data_root: Path | None = None
    given_tracking_uri: str | None = None

    @property
    def ledger(self) -> Ledger:
        from orchestrator.ledger.ledger import Ledger

        return Ledger(self.storage)

    @property
    def data_root(self) -> Path:
        from orchestrator.ledger.storage import local_folder

        return self.given_data_root or local_folder(self.storage) / "data"

    @property
    def tracking_uri(self) -> str:
        """Raises UsageError for a URI that no MLflow store answers to."""
        from orchestrator.tracking.uris import SQLITE, check_uri, default_uri

        given = self.given_tracking_uri
        if given and given.startswith(f"{SQLITE}~"):
            given = SQLITE + expanded(given.removeprefix(SQLITE))
        return check_uri(given or default_uri(self.storage))
