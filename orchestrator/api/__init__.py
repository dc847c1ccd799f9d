"""Sweeps in Python: what ``orchestrate`` does, as objects for scripts and notebooks.

::

    from orchestrator import api

    sweep = api.load("my-idea.yaml")    # or api.Sweep(networks=..., datasets=..., methods=...)
    sweep.run()                         # the same engine, and the same storage, as `orchestrate sweep`
    sweep.errors()                      # a pandas frame: a row for each prediction of each trial

Errors are those of ``orchestrator.errors``, and of ``anytime_core.errors`` where data or a network are at fault. What
only reads imports neither torch nor Ray nor MLflow, and pandas once a frame is made.
"""

from orchestrator.api.sweep import Sweep, load
from orchestrator.report.views.notebook import View

__all__ = ["Sweep", "View", "load"]
