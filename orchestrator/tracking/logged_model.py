"""A trained network as a model of MLflow's: what MLflow has to know to load it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anytime_core.config import TrialConfig
from anytime_core.data.catalog import dataset_of
from orchestrator.tracking import pyfunc, run_files
from orchestrator.tracking.tracked_run import TrackedRun

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature


def save(folder: Path, run: TrackedRun, config: TrialConfig) -> Model:
    """Writes ``MLmodel`` and ``requirements.txt`` beside the network in the folder; the same for the same run."""
    from mlflow.models import Model

    model = Model(
        artifact_path=run_files.MODEL,
        run_id=run.run_id,
        utc_time_created=run.tags.get("ended"),
        signature=_signature(config),
        model_uuid=run.run_id,
    )
    model.add_flavor(
        "python_function",
        loader_module=pyfunc.__name__,
        data=run_files.NETWORK,
        python_version=run.tags.get("python"),
    )
    model.save(str(folder / "MLmodel"))
    versions = (f"{name}=={run.tags[name]}" for name in ("torch", "numpy") if name in run.tags)
    (folder / "requirements.txt").write_text("\n".join(["anytime-orchestrator", *versions]) + "\n")
    return model


def _signature(config: TrialConfig) -> ModelSignature:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    spec = dataset_of(config.data)
    images = TensorSpec(np.dtype(np.uint8), (-1, spec.channels, spec.size, spec.size))
    probabilities = TensorSpec(np.dtype(np.float32), (-1, spec.classes))
    kinds = {float: "double", bool: "boolean"}
    params = [ParamSpec(name, kinds[type(default)], default) for name, default in pyfunc.PARAMS.items()]
    return ModelSignature(Schema([images]), Schema([probabilities]), ParamSchema(params))
