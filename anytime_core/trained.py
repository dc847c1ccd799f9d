"""Trained networks as the trainer leaves them: what only runs a network needs this, and not the trainer.

Shapes: N images, C channels, H x W pixels, L predictions, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from anytime_core.config import NetworkConfig, TrialConfig, from_dict, our_parts
from anytime_core.data.catalog import dataset_of
from anytime_core.data.loader import Normalisation
from anytime_core.errors import CheckpointError, ConfigError, DataError
from anytime_core.extend import Answers
from anytime_core.files import Folder, UnfitFileError, folder_at
from anytime_core.inputs import ImageSpec
from anytime_core.memory import parameter_count
from anytime_core.model.interface import AnytimeModule
from anytime_core.model.network import as_tensors, build_network
from anytime_core.result import EpochMetrics
from anytime_core.training import checkpoint
from anytime_core.training.checkpoint import Place


class TrainedNetwork(nn.Module):
    """A network with the normalisation it was trained with. ``predicting_units`` are its predictions, first to last.

    ``spec`` describes the images that it takes. A predictor checks them; the network itself does not.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: AnytimeModule,
        normalise: Normalisation,
        spec: ImageSpec | None = None,
        answers: Answers | None = None,
    ) -> None:
        """Without a ``spec``, it knows only the number of channels. ``answers`` are an extension's."""
        super().__init__()
        self.network = network
        self.answers = answers
        self.spec = spec or ImageSpec(network.channels)
        self.register_buffer("mean", normalise.mean)
        self.register_buffer("std", normalise.std)

    @property
    def predicting_units(self) -> tuple[int, ...]:
        return self.network.predicting_units

    def forward(self, images: Tensor) -> Tensor:
        """Pixels [N,C,H,W] as the data set has them, such as bytes from 0 to 255 -> logits [L,N,K]"""
        logits: Tensor = self.network(Normalisation(self.mean, self.std)(images))
        return self.answers.answers(logits) if self.answers else logits


def load_network(folder: Place, *, unfinished: bool = False) -> TrainedNetwork:
    """The trained network in a trial's folder, or its folder of checkpoints: in evaluation mode, on the CPU.

    ``network(images)`` gives the logits [L,N,K] of unnormalised images. Raises CheckpointError, also for a trial that
    has not finished, whose predictions may not be trained at all yet, unless ``unfinished``.
    """
    saved = _newest(folder)
    try:
        config, history = from_dict(saved.meta["config"]), [EpochMetrics.of(values) for values in saved.meta["history"]]
        network = _network(config, saved.below("network/"))
        normalise = _normalisation(config, saved.below("normalisation/"))
        trained = TrainedNetwork(network, normalise, dataset_of(config.data).spec, _answers(config)).eval()
        state = _state(config, history)
    except ConfigError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    except (DataError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} holds a checkpoint of no trial: {type(error).__name__}: {error}") from error
    if state != "finished" and not unfinished:
        raise CheckpointError(
            f"{folder} holds a trial that {state}; load_network(..., unfinished=True) takes it as it is"
        )
    return trained


def _answers(config: TrialConfig) -> Answers | None:
    """Raises CheckpointError for those of an extension that is not here: without it the network answers otherwise."""
    answers = getattr(config.regime, "answers", None)
    if answers is None or isinstance(answers, Answers):
        return answers
    raise CheckpointError(
        f"the network answers by {answers}, which is not here or has changed; "
        'orchestrator.extensions.use("FILE.py") makes the extension known'
    )


def _network(config: TrialConfig, arrays: Mapping[str, np.ndarray]) -> AnytimeModule:
    """Raises ValueError where the arrays are too few for it, before there is room made for more."""
    if isinstance(config.network, (NetworkConfig, *our_parts("network").values())):
        _refuse_few(config, arrays)
    network = build_network(config)
    network.load_state_dict(as_tensors(arrays))
    return network


def _refuse_few(config: TrialConfig, arrays: Mapping[str, np.ndarray]) -> None:
    """Without listing its units, of which a file of somebody's hand may claim a billion."""
    held, network = sum(array.size for array in arrays.values()), config.network
    units = network.units if isinstance(network, NetworkConfig) else len(network.predicting_units)
    if getattr(config.regime, "unit", units) > len(arrays) or parameter_count(config) > held:
        raise ValueError(f"{len(arrays)} arrays of {held} numbers are no network {config.network.label}")


def _normalisation(config: TrialConfig, arrays: Mapping[str, np.ndarray]) -> Normalisation:
    wanted = (1, dataset_of(config.data).channels, 1, 1)
    if wrong := [f"{name} is {list(array.shape)}" for name, array in arrays.items() if array.shape != wanted]:
        raise ValueError(f"{wrong[0]}, must be {list(wanted)}")
    return Normalisation(**as_tensors(arrays))


def _state(config: TrialConfig, history: list[EpochMetrics]) -> str:
    last = history[-1]
    if last.diverged:
        return f"diverged by step {last.step}"
    return "finished" if last.step >= config.steps else f"is at step {last.step} of {config.steps}"


def network_hash(folder: Place) -> str:
    """Identifies the bits of the trained network that ``load_network`` gives: its weights and the statistics of its
    normalisation layers, and nothing that only training needs. Raises CheckpointError."""
    arrays = _newest(folder).arrays
    return checkpoint.digest({name: array for name, array in arrays.items() if name.startswith("network/")})


def trained_on(folder: Place) -> list[str]:
    """What the network was trained on, first to last: more than one if it went on elsewhere. Raises CheckpointError."""
    return _texts(folder, "trained_on")


def trained_by(folder: Place) -> list[str]:
    """Which code it was trained by, likewise; nothing where nobody said so."""
    return _texts(folder, "trained_by")


def _texts(folder: Place, name: str) -> list[str]:
    texts = _newest(folder).meta.get(name, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise CheckpointError(f"{folder} holds a checkpoint that says it was {name} {str(texts)[:80]}")
    return list(texts)


def _names(folder: Folder) -> list[str]:
    try:
        return folder.names()
    except UnfitFileError as error:
        raise CheckpointError(f"{error.filename} {error.strerror}") from error


def _newest(place: Place) -> checkpoint.Checkpoint:
    folder = folder_at(place)
    below = "checkpoints" in _names(folder)
    saved = checkpoint.latest(folder.below("checkpoints") if below else folder)
    if saved is None:
        raise CheckpointError(f"{folder.address('')} holds no valid checkpoint")
    return saved
