"""Readers of the data sets' own file formats. Whatever is wrong with a file is a DataError that names it.

Shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import math
import pickle
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from anytime_core.data.dataset import Bytes, Dataset, Images, Labels
from anytime_core.errors import DataError

MOST = 1 << 30
"""Bytes of an idx file once it is unpacked, 20 times those of the largest."""

Number = TypeVar("Number", np.uint8, np.int64)
Part = tuple[Bytes, Labels]  # images [N,C,H,W], labels [N]


def cifar10(dataset: Dataset, paths: Sequence[Path]) -> Images:
    """Five batches of training images, one of test images; the names of the classes are not needed."""
    *train, test, _ = paths
    return _joined([_cifar_batch(path, "labels", dataset) for path in train], [_cifar_batch(test, "labels", dataset)])


def cifar100(dataset: Dataset, paths: Sequence[Path]) -> Images:
    """The 100 fine labels; the names of the classes are not needed."""
    train, test = (_cifar_batch(path, "fine_labels", dataset) for path in paths[:2])
    return _joined([train], [test])


def svhn(dataset: Dataset, paths: Sequence[Path]) -> Images:
    """The training images, then the extra ones, train together (section 4.1)."""
    train, extra, test = (_svhn_part(path, dataset) for path in paths)
    return _joined([train, extra], [test])


def idx_files(dataset: Dataset, paths: Sequence[Path]) -> Images:
    """Images and labels to train with, then those to test with, in MNIST's own format; packed by gzip or not."""
    train_images, train_labels, test_images, test_labels = paths
    return _joined([_idx_part(train_images, train_labels, dataset)], [_idx_part(test_images, test_labels, dataset)])


def digits(dataset: Dataset, paths: Sequence[Path]) -> Images:
    """Scikit-learn's 1,797 images with values 0 to 16. Every fifth is a test image, as there is no published split.

    Its file is read without it: its import takes over a second.
    """
    spec = importlib.util.find_spec("sklearn")
    if not spec or not spec.origin:
        raise DataError("digits come with scikit-learn, which is not installed")
    content = np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images, labels = content[:, :-1].reshape(-1, 1, 8, 8).astype(np.uint8), content[:, -1].astype(np.int64)
    test = np.arange(len(labels)) % 5 == 4
    return _joined([(images[~test], labels[~test])], [(images[test], labels[test])])


def optional_module(module: str, purpose: str) -> Any:
    """Imports what only some data sets need."""
    try:
        return importlib.import_module(module)
    # A broken install raises more than ImportError: torchvision on another torch, RuntimeError.
    except Exception as error:
        package = module.partition(".")[0]
        raise DataError(f"{purpose}, and {package} cannot be imported: {type(error).__name__}: {error}") from error


def _joined(train: list[Part], test: list[Part]) -> Images:
    return Images(
        train_images=_concatenated([images for images, _ in train]),
        train_labels=_concatenated([labels for _, labels in train]),
        test_images=_concatenated([images for images, _ in test]),
        test_labels=_concatenated([labels for _, labels in test]),
    )


