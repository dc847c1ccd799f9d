"""Data sets are converted once into .npy files, which all workers of a node map into memory and so share.

A cache is a folder that appears whole, by a rename, under a name that changes with the source files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from anytime_core.data import source_files
from anytime_core.data.dataset import Images
from anytime_core.data.source_files import SourceFile
from anytime_core.documents import parse
from anytime_core.files import open_plain, read_plain, user_cache

FORMAT = 2  # to be raised when a reader, or what lies in a cache, or what is checked, changes
ARRAYS = tuple(field.name for field in fields(Images))
NEEDED = frozenset(field.name for field in fields(Images) if field.default is MISSING)
MANIFEST = "manifest.json"
About = dict[str, Any]
"""What is kept beside images, as JSON holds it."""


def load(name: str, root: Path | None, *, check_md5: bool = True) -> Images:
    """The data set below ``root``, memory-mapped and read-only where it could be cached.

    The cache is ROOT/.cache, or the user's own if nothing can be written there. The md5 sums of the files are compared
    when they are converted.
    """
    files = source_files.located(name, root)
    if root is None or not files:
        return source_files.read(name, root)
    key = f"{name}-{_fingerprint(name, root, files, check_md5)}"
    return kept(key, root, lambda: (source_files.read(name, root, check_md5=check_md5), {}))[0]


def kept(key: str, root: Path, read: Callable[[], tuple[Images, About]]) -> tuple[Images, About]:
    """What is cached under ``key``, or else is read now, and cached if it can be."""
    if cached := opened(key, root):
        return cached
    images, about = read()
    for parent in _parents(root):
        if cached_images := _stored(images, about, parent / key):
            return cached_images, about
    return images, about


def opened(key: str, root: Path) -> tuple[Images, About] | None:
    """What is cached under ``key``: images, mapped into memory, and what is to be known of them."""
    for parent in _parents(root):
        if (images := _opened(parent / key)) and (about := _about(parent / key)) is not None:
            return images, about
    return None


def is_converted(name: str, root: Path | None) -> bool:
    """Whether its arrays are ready to be mapped, or it comes with a package; DataError if its files are not there."""
    files = source_files.located(name, root)
    if root is None or not files:
        return True
    keys = [f"{name}-{_fingerprint(name, root, files, check_md5)}" for check_md5 in (True, False)]
    return any(opened(key, root) for key in keys)


def content_hash(images: Images) -> str:
    """Identifies the numbers themselves, wherever they came from; taken from the cache's manifest where they are mapped
    from one."""
    return _recorded_hash(images) or _hash(images)


def _fingerprint(name: str, root: Path, files: list[SourceFile], check_md5: bool) -> str:
    stats = [(os.path.relpath(file.path, root), file.path.stat()) for file in files]
    identity = [FORMAT, name, check_md5, [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _parents(root: Path) -> list[Path]:
    """Where caches may lie, best first."""
    return [root / ".cache", *filter(None, [user_cache()])]


def _opened(folder: Path) -> Images | None:
    """The cache in ``folder``; None if there is none or it is damaged.

    Sizes, shapes and dtypes are compared, which shows a file cut short or put in from elsewhere. The bytes are not: to
    hash SVHN's 2 GB takes seconds, for every worker at every start, and the folder only ever appears once it is whole.
    """
    try:
        described = _manifest(folder)["arrays"]
        names = [name for name in ARRAYS if name in NEEDED or name in described]
        arrays: dict[str, Any] = {name: _mapped(folder / f"{name}.npy") for name in names}
        whole = described == _description(folder, arrays)
    except Exception:  # whatever is wrong with a cache, the answer is a new one
        return None
    return Images(**arrays) if whole else None


def _mapped(path: Path) -> np.ndarray:
    """Raises OSError or ValueError, also for what numpy would wait for, such as a named pipe."""
    os.close(open_plain(path.parent, path.name))
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _about(folder: Path) -> About | None:
    with suppress(OSError, ValueError):  # another process has just put a new one in the place of a damaged one
        about = _manifest(folder).get("about", {})
        return about if isinstance(about, dict) else None
    return None


def _stored(images: Images, about: About, folder: Path) -> Images | None:
    """Writes a cache beside ``folder``, gives it that name and opens it; None where that cannot be done."""
    written = folder.with_name(f"{folder.name}.{uuid4().hex}")
    try:
        written.mkdir(parents=True)
        _write(images, about, written)
        return _installed(written, folder)
    except OSError:
        return None
    finally:
        shutil.rmtree(written, ignore_errors=True)


def _installed(written: Path, folder: Path) -> Images | None:
    """The cache at ``folder``: this one, or that of another process that was first. A damaged one makes way."""
    damaged = written.with_suffix(".damaged")
    try:
        for _ in range(2):
            with suppress(OSError):
                written.rename(folder)
                _sync(folder.parent)
            if cached := _opened(folder):
                return cached
            folder.rename(damaged)
        return None
    finally:
        shutil.rmtree(damaged, ignore_errors=True)


def _write(images: Images, about: About, folder: Path) -> None:
    arrays = _arrays(images)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    manifest = {"content": _hash(images), "arrays": _description(folder, arrays), **({"about": about} if about else {})}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    for path in (*folder.iterdir(), folder):
        _sync(path)


def _sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest(folder: Path) -> dict[str, Any]:
    return parse(read_plain(folder, MANIFEST))  # type: ignore[no-any-return]


def _description(folder: Path, arrays: dict[str, Any]) -> dict[str, Any]:
    """What the manifest holds of the arrays in ``folder``."""
    return {
        name: {
            "bytes": (folder / f"{name}.npy").stat().st_size,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
        }
        for name, array in arrays.items()
    }


def _arrays(images: Images) -> dict[str, Any]:
    return {name: array for name in ARRAYS if (array := getattr(images, name)) is not None}


def _hash(images: Images) -> str:
    digest = hashlib.sha256()
    for name, array in _arrays(images).items():
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def _recorded_hash(images: Images) -> str | None:
    """The hash in the manifest of the cache whose files the arrays map, each of them whole."""
    arrays = _arrays(images)
    paths = {name: Path(getattr(array, "filename", None) or "") for name, array in arrays.items()}
    folder = paths[ARRAYS[0]].parent
    if paths != {name: folder / f"{name}.npy" for name in arrays}:
        return None
    try:
        manifest = _manifest(folder)
        whole = manifest["arrays"] == _description(folder, arrays)
        contiguous = all(array.flags.c_contiguous for array in arrays.values())  # a reversed view has the same shape
        return str(manifest["content"]) if whole and contiguous else None
    except (OSError, ValueError, KeyError, TypeError):  # the cache has been replaced since
        return None
