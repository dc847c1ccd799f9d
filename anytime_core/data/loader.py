"""The data set lives on the training device as bytes; batches, crops, mirroring and normalisation are tensor operations.

The draws of an epoch depend on the seed and the epoch's number alone, so training can go on at any epoch exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from anytime_core.config import DataConfig
from anytime_core.data.formats import Images
from anytime_core.errors import DataError
from anytime_core.randomness import generator

Batch = tuple[Tensor, Tensor]  # images float32 [N,C,H,W], labels int64 [N]
EVALUATION_BATCH = 500


def channel_moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of uint8 [N,C,H,W], from exact integer sums."""
    values = np.arange(256, dtype=np.float64)
    mean, std = [], []
    for channel in range(images.shape[1]):
        counts = np.bincount(images[:, channel].ravel(), minlength=256)
        mean.append(counts @ values / counts.sum())
        std.append(np.sqrt(counts @ (values - mean[-1]) ** 2 / counts.sum()))
    return np.array(mean), np.array(std)


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
    """Shuffled, augmented batches. An epoch has as many whole batches as fit; the rest of its images is left out."""

    def __init__(
        self, images: Tensor, labels: Tensor, config: DataConfig, normalise: Normalisation, batch_size: int, seed: int
    ) -> None:
        self.images, self.labels, self.normalise = images, labels, normalise
        self.config, self.batch_size, self.seed = config, batch_size, seed
        self.steps_per_epoch = len(images) // batch_size
        if not self.steps_per_epoch:
            raise DataError(f"{config.name} has {len(images)} training images, fewer than one batch of {batch_size}")
        self._rows = torch.arange(images.shape[2], device=images.device)
        self._columns = torch.arange(images.shape[3], device=images.device)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of the given epoch, in order."""
        draws = generator(self.seed, "data", number)
        device, count, margin = self.images.device, len(self.images), 2 * self.config.pad
        order = torch.randperm(count, generator=draws).to(device)
        shift = torch.randint(margin + 1, (2, count), generator=draws).to(device)
        mirror = (torch.rand(count, generator=draws) < 0.5).to(device)
        for start in range(0, self.steps_per_epoch * self.batch_size, self.batch_size):
            batch = slice(start, start + self.batch_size)
            chosen = order[batch]
            images = self._augmented(self.images[chosen], shift[:, batch], mirror[batch])
            yield self.normalise(images), self.labels[chosen]

    def _augmented(self, images: Tensor, shift: Tensor, mirror: Tensor) -> Tensor:
        """uint8 [N,C,H,W], shift [2,N], mirror [N] -> the crop of each zero-padded image, mirrored where told."""
        if self.config.pad:
            images = pad(images, (self.config.pad,) * 4)
        columns = self._columns.expand(len(images), -1)
        if self.config.flip:
            columns = torch.where(mirror[:, None], columns.flip(1), columns)
        rows = (self._rows + shift[0][:, None])[:, None, :, None]
        columns = (columns + shift[1][:, None])[:, None, None, :]
        index = torch.arange(len(images), device=images.device)[:, None, None, None]
        channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
        return images[index, channel, rows, columns]


class EvaluationData:
    """Plain batches in order."""

    def __init__(self, images: Tensor, labels: Tensor, normalise: Normalisation) -> None:
        self.images, self.labels, self.normalise = images, labels, normalise

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.images), EVALUATION_BATCH):
            batch = slice(start, start + EVALUATION_BATCH)
            yield self.normalise(self.images[batch]), self.labels[batch]


def to_device(
    images: Images, config: DataConfig, batch_size: int, seed: int, device: torch.device
) -> tuple[TrainingData, EvaluationData]:
    """Training batches, and those to evaluate on: the test images, or the last training images held out instead."""
    kept = len(images.train_images) - config.validation
    if kept < batch_size:
        raise DataError(
            f"{config.name}: {len(images.train_images)} training images less {config.validation} for validation "
            f"leave {kept}, fewer than one batch of {batch_size}"
        )
    held_out = (images.train_images[kept:], images.train_labels[kept:])
    test = held_out if config.validation else (images.test_images, images.test_labels)
    normalise = Normalisation.of(images.train_images[:kept], device)

    def moved(array: np.ndarray) -> Tensor:
        return torch.tensor(array, device=device)

    train = TrainingData(
        moved(images.train_images[:kept]), moved(images.train_labels[:kept]), config, normalise, batch_size, seed
    )
    return train, EvaluationData(moved(test[0]), moved(test[1]), normalise)
