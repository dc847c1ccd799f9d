"""Batches against padding, slicing and mirroring one image at a time in numpy."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from anytime_core.config import DataConfig
from anytime_core.data import dataset, loader
from anytime_core.data.catalog import DATASETS
from anytime_core.data.dataset import Images, channel_moments
from anytime_core.data.loader import EvaluationData, Normalisation, TrainingData, to_device
from anytime_core.errors import DataError
from anytime_core.randomness import generator

CPU = torch.device("cpu")


def images(name: str = "cifar10", train: int = 40, test: int = 7) -> Images:
    """Random images whose channels differ in mean and deviation."""
    spec, rng = DATASETS[name], np.random.default_rng(0)

    def pixels(count: int) -> np.ndarray:
        drawn = rng.integers(100, size=(count, spec.channels, spec.size, spec.size))
        scale = np.arange(1, 1 + spec.channels)[:, None, None]
        return (drawn * scale // 2 + 10 * scale).astype(np.uint8)

    return Images(
        train_images=pixels(train),
        train_labels=rng.integers(spec.classes, size=train),
        test_images=pixels(test),
        test_labels=rng.integers(spec.classes, size=test),
    )


def loaded(
    source: Images, name: str = "cifar10", batch_size: int = 8, seed: int = 0, **options
) -> tuple[TrainingData, EvaluationData]:
    return to_device(source, DataConfig(name=name, **options), batch_size, seed, CPU)


def raw(source: Images, **options) -> TrainingData:
    """Batches of the bytes themselves: not normalised."""
    train, _ = loaded(source, **options)
    train.normalise = Normalisation(torch.zeros(1), torch.ones(1))
    return train


def batches(data: TrainingData, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    data.draw(epoch)
    return map(data.batch, torch.arange(data.steps_per_epoch)[:, None])


def evaluated(data: EvaluationData) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The whole batches, and the rest where there is one."""
    whole = map(data.batch, torch.arange(data.whole_batches)[:, None])
    return [*whole, *([data.rest] if len(data.rest[1]) else [])]


# Order


def numbered(train: int) -> Images:
    """Every label and every pixel of image i is i."""
    source = images("cifar100", train)
    number = np.arange(train)
    pixels = np.broadcast_to(number[:, None, None, None], source.train_images.shape).astype(np.uint8)
    return replace(source, train_images=pixels, train_labels=number)


@pytest.mark.parametrize(("train", "batch_size", "steps"), [(40, 8, 5), (41, 8, 5), (47, 8, 5), (8, 8, 1)])
def test_an_epoch_takes_every_image_once_in_whole_batches(train, batch_size, steps) -> None:
    data = raw(numbered(train), name="cifar100", batch_size=batch_size, pad=0)
    assert data.steps_per_epoch == steps
    taken = [(pixels, labels) for pixels, labels in batches(data, 1)]
    assert [len(labels) for _, labels in taken] == [batch_size] * steps
    labels = torch.cat([labels for _, labels in taken]).tolist()
    assert len(set(labels)) == len(labels)
    assert set(labels) <= set(range(train))
    assert labels != sorted(labels)
    for pixels, names in taken:
        assert torch.equal(pixels, names[:, None, None, None].expand(pixels.shape).float())


def test_images_left_out_of_one_epoch_are_in_others() -> None:
    data = raw(numbered(15), name="cifar100", batch_size=8, pad=0)
    seen = {label for epoch in range(1, 12) for _, labels in batches(data, epoch) for label in labels.tolist()}
    assert seen == set(range(15))


def test_an_epoch_depends_on_the_seed_and_its_number_alone() -> None:
    source = images()
    first, again, other = (
        loaded(source, flip=True)[0],
        loaded(source, flip=True)[0],
        loaded(source, flip=True, seed=1)[0],
    )

    def bits(data: TrainingData, number: int) -> list[bytes]:
        return [pixels.numpy().tobytes() for pixels, _ in batches(data, number)]

    list(batches(first, 1))
    list(islice(batches(first, 2), 3))
    torch.rand(5)
    assert bits(first, 3) == bits(again, 3) == bits(first, 3)
    assert bits(first, 3) != bits(first, 4)
    assert bits(first, 3) != bits(other, 3)


# Crops and mirrors


