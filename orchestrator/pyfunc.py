"""The old name of ``orchestrator.tracking.pyfunc``, by which models that MLflow already holds find their loader."""

from orchestrator.tracking.pyfunc import _load_pyfunc

__all__ = ["_load_pyfunc"]
