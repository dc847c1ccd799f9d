"""The data set lives on the training device as bytes; batches, crops and normalisation are tensor operations.

The draws of an epoch depend on the seed and the epoch's number alone, so training can go on at any epoch exactly.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from anytime_core.config import DataConfig
from anytime_core.data.catalog import dataset_of
from anytime_core.data.dataset import Images, channel_moments
from anytime_core.errors import DataError
from anytime_core.randomness import generator

Batch = tuple[Tensor, Tensor]  # images float32 [N,C,H,W], labels int64 [N]
EVALUATION_BATCH = 500


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Bytes to numbers of mean 0 and deviation 1 over the training images, channel by channel; both [1,C,1,1]."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, train_images: np.ndarray, device: torch.device) -> Normalisation:
        mean, std = (torch.tensor(m, dtype=torch.float32, device=device) for m in channel_moments(train_images))
        return cls(mean.view(1, -1, 1, 1), std.clamp_min(1e-6).view(1, -1, 1, 1))

    def __call__(self, images: Tensor) -> Tensor:
        return (images.float() - self.mean) / self.std


class TrainingData:
    """Shuffled, augmented batches. An epoch has as many whole batches as fit; the rest of its images is left out.

    ``draw`` puts the draws of an epoch on the device, always into the same tensors; ``batch`` reads its own from there.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, config: DataConfig, normalise: Normalisation, batch_size: int, seed: int
    ) -> None:
        self.images, self.labels, self.normalise = images, labels, normalise
        self.config, self.batch_size, self.seed = config, batch_size, seed
        self.steps_per_epoch = len(images) // batch_size
        assert self.steps_per_epoch, "see to_device"
        device, batches = images.device, (self.steps_per_epoch, batch_size)
        self._order = torch.zeros(batches, dtype=torch.int64, device=device)
        self._shift = torch.zeros(2, *batches, dtype=torch.int64, device=device)
        self._mirror = torch.zeros(batches, dtype=torch.bool, device=device)
        self._light = torch.zeros(2, *batches, device=device)
        self._rows = torch.arange(images.shape[2], device=device)
        self._columns = torch.arange(images.shape[3], device=device)
        self._padded = (images.shape[2] + 2 * config.pad) * (images.shape[3] + 2 * config.pad)
        self._first = self._padded * torch.arange(batch_size, device=device)

    def draw(self, epoch: int) -> None:
        """Draws the epoch's order, crops, mirrors and light, and puts them on the device."""
        draws, count = generator(self.seed, "data", epoch), len(self.images)
        self._put(self._order, torch.randperm(count, generator=draws))
        self._put(self._shift, torch.randint(2 * self.config.pad + 1, (2, count), generator=draws))
        self._put(self._mirror, torch.rand(count, generator=draws) < 0.5)
        self._put(self._light, 2 * torch.rand(2, count, generator=draws) - 1)  # brightness and contrast, -1 to 1

    def _put(self, kept: Tensor, drawn: Tensor) -> None:
        """[..., count] -> [..., batches, N]"""
        kept.copy_(drawn[..., : kept.shape[-2] * kept.shape[-1]].reshape(kept.shape))

    def batch(self, at: Tensor) -> Batch:
        """The epoch's batch with this 0-based number, int64 [1] on the device, for which nothing waits."""
        order, mirror = self._order.index_select(0, at)[0], self._mirror.index_select(0, at)[0]
        shift, light = self._shift.index_select(1, at)[:, 0], self._light.index_select(1, at)[:, 0]
        images = self._lit(self.images.index_select(0, order), light)
        return self.normalise(self._cropped(images, shift, mirror)), self.labels.index_select(0, order)

    def _lit(self, images: Tensor, light: Tensor) -> Tensor:
        """uint8 [N,C,H,W], light [2,N] -> float32: contrast about the mean of each image's channels, then brightness,
        within 0 to 255; the images themselves where neither is configured."""
        if not self.config.brightness and not self.config.contrast:
            return images
        added, factor = self.config.brightness * light[0], 1 + self.config.contrast * light[1]
        pixels = images.float()
        mean = pixels.mean((2, 3), keepdim=True)
        return (mean + (pixels - mean) * factor.view(-1, 1, 1, 1) + added.view(-1, 1, 1, 1)).clamp(0, 255)

    def _cropped(self, images: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
        """[N,C,H,W], shift [2,N], mirror [N] -> the crop of each zero-padded image, mirrored where told; channels lie
        last, so that a pixel is one piece and the crop one selection of pixels."""
        count, channels, height, width = images.shape
        columns = self._columns.expand(count, -1)
        if self.config.flip:
            columns = torch.where(mirror[:, None], columns.flip(1), columns)
        rows = (self._rows + shift[0][:, None]) * (width + 2 * self.config.pad) + self._first[:, None]
        place = rows[:, :, None] + (columns + shift[1][:, None])[:, None, :]
        pixels = pad(images, (self.config.pad,) * 4).permute(0, 2, 3, 1).reshape(-1, channels)
        return pixels.index_select(0, place.view(-1)).view(count, height, width, channels).permute(0, 3, 1, 2)


class EvaluationData:
    """Plain batches in order; what is left after the whole ones is the ``rest``."""

    def __init__(self, images: Tensor, labels: Tensor, normalise: Normalisation) -> None:
        self.images, self.labels, self.normalise = images, labels, normalise
        self.batch_size = EVALUATION_BATCH
        self.whole_batches = len(images) // self.batch_size
        self._numbers = torch.arange(self.batch_size, device=images.device)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, at: Tensor) -> Batch:
        """The whole batch with this 0-based number, int64 [1] on the device, for which nothing waits."""
        chosen = at * self.batch_size + self._numbers
        return self._normalised(self.images.index_select(0, chosen)), self.labels.index_select(0, chosen)

    @property
    def rest(self) -> Batch:
        done = self.whole_batches * self.batch_size
        return self._normalised(self.images[done:]), self.labels[done:]

    def _normalised(self, images: Tensor) -> Tensor:
        return self.normalise(images.contiguous(memory_format=torch.channels_last))


