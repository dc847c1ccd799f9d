"""What a sweep shows in its end: its tables at once, and its figures while Ray's cluster ends and MLflow is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout

from orchestrator.ledger.choices import chosen
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.publish import Drawing
from orchestrator.sweep.grid import Sweep

Show = Callable[[Sweep], object]
"""Shows the tables of a sweep to people."""


class Closing:
    """Shows the tables once, as soon as no trial is left to train. What goes wrong there ends nothing: ``check`` raises
    it when all else is done."""

    def __init__(self, ledger: Ledger, show: Show, say: Callable[[str], object]) -> None:
        self._ledger, self._show, self._say = ledger, show, say
        self._shown = False
        self._output = sys.stdout  # while Ray's cluster is there, what is printed goes into its log
        self._error: Exception | None = None
        self.drawing: Drawing | None = None

    def begin(self, sweep: Sweep) -> None:
        """To be called once no trial of the sweep is left to run. Does nothing where tuning now chooses more trials."""
        try:
            following = chosen(sweep, self._ledger)
        except Exception as error:
            self._error = error
            return
        if set(following.ids) == set(sweep.ids):
            self.show(following)
            self.drawing = Drawing(following, self._ledger)
            self._say("the report and MLflow's last runs follow")

    def show(self, sweep: Sweep) -> None:
        if self._shown:
            return
        self._shown = True
        try:
            with redirect_stdout(self._output):
                self._show(sweep)
        except Exception as error:
            self._error = error

    def check(self) -> None:
        """Raises what showing the tables raised."""
        if self._error:
            raise self._error
