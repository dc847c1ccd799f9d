"""The usual ways to train an anytime network, written as a user writes them, for ``trainer.py`` to compare with.

``ResNet`` is the network of ``anytime_core.model.network``, written apart: a linear layer for each unit in a Python
loop, and a loss for each in another. ``take_weights`` gives it the parameters of one of ours; tests hold that it then
computes the same losses and gradients.

N images, C channels, K classes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.utils.data import DataLoader, Dataset

from anytime_core.config import TrainingConfig
from anytime_core.data.dataset import Images, channel_moments
from anytime_core.model.interface import AnytimeModule
from anytime_core.model.network import AnytimeResNet
from harness import NotHereError

# The network


class BasicUnit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(self.bn1(x))
        out = self.conv2(self.relu(self.bn2(out)))
        total: Tensor = x + self.bn3(out)
        return total


class ResNet(nn.Module):
    """n units in each of 3 blocks, c channels in the first, a head on each of the 1-based ``predicting`` units."""

    def __init__(self, n: int, c: int, classes: int, predicting: Sequence[int], in_channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, c, 3, padding=1, bias=False)
        self.units, self.transitions, self.heads = nn.ModuleList(), nn.ModuleDict(), nn.ModuleDict()
        for unit in range(1, predicting[-1] + 1):
            channels = c << (unit - 1) // n
            if unit > 1 and (unit - 1) % n == 0:
                self.transitions[str(unit)] = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1, bias=False)
            self.units.append(BasicUnit(channels))
            if unit in predicting:
                self.heads[str(unit)] = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[N,C,H,W] -> logits [N,K] of each head."""
        x = self.conv(x)
        outputs = []
        for number, unit in enumerate(self.units, start=1):
            if str(number) in self.transitions:
                x = self.transitions[str(number)](x)
            x = unit(x)
            if str(number) in self.heads:
                pooled = torch.flatten(adaptive_avg_pool2d(torch.relu(x), 1), 1)
                outputs.append(self.heads[str(number)](pooled))
        return outputs


def twin_of(network: AnytimeModule) -> ResNet:
    """The same network with the same parameters, on the same device."""
    assert isinstance(network, AnytimeResNet)
    stem: Any = network.stem
    heads: Any = next(block.heads for block in network.blocks if block.heads is not None)
    classes = heads.bias[0].shape[0]
    twin = ResNet(network.n, stem.out_channels, classes, network.predicting_units, stem.in_channels)
    twin.to(stem.weight.device, stem.weight.dtype)
    take_weights(twin, network)
    return twin


@torch.no_grad()
def take_weights(twin: ResNet, network: AnytimeResNet) -> None:
    for own, theirs in pairs_of(twin, network):
        own.copy_(theirs.t() if own.ndim == 2 else theirs)  # ours are [C,K], torch's [K,C]


def pairs_of(twin: ResNet, network: AnytimeResNet) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
    """The parameters of both networks that stand for the same; those of linear layers are each other's transpose."""
    blocks: Any = network.blocks
    yield twin.conv.weight, network.stem.weight  # type: ignore[misc]
    for number, unit in enumerate(twin.units, start=1):
        block = blocks[(number - 1) // network.n]
        index = (number - 1) % network.n
        if str(number) in twin.transitions:
            yield twin.transitions[str(number)].weight, block.transition.weight  # type: ignore[misc]
        theirs: Any = block.units[index]
        yield from zip(unit.parameters(), theirs.parameters(), strict=True)
        if str(number) in twin.heads:
            head: Any = twin.heads[str(number)]
            place = block.predicting.index(index)
            yield head.weight, block.heads.weight[place]
            yield head.bias, block.heads.bias[place]


# The data


class ArrayDataset(Dataset[tuple[Tensor, int]]):
    """As torchvision's CIFAR-10: one image at a time, through PIL and transforms."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Callable[[Any], Tensor]) -> None:
        self.images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))  # [N,H,W,C]
        self.labels, self.transform = labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        return self.transform(as_pil(image)), int(self.labels[index])


def as_pil(image: np.ndarray) -> Any:
    """An image of PIL's, where there is PIL; else the bytes [H,W,C]."""
    try:
        from PIL import Image
    except ImportError:
        return image
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def usual_transform(size: int, pad: int, flip: bool, mean: np.ndarray, std: np.ndarray) -> tuple[Any, str]:
    """RandomCrop, RandomHorizontalFlip, ToTensor, Normalize; and whose they are."""
    try:
        transforms: Any = importlib.import_module("torchvision.transforms")
    except Exception as error:  # a torchvision beside another torch raises RuntimeError
        return PlainTransform(size, pad, flip, mean, std), f"ours, as torchvision does not import ({error})"
    steps = [transforms.RandomCrop(size, padding=pad)] + [transforms.RandomHorizontalFlip()] * flip
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)]), "torchvision's"


class PlainTransform:
    """What torchvision's transforms do to one image, on PIL and torch, or on numpy where there is no PIL."""

    def __init__(self, size: int, pad: int, flip: bool, mean: np.ndarray, std: np.ndarray) -> None:
        self.size, self.pad, self.flip = size, pad, flip
        self.mean, self.std = (torch.tensor(m, dtype=torch.float32).view(-1, 1, 1) for m in (mean, std))

    def __call__(self, image: Any) -> Tensor:
        top, left = (int(torch.randint(2 * self.pad + 1, ()).item()) for _ in range(2))
        mirror = self.flip and bool(torch.rand(()) < 0.5)
        pixels = self._of_array(image, top, left) if isinstance(image, np.ndarray) else self._of_pil(image, top, left)
        pixels = pixels[:, ::-1] if mirror else pixels
        tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div(255)
        return tensor.sub_(self.mean).div_(self.std)

    def _of_pil(self, image: Any, top: int, left: int) -> np.ndarray:
        """PIL fills what lies outside with zeros."""
        box = (left - self.pad, top - self.pad, left - self.pad + self.size, top - self.pad + self.size)
        return np.atleast_3d(np.asarray(image.crop(box)))

    def _of_array(self, image: np.ndarray, top: int, left: int) -> np.ndarray:
        padded = np.pad(image, ((self.pad, self.pad), (self.pad, self.pad), (0, 0)))
        return padded[top : top + self.size, left : left + self.size]