def to_device(
    images: Images, config: DataConfig, batch_size: int, seed: int, device: torch.device
) -> tuple[TrainingData, EvaluationData]:
    """Training batches, and those to evaluate on: the test images; or the data set's own validation images, or the last
    training images held out, instead.

    On the CPU they share the memory of ``images``, and so do all processes that map one cache. Raises DataError.
    """
    _refuse_unfit(images, config)
    if config.flip and dataset_of(config).never_flips:
        raise DataError(f"{config.name}: flip is true, must be false: its images are never mirrored")
    kept = len(images.train_images) - config.validation
    if kept < batch_size:
        raise DataError(
            f"{config.name}: {len(images.train_images)} training images less {config.validation} for validation "
            f"leave {kept}, fewer than one batch of {batch_size}"
        )
    evaluated = _evaluated(images, config, kept)
    normalise = Normalisation.of(images.train_images[:kept], device)

    pixels, labels = _moved(images.train_images[:kept], device), _moved(images.train_labels[:kept], device)
    return (
        TrainingData(pixels, labels, config, normalise, batch_size, seed),
        EvaluationData(_moved(evaluated[0], device), _moved(evaluated[1], device), normalise),
    )


def test_data(images: Images, normalise: Normalisation, device: torch.device) -> EvaluationData:
    """The test images, also where a trial is evaluated on others."""
    return EvaluationData(_moved(images.test_images, device), _moved(images.test_labels, device), normalise)


def _evaluated(images: Images, config: DataConfig, kept: int) -> tuple[np.ndarray, np.ndarray]:
    if config.validation:
        return images.train_images[kept:], images.train_labels[kept:]
    if config.own_validation and images.validation_images is not None and images.validation_labels is not None:
        return images.validation_images, images.validation_labels
    return images.test_images, images.test_labels


def _moved(array: np.ndarray, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # A mapped cache is read-only, and torch warns of what would happen if it were written to.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.as_tensor(np.ascontiguousarray(array), device=device)


def _refuse_unfit(images: Images, config: DataConfig) -> None:
    """Images may come from elsewhere than the readers, and on a GPU a wrong label is an error without a place."""
    name, spec = config.name, dataset_of(config)
    shape = (spec.channels, spec.size, spec.size)
    for part in ("train", "test", *(["validation"] if config.own_validation else [])):
        pixels, labels = getattr(images, f"{part}_images"), getattr(images, f"{part}_labels")
        if pixels is None:
            raise DataError(f"{name}: there are no {part} images, and validation is own")
        if pixels.dtype != np.uint8 or pixels.shape[1:] != shape or not len(pixels):
            actual = f"{pixels.dtype} {list(pixels.shape)}"
            raise DataError(f"{name}: {part} images are {actual}, must be uint8 [N, {', '.join(map(str, shape))}]")
        if labels.dtype != np.int64 or labels.shape != pixels.shape[:1]:
            actual = f"{labels.dtype} {list(labels.shape)}"
            raise DataError(f"{name}: {part} labels are {actual}, must be int64 [{len(pixels)}]")
        if labels.min() < 0 or labels.max() >= spec.classes:
            raise DataError(
                f"{name}: {part} labels are {labels.min()} to {labels.max()}, must be 0 to {spec.classes - 1}"
            )