def _concatenated(arrays: list[NDArray[Number]]) -> NDArray[Number]:
    # Into an array made here: numpy would keep the memory order of SVHN's transposed images, and its copy costs 2 GB.
    joined = np.empty((sum(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    return np.concatenate(arrays, out=joined)


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Whatever a parser raises on the bytes of a damaged file becomes a DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: cannot be read as {kind}: {type(error).__name__}: {error}") from error


def _cifar_batch(path: Path, label_key: str, dataset: Dataset) -> Part:
    with _reading(path, "a pickled batch of images"), path.open("rb") as stream:
        data, labels = _entries(path, _BatchUnpickler(stream, encoding="latin1").load(), "data", label_key)
        array = data.array if isinstance(data, _PickledArray) else data
        rows = _expect(path, "data", array, ("N", dataset.channels * dataset.size**2))
        return rows.reshape(-1, dataset.channels, dataset.size, dataset.size), _labels(path, labels, len(rows), dataset)


class _PickledArray:
    """Stands in for an array of numpy's while a pickle is read: numpy itself never acts on what a file tells it."""

    def __init__(self, *_: object) -> None:
        self.array: Bytes | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, _, fortran, content = state
        raw = content.encode("latin1") if isinstance(content, str) else content
        self.array = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")


class _PickledDtype:
    """Stands in for the one dtype that is needed."""

    def __init__(self, code: object, *_: object) -> None:
        if code not in ("u1", "uint8"):
            raise pickle.UnpicklingError(f"holds an array of dtype {code!r}, must be 'u1' (uint8)")

    def __setstate__(self, state: object) -> None:
        pass


class _BatchUnpickler(pickle.Unpickler):
    """Calls nothing but what an array of bytes needs, so that a pickle cannot run code."""

    _ALLOWED: ClassVar[dict[str, Any]] = {
        "numpy.core.multiarray._reconstruct": _PickledArray,
        "numpy._core.multiarray._reconstruct": _PickledArray,
        "numpy.ndarray": _PickledArray,
        "numpy.dtype": _PickledDtype,
        "_codecs.encode": str.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (wanted := f"{module}.{name}") not in self._ALLOWED:
            raise pickle.UnpicklingError(f"asks for {wanted}, must ask for nothing but {', '.join(self._ALLOWED)}")
        return self._ALLOWED[wanted]


def _svhn_part(path: Path, dataset: Dataset) -> Part:
    scipy_io = optional_module("scipy.io", "SVHN's .mat files are read with scipy")
    with _reading(path, "a .mat file"):
        content = scipy_io.loadmat(path, appendmat=False, variable_names=["X", "y"])
        images, labels = _entries(path, content, "X", "y")
        images = _expect(path, "X", images, (dataset.size, dataset.size, dataset.channels, "N"))  # [H,W,C,N]
        labels = np.ravel(labels)
        labels = np.where(labels == 10, 0, labels)  # 10 stands for the digit 0
        return images.transpose(3, 2, 0, 1), _labels(path, labels, images.shape[3], dataset)


def _idx_part(images_path: Path, labels_path: Path, dataset: Dataset) -> Part:
    images = _expect(images_path, "its content", _idx(images_path, 3), ("N", dataset.size, dataset.size))
    return images[:, None], _labels(labels_path, _idx(labels_path, 1), len(images), dataset)


def _idx(path: Path, dimensions: int) -> Bytes:
    """The bytes of an idx file: a magic number and each dimension as big-endian uint32, then the content."""
    with _reading(path, "an idx file"):
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST + 1)
        if len(content) > MOST:
            raise DataError(f"{path}: holds more than {MOST} bytes")
        magic, *shape = struct.unpack_from(f">{1 + dimensions}I", content)
        if magic != 0x800 + dimensions:
            raise DataError(f"{path}: its magic number is {magic}, must be {0x800 + dimensions}")
        body = np.frombuffer(content[4 * (1 + dimensions) :], np.uint8)
        if body.size != math.prod(shape):
            raise DataError(f"{path}: has {body.size} bytes after its header, must be {math.prod(shape)} for {shape}")
        return body.reshape(shape)


def _entries(path: Path, content: object, *keys: str) -> list[Any]:
    held = list(content) if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise DataError(f"{path}: holds {held}, must hold {list(keys)}")
    return [content[key] for key in keys]


def _expect(path: Path, what: str, array: object, shape: tuple[int | str, ...]) -> Bytes:
    """The array, if it is uint8 of that shape, where "N" is any number of images but 0."""
    if isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == len(shape):
        sizes = zip(array.shape, shape, strict=True)
        if all(size > 0 if wanted == "N" else size == wanted for size, wanted in sizes):
            return array
    raise DataError(f"{path}: {what} is {_described(array)}, must be uint8 [{', '.join(map(str, shape))}]")


def _labels(path: Path, values: object, count: int, dataset: Dataset) -> Labels:
    labels = np.asarray(values)
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise DataError(f"{path}: labels are {_described(labels)}, must be integers [{count}]")
    if len(wrong := np.flatnonzero((labels < 0) | (labels >= dataset.classes))):
        raise DataError(f"{path}: image {wrong[0]} has label {labels[wrong[0]]}, must be 0 to {dataset.classes - 1}")
    return labels.astype(np.int64)


def _described(array: object) -> str:
    return f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
