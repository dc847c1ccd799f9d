"""Checkpoints that survive a kill at any moment, a torn write and a flipped bit; nothing is ever unpickled.

A file holds an .npz archive (arrays, and a JSON document under ``META``) followed by the SHA-256 of it. It appears
whole, and the two newest are kept, so a damaged one costs one interval, not the run. ``Place`` is a folder on a disk by
its path, or any other Folder.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from anytime_core import documents
from anytime_core.files import Folder, Guard, UnfitFileError, folder_at

log = logging.getLogger(__name__)

NAME = re.compile(r"step-(\d{9,18})\.ckpt")
META = "__meta__"
DIGEST_SIZE = hashlib.sha256().digest_size
KEEP = 2
NUMBERS = "biuf"
"""The kinds of numpy's types that an array may have."""
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
MOST = min(1 << 34, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
"""Bytes of a file: 70 times those of the paper's largest network, and no more than this machine can hold twice."""
DAMAGE = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EIO)
"""Where a file cannot be read for these reasons, it is lost; for others, such as a store that does not answer, it may
be read later, and must not be taken for lost."""

Place = Folder | Path | str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``arrays`` by name, and ``meta``: anything JSON can hold, and the NaN and infinity of a diverged trial."""

    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]

    def below(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names begin with ``prefix``, by what follows it."""
        return {name.removeprefix(prefix): array for name, array in self.arrays.items() if name.startswith(prefix)}


def pack(checkpoint: Checkpoint) -> bytes:
    buffer = io.BytesIO()
    meta = np.frombuffer(json.dumps(checkpoint.meta).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, **{**checkpoint.arrays, META: meta})
    with buffer.getbuffer() as payload:
        digest = hashlib.sha256(payload).digest()
    buffer.seek(0, io.SEEK_END)
    buffer.write(digest)
    return buffer.getvalue()


def unpack(content: bytes) -> Checkpoint:
    """Raises ValueError unless every byte is as ``pack`` wrote it."""
    payload, digest = memoryview(content)[:-DIGEST_SIZE], content[-DIGEST_SIZE:]
    if hashlib.sha256(payload).digest() != digest:
        raise ValueError("checksum does not match")
    try:
        with ZipFile(io.BytesIO(payload)) as archive:
            arrays = {it.filename.removesuffix(".npy"): _array(archive, it) for it in _members(archive, len(payload))}
        meta = documents.parse(arrays.pop(META).tobytes(), len(payload), exact=False)
    except Exception as error:  # numpy raises of every kind on what is no archive of plain arrays
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not isinstance(meta, dict):
        raise ValueError(f"what describes it is a {type(meta).__name__}")
    return Checkpoint(arrays, meta)


def _members(archive: ZipFile, size: int) -> list[ZipInfo]:
    """Those of an archive of so many bytes. Raises ValueError where they share names or bytes."""
    members = archive.infolist()
    if len({it.filename for it in members}) < len(members) or sum(it.file_size for it in members) > size:
        raise ValueError("its arrays overlap")
    return members


def _array(archive: ZipFile, info: ZipInfo) -> np.ndarray:
    """One that takes as many bytes in the archive as its header says that it holds: no room is made for more."""
    if info.compress_type != ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"{info.filename} is compressed")
    with archive.open(info) as stream:
        shape, _, kind = READERS[np.lib.format.read_magic(stream)](stream)
        if kind.kind not in NUMBERS or math.prod(shape) * kind.itemsize != info.file_size - stream.tell():
            raise ValueError(f"{info.filename} of {info.file_size} bytes cannot hold {kind} {list(shape)}")
    with archive.open(info) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Identifies the bits of named arrays, with their types and shapes, whatever order they come in: 16 hex digits of a
    SHA-256."""
    hashed = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        hashed.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()[:16]


def _by_step(folder: Folder) -> dict[int, str]:
    """The names of a folder's checkpoints, newest first, undamaged or not."""
    try:
        names = folder.names()
    except UnfitFileError as error:
        log.warning("the checkpoints at %s are damaged (%s); they count as none", folder.address(""), error.strerror)
        return {}
    named = ((NAME.fullmatch(name), name) for name in names)
    return dict(sorted(((int(match[1]), name) for match, name in named if match), reverse=True))


def save(place: Place, step: int, checkpoint: Checkpoint, guard: Guard = nullcontext) -> None:
    """Writes the checkpoint of a step and drops all but the two newest up to it, and what killed writers left.

    ``guard`` is entered when the file takes its place, and again to drop others.
    """
    folder = folder_at(place)
    folder.write(f"step-{step:09d}.ckpt", pack(checkpoint), guard)
    with guard():
        known = _by_step(folder)
        for old in [*list(filter(step.__ge__, known))[KEEP:], *_damaged_after(folder, step)]:
            folder.delete(known[old])
        folder.tidy()


def _damaged_after(folder: Folder, step: int) -> Iterator[int]:
    """Later ones, as a rule damaged, or this step would not have been done again. One that is not was made by a later
    attempt, or could not be read when this one began."""
    for later, name in _by_step(folder).items():
        if later <= step:
            return
        if _opened(folder, name) is None:
            yield later


def keep_newest(place: Place) -> None:
    """Drops all checkpoints but the newest, by its name."""
    folder = folder_at(place)
    for old in list(_by_step(folder).values())[1:]:
        folder.delete(old)


def is_whole(place: Place, name: str) -> bool:
    """Whether the checkpoint of that name is undamaged; one that is not, the log names. Raises OSError as ``valid``."""
    return _opened(folder_at(place), name) is not None


def valid(place: Place) -> Iterator[Checkpoint]:
    """The undamaged checkpoints of a folder, newest first. Damaged ones are named in the log and passed over.

    Raises OSError where one cannot be read now, which does not mean that it is damaged.
    """
    folder = folder_at(place)
    for name in _by_step(folder).values():
        if checkpoint := _opened(folder, name):
            yield checkpoint


def _opened(folder: Folder, name: str) -> Checkpoint | None:
    try:
        return unpack(folder.read(name, MOST))
    except (OSError, ValueError) as error:
        if not isinstance(error, ValueError) and error.errno not in DAMAGE:
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        log.warning("checkpoint %s is damaged (%s); falling back to the one before", folder.address(name), reason)
        return None


def latest(place: Place) -> Checkpoint | None:
    """The newest undamaged checkpoint, or None."""
    return next(valid(place), None)


def latest_step(place: Place) -> int | None:
    """The step of the newest checkpoint by its name alone: cheap, and not verified."""
    return next(iter(_by_step(folder_at(place))), None)


def newest(place: Place) -> str | None:
    """The name of the newest checkpoint, likewise."""
    return next(iter(_by_step(folder_at(place)).values()), None)
