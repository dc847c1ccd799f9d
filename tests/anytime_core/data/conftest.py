"""Small random data sets in the true file formats, and the real images where they lie beside the repository."""

from __future__ import annotations

import gzip
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anytime_core.data.catalog import DATASETS
from anytime_core.data.dataset import Images

SCRIPT = Path(__file__).parents[4] / "shared" / "data" / "write_true_formats.py"
Writer = Callable[[str, Path], Images]


def drawn(name: str, train: int = 15, test: int = 4) -> Images:
    """Random images and labels of the data set's shapes."""
    spec, rng = DATASETS[name], np.random.default_rng(0)
    shape = (spec.channels, spec.size, spec.size)
    return Images(
        train_images=rng.integers(256, size=(train, *shape), dtype=np.uint8),
        train_labels=rng.integers(spec.classes, size=train),
        test_images=rng.integers(256, size=(test, *shape), dtype=np.uint8),
        test_labels=rng.integers(spec.classes, size=test),
    )


def dump(path: Path, **content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def write_cifar10(root: Path, images: Images) -> None:
    folder = root / "cifar-10-batches-py"
    for i, rows in enumerate(np.array_split(np.arange(len(images.train_labels)), 5), start=1):
        data = images.train_images[rows].reshape(len(rows), -1)
        dump(folder / f"data_batch_{i}", data=data, labels=images.train_labels[rows].tolist(), batch_label=f"{i} of 5")
    data = images.test_images.reshape(len(images.test_images), -1)
    dump(folder / "test_batch", data=data, labels=images.test_labels.tolist())
    dump(folder / "batches.meta", label_names=[str(i) for i in range(10)])


def write_cifar100(root: Path, images: Images) -> None:
    folder = root / "cifar-100-python"
    for part in ("train", "test"):
        data, labels = getattr(images, f"{part}_images"), getattr(images, f"{part}_labels").tolist()
        dump(folder / part, data=data.reshape(len(data), -1), fine_labels=labels, coarse_labels=[0] * len(labels))
    dump(folder / "meta", fine_label_names=[str(i) for i in range(100)])


def write_svhn(root: Path, images: Images) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    train = (images.train_images, images.train_labels)
    parts = {
        "train": (train[0][:10], train[1][:10]),
        "extra": (train[0][10:], train[1][10:]),
        "test": (images.test_images, images.test_labels),
    }
    root.mkdir(parents=True, exist_ok=True)
    for part, (pixels, labels) in parts.items():
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        # Compressed, as the published files are.
        content = {"X": pixels.transpose(2, 3, 1, 0), "y": y}
        savemat(root / f"{part}_32x32.mat", content, do_compression=True)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_fashion_mnist(root: Path, images: Images) -> None:
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for part, prefix in (("train", "train"), ("test", "t10k")):
        pixels, labels = getattr(images, f"{part}_images")[:, 0], getattr(images, f"{part}_labels")
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(pixels)))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))


WRITERS: dict[str, Callable[[Path, Images], None]] = {
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "svhn": write_svhn,
    "fashion_mnist": write_fashion_mnist,
}


@pytest.fixture
def write() -> Writer:
    """Writes a random data set in its own file formats and returns what is in it."""

    def written(name: str, root: Path) -> Images:
        images = drawn(name)
        WRITERS[name](root, images)
        return images

    return written


@pytest.fixture(scope="session")
def real_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10, CIFAR-100 and SVHN's first true images, as a user's download would lie."""
    if not SCRIPT.is_file():
        pytest.skip(f"the real images are not part of the repository, and {SCRIPT} is not on this machine")
    pytest.importorskip("scipy.io", reason="scipy is needed to write SVHN's .mat files")
    root = tmp_path_factory.mktemp("real")
    subprocess.run([sys.executable, str(SCRIPT), str(root)], check=True, capture_output=True, timeout=300)
    return root