def usual_loader(
    images: Images, pad: int, flip: bool, batch: int, workers: int, pin: bool
) -> tuple[DataLoader[Any], str]:
    """Shuffled and augmented batches of the training images; and whose transforms they went through."""
    mean, std = (moments / 255 for moments in channel_moments(images.train_images))
    transform, whose = usual_transform(images.train_images.shape[2], pad, flip, mean, std)
    dataset = ArrayDataset(images.train_images, images.train_labels, transform)
    loader = DataLoader(
        dataset,
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=workers > 0,
    )
    return loader, whose


# The loops


def usual_sgd(model: nn.Module, config: TrainingConfig) -> tuple[torch.optim.SGD, Any]:
    """Weight decay on convolutions and linear weights alone, and the learning rate's falls, step by step."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=config.rate_at(0), momentum=config.momentum)
    falls = [step for step in config.learning_rate if step]
    return optimiser, torch.optim.lr_scheduler.MultiStepLR(optimiser, falls, gamma=0.1)


def forever(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


class UsualLoop:
    """Trains in float32, and looks at the loss and each head's errors in every step, as torchvision's reference and
    published multi-exit code do."""

    def __init__(
        self,
        model: ResNet,
        weights: Sequence[float],
        config: TrainingConfig,
        loader: DataLoader[Any],
        device: torch.device,
    ) -> None:
        self.model, self.weights, self.device = model.train(), weights, device
        self.forward: Callable[[Tensor], list[Tensor]] = self.model
        self.criterion = nn.CrossEntropyLoss()
        self.optimiser, self.schedule = usual_sgd(model, config)
        self.batches = forever(loader)
        self.total_loss, self.wrong = 0.0, [0] * len(weights)

    def step(self) -> None:
        images, labels = self.next_batch()
        loss, outputs = self.loss_of(images, labels)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.schedule.step()
        self.note(loss.detach(), outputs, labels)

    def next_batch(self) -> tuple[Tensor, Tensor]:
        images, labels = next(self.batches)
        return images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def loss_of(self, images: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        outputs = self.forward(images)
        loss = torch.zeros((), device=self.device)
        for weight, output in zip(self.weights, outputs, strict=True):
            loss = loss + weight * self.criterion(output, labels)
        return loss, outputs

    def note(self, loss: Tensor, outputs: list[Tensor], labels: Tensor) -> None:
        self.total_loss += loss.item()
        for index, output in enumerate(outputs):
            self.wrong[index] += int((output.detach().argmax(1) != labels).sum().item())

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()


class TunedLoop(UsualLoop):
    """What a user does who has read PyTorch's tuning guide: bfloat16 autocast, channels_last, torch.compile, and no
    look at the numbers in a step."""

    def __init__(
        self,
        model: ResNet,
        weights: Sequence[float],
        config: TrainingConfig,
        loader: DataLoader[Any],
        device: torch.device,
        mode: str | None,
    ) -> None:
        super().__init__(model.to(memory_format=torch.channels_last), weights, config, loader, device)  # type: ignore[call-overload]
        self.forward = torch.compile(self.model, mode=mode)
        self.sums = torch.zeros(1 + len(weights), device=device)

    def next_batch(self) -> tuple[Tensor, Tensor]:
        images, labels = super().next_batch()
        return images.to(memory_format=torch.channels_last), labels

    def loss_of(self, images: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        with torch.autocast(self.device.type, torch.bfloat16):
            return super().loss_of(images, labels)

    def note(self, loss: Tensor, outputs: list[Tensor], labels: Tensor) -> None:
        wrong = [(output.detach().argmax(1) != labels).sum() for output in outputs]
        self.sums += torch.stack([loss, *wrong])


def imported_lightning() -> Any:
    try:
        return importlib.import_module("lightning")
    except Exception as error:  # its torchmetrics imports torchvision, which beside another torch raises RuntimeError
        raise NotHereError(f"lightning does not import: {error}") from error


def lightning_loop(model: ResNet, weights: Sequence[float], config: TrainingConfig) -> Any:
    """The module of a Lightning user: ``training_step`` and ``configure_optimizers``. Raises NotHereError."""
    lightning = imported_lightning()

    class Module(lightning.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.criterion = nn.CrossEntropyLoss()

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            images, labels = batch
            outputs = self.model(images)
            losses = [w * self.criterion(output, labels) for w, output in zip(weights, outputs, strict=True)]
            loss = torch.stack(losses).sum()
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimiser, schedule = usual_sgd(self.model, config)
            return [optimiser], [{"scheduler": schedule, "interval": "step"}]

    return Module()


def lightning_trainer(steps: int, device: torch.device, callback: Callable[[], None]) -> Any:
    """Trains for so many steps, and calls ``callback`` after each; writes nothing, shows nothing."""
    lightning = imported_lightning()

    class AfterStep(lightning.Callback):  # type: ignore[misc,name-defined]
        def on_train_batch_end(self, *ignored: Any) -> None:
            callback()

    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        max_steps=steps,
        max_epochs=-1,
        callbacks=[AfterStep()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision="bf16-mixed" if device.type == "cuda" else "32-true",
    )
