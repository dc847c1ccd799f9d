"""Writes a trained network as one file that ONNX Runtime runs stage by stage, without this package.

Shapes: N images, C channels, S x S pixels, K classes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from anytime_core import inputs
from anytime_core.data.catalog import dataset_of
from anytime_core.data.loader import Normalisation
from anytime_core.files import write_atomically
from anytime_core.model import traced
from anytime_core.model.network import AnytimeResNet
from anytime_core.model.own import OwnModule
from anytime_core.model.staged import Staged
from anytime_core.model.traced import StageFile
from anytime_core.predictor import AnytimePredictor
from anytime_core.trained import TrainedNetwork
from orchestrator.errors import UsageError
from orchestrator.inference import emitted, onnx_runner
from orchestrator.inference.lookup import TrainedTrial
from orchestrator.inference.onnx_runner import MANIFEST, MANY, VERSION

MAIN = "from anytime_runner import main\n\nmain()\n"
INPUTS = ("from anytime_core.inputs import ", "from anytime_inputs import ")
"""How the runner imports its checks: here, and in the archive, which runs without this package."""
TIME = (1980, 1, 1, 0, 0, 0)
"""Of all files in the archive: equal networks are equal files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a file says of its network besides how to run it. ``size`` is S; ``classes`` are K names."""

    trial: str
    label: str
    dataset: str
    size: int
    classes: Sequence[str]


def describe(trial: TrainedTrial) -> Description:
    dataset = dataset_of(trial.config.data)
    return Description(
        trial=trial.trial_id,
        label=trial.label,
        dataset=dataset.name,
        size=dataset.size,
        classes=dataset.class_names,
    )


def export(
    network: TrainedNetwork, description: Description, path: Path, guarantees: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Writes the file, whole. ``guarantees`` are those that are kept of the network, as ``guarantees.kept`` gives them.

    Raises UsageError where a package that it needs is not installed, and for a network that has no stages, or answers
    by an extension's code.
    """
    if network.answers:
        raise UsageError(f"{description.label}: answers {network.answers.name} are code, which no ONNX file can hold")
    stages = {f"stages/stage-{number:03d}.onnx": it for number, it in enumerate(_stages(network, description), 1)}
    # Without any it is as it was before there were guarantees; readers from then leave them aside.
    kept = {"guarantees": list(guarantees)} if guarantees else {}
    files = {
        "__main__.py": MAIN.encode(),
        "anytime_runner.py": Path(onnx_runner.__file__).read_text(encoding="utf-8").replace(*INPUTS).encode(),
        "anytime_inputs.py": Path(inputs.__file__).read_bytes(),
        MANIFEST: json.dumps(_manifest(network, description, stages) | kept, indent=1).encode(),
        **{name: stage.content for name, stage in stages.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _archive(files))


def _stages(network: TrainedNetwork, description: Description) -> Iterator[StageFile]:
    match network.network:
        case AnytimeResNet():
            return emitted.stage_files(network)
        case OwnModule(module=Staged()) as own:
            return _traced(network, own, description)
    raise UsageError(
        f"{description.label}: not exportable; anytime ResNets and networks of stages are, as StagedNetwork gives them"
    )


def _traced(network: TrainedNetwork, own: OwnModule, description: Description) -> Iterator[StageFile]:
    try:
        yield from traced.stage_files(own, Normalisation(network.mean, network.std), description.size)
    except ImportError as error:
        raise UsageError(f"export needs onnxscript ({error}); {emitted.TO_INSTALL}") from error
    except traced.UntraceableError as error:
        raise UsageError(f"{description.label}: not exportable: {error}") from error


def _manifest(network: TrainedNetwork, description: Description, stages: Mapping[str, StageFile]) -> dict[str, Any]:
    costs = dict(zip(network.predicting_units, AnytimePredictor(network).costs(description.size), strict=True))
    return {
        "version": MANY if any(stage.passes_on > 1 for stage in stages.values()) else VERSION,
        **{name: getattr(description, name) for name in ("trial", "label", "dataset", "size")},
        "classes": list(description.classes),
        "channels": network.mean.shape[1],
        "brightest": network.spec.brightest,
        "normalisation": {name: getattr(network, name).flatten().tolist() for name in ("mean", "std")},
        "stages": [
            {"file": name, "unit": stage.unit, "cost": costs[stage.unit] if stage.predicts else None}
            for name, stage in stages.items()
        ],
    }


def _archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(ZipInfo(name, TIME), content)
    return buffer.getvalue()