def crops(image: np.ndarray, pad: int, flip: bool) -> dict[bytes, tuple[int, int, bool]]:
    """Every crop of an image [C,H,W] by its bytes."""
    channels, height, width = image.shape
    padded = np.zeros((channels, height + 2 * pad, width + 2 * pad), np.uint8)
    padded[:, pad : pad + height, pad : pad + width] = image
    found = {}
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[:, top : top + height, left : left + width]
            found[crop.tobytes()] = (top, left, False)
            if flip:
                found[crop[:, :, ::-1].tobytes()] = (top, left, True)
    return found


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("name", "pad"), [("cifar10", 4), ("fashion_mnist", 2), ("digits", 1), ("digits", 0)])
def test_every_batch_is_of_padded_crops_mirrored_where_told(name, pad, flip) -> None:
    source = images(name)
    spec = DATASETS[name]
    source.train_labels[:] = 0
    known = {}
    for number, image in enumerate(source.train_images):
        for content, place in crops(image, pad, flip).items():
            known[content] = (number, *place)
    found, places = [], set()
    for pixels, _ in batches(raw(source, name=name, pad=pad, flip=flip), 1):
        assert pixels.shape[1:] == (spec.channels, spec.size, spec.size)
        batch = [known[image.tobytes()] for image in pixels.numpy().astype(np.uint8)]
        found += batch
        places.add(tuple(place[1:] for place in batch))
    assert len({number for number, *_ in found}) == 40
    assert {mirrored for *_, mirrored in found} == ({False, True} if flip else {False})
    for shifts in ({top for _, top, _, _ in found}, {left for _, _, left, _ in found}):
        assert shifts <= set(range(2 * pad + 1))
        assert len(shifts) > pad  # 40 draws of 1 to 9 values
    assert len(places) == (5 if pad else 1 + 4 * flip)  # every batch has draws of its own
    assert any(top != left for _, top, left, _ in found) == bool(pad)


def test_draws_do_not_depend_on_what_is_configured() -> None:
    """With and without mirroring the order is the same, so that one differs from the other in nothing else."""
    source = images()
    orders = [
        torch.cat([labels for _, labels in batches(loaded(source, flip=flip, pad=4)[0], 1)]) for flip in (True, False)
    ]
    assert torch.equal(*orders)


# Normalisation


@pytest.mark.parametrize("name", ["cifar10", "digits"])
def test_training_images_have_mean_0_and_deviation_1(name) -> None:
    source = images(name)
    train, _ = loaded(source, name=name, pad=0)
    pixels = torch.cat([pixels for pixels, _ in batches(train, 1)]).double()
    assert len(pixels) == 40
    assert pixels.mean((0, 2, 3)).abs().max() < 1e-6
    assert (pixels.std((0, 2, 3), unbiased=False) - 1).abs().max() < 1e-6


def test_test_images_have_the_normalisation_of_the_training_images() -> None:
    source = images()
    _, test = loaded(source)
    mean = source.train_images.mean((0, 2, 3), keepdims=True)
    std = source.train_images.std((0, 2, 3), keepdims=True)
    (pixels, labels), *rest = evaluated(test)
    assert not rest
    np.testing.assert_allclose(pixels.numpy(), (source.test_images - mean) / std, atol=1e-5)
    np.testing.assert_array_equal(labels.numpy(), source.test_labels)


def test_moments_are_those_of_all_images_at_once(monkeypatch) -> None:
    monkeypatch.setattr(dataset, "COUNTED_AT_ONCE", 7)
    pixels = images(train=40).train_images
    mean, std = channel_moments(pixels)
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-12)


def test_moments_of_many_images_take_little_memory() -> None:
    pixels = np.zeros((60_000, 1, 8, 8), np.uint8)
    tracemalloc.start()
    channel_moments(pixels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * pixels.nbytes  # all at once would take 8 bytes a pixel, and a copy


# What is trained on and what is evaluated


def test_validation_holds_out_the_last_training_images() -> None:
    source = numbered(50)
    train, test = loaded(source, name="cifar100", validation=10)
    assert len(train.images) == 40
    trained = torch.cat([labels for _, labels in batches(train, 1)]).tolist()
    assert sorted(trained) == list(range(40))
    assert torch.cat([labels for _, labels in evaluated(test)]).tolist() == list(range(40, 50))
    assert train.normalise is test.normalise
    kept = source.train_images[:40]
    assert train.normalise.mean.flatten().tolist() == pytest.approx([kept.mean()] * 3)


def test_evaluation_takes_every_image_in_order(monkeypatch) -> None:
    monkeypatch.setattr(loader, "EVALUATION_BATCH", 3)
    source = images(test=7)
    _, test = loaded(source)
    found = evaluated(test)
    assert len(test) == 7
    assert [len(labels) for _, labels in found] == [3, 3, 1]
    np.testing.assert_array_equal(torch.cat([labels for _, labels in found]).numpy(), source.test_labels)


def test_on_the_cpu_a_mapped_cache_is_shared(tmp_path) -> None:
    source = images()
    np.save(tmp_path / "pixels.npy", source.train_images)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    train, _ = loaded(replace(source, train_images=mapped), validation=8)
    assert train.images.data_ptr() == mapped.ctypes.data
    before = mapped.tobytes()
    list(batches(train, 1))
    assert mapped.tobytes() == before


def test_images_in_another_memory_order_are_the_same_images() -> None:
    source = images()
    turned = np.ascontiguousarray(source.train_images[::-1])[::-1]
    assert turned.strides[0] < 0
    for first, second in zip(
        batches(loaded(source)[0], 1), batches(loaded(replace(source, train_images=turned))[0], 1), strict=True
    ):
        assert torch.equal(first[0], second[0])


# What cannot be


@pytest.mark.parametrize(("validation", "left"), [(33, 7), (40, 0), (41, -1)])
def test_a_validation_set_that_leaves_no_batch_is_refused(validation, left) -> None:
    with pytest.raises(
        DataError, match=f"40 training images less {validation} for validation leave {left}, fewer than"
    ):
        loaded(images(), validation=validation)
    assert len(loaded(images(), validation=32)[0].images) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train_images": np.zeros((40, 3, 28, 28), np.uint8)},
            r"train images are uint8 \[40, 3, 28, 28\], must be uint8",
        ),
        ({"test_images": np.zeros((7, 1, 32, 32), np.uint8)}, r"must be uint8 \[N, 3, 32, 32\]"),
        ({"train_images": np.zeros((40, 3, 32, 32))}, r"train images are float64 \[40, 3, 32, 32\]"),
        ({"test_images": np.zeros((0, 3, 32, 32), np.uint8)}, r"test images are uint8 \[0, 3, 32, 32\]"),
        ({"train_labels": np.zeros(39, np.int64)}, r"train labels are int64 \[39\], must be int64 \[40\]"),
        ({"test_labels": np.zeros(7, np.uint8)}, r"test labels are uint8 \[7\], must be int64 \[7\]"),
        ({"test_labels": np.full(7, 10)}, "test labels are 10 to 10, must be 0 to 9"),
        ({"train_labels": np.full(40, -1)}, "train labels are -1 to -1, must be 0 to 9"),
    ],
)
def test_images_that_are_not_of_the_data_set_are_refused(change, message) -> None:
    with pytest.raises(DataError, match=message):
        loaded(replace(images(), **change))


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(DataError, match="'mnist', must be one of cifar10"):
        loaded(images(), name="mnist")


# Light


def test_light_is_the_formula_of_each_images_own_draws() -> None:
    source = images()
    data = raw(source, pad=1, flip=True, brightness=40, contrast=0.75)
    draws = generator(0, "data", 1)
    order = torch.randperm(40, generator=draws).numpy()
    shift, mirror = torch.randint(3, (2, 40), generator=draws).numpy(), torch.rand(40, generator=draws).numpy() < 0.5
    light = 2 * torch.rand(2, 40, generator=draws).numpy() - 1
    found = np.concatenate([pixels.numpy() for pixels, _ in batches(data, 1)])
    clipped = 0
    for place, number in enumerate(order):
        image = source.train_images[number].astype(np.float64)
        mean = image.mean((1, 2), keepdims=True)
        lit = mean + (1 + 0.75 * light[1, place]) * (image - mean) + 40 * light[0, place]
        clipped += int(((lit < 0) | (lit > 255)).sum())
        padded = np.pad(lit.clip(0, 255), ((0, 0), (1, 1), (1, 1)))
        top, left = shift[:, place]
        crop = padded[:, top : top + 32, left : left + 32]
        np.testing.assert_allclose(found[place], crop[:, :, ::-1] if mirror[place] else crop, atol=1e-3)
    assert clipped > 0


def test_light_is_within_what_is_configured_and_of_both_signs() -> None:
    source = numbered(40)
    source.train_images[:] = 100
    (flat,) = {pixels.shape[1:] for pixels, _ in batches(raw(source, name="cifar100", pad=0, contrast=1), 1)}
    assert flat == (3, 32, 32)
    # Contrast is about the mean, which is all there is.
    for pixels, _ in batches(raw(source, name="cifar100", pad=0, contrast=1), 1):
        torch.testing.assert_close(pixels, torch.full_like(pixels, 100))
    added = torch.cat([pixels - 100 for pixels, _ in batches(raw(source, name="cifar100", pad=0, brightness=30), 1)])
    assert all(len(image.unique()) == 1 for image in added)
    assert added.abs().max() <= 30
    assert added.min() < -20
    assert added.max() > 20


def test_without_light_the_other_draws_are_the_same() -> None:
    """So that what differs is the light alone."""
    orders = [
        torch.cat([labels for _, labels in batches(loaded(images(), pad=4, **light)[0], 2)])
        for light in ({}, {"brightness": 10}, {"contrast": 0.5})
    ]
    assert torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0], orders[2])


def test_house_numbers_are_never_mirrored() -> None:
    with pytest.raises(DataError, match="svhn: flip is true, must be false: its images are never mirrored"):
        loaded(images("svhn"), name="svhn", flip=True)
