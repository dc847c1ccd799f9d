"""Checkpoints that survive a kill at any moment, a torn write and a flipped bit; nothing is ever unpickled.

A file holds an .npz archive (arrays, and a JSON document under ``META``) followed by the SHA-256 of it. It is written
under a temporary name, synced and renamed; the two newest are kept, so a damaged one costs one interval, not the run.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anytime_core.files import Guard, write_atomically

log = logging.getLogger(__name__)

NAME = re.compile(r"step-(\d{9,})\.ckpt")
META = "__meta__"
DIGEST_SIZE = hashlib.sha256().digest_size
KEEP = 2
STALE = 3600.0  # seconds; a file that is still unfinished then has no writer any more


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``arrays`` by name, and ``meta``: anything JSON can hold, and the NaN and infinity of a diverged trial."""

    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]


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
    payload, digest = content[:-DIGEST_SIZE], content[-DIGEST_SIZE:]
    if hashlib.sha256(payload).digest() != digest:
        raise ValueError("checksum does not match")
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            arrays = dict(archive)
        return Checkpoint(arrays, json.loads(arrays.pop(META).tobytes()))
    except Exception as error:  # numpy raises of every kind on what is no archive of plain arrays
        raise ValueError(f"{type(error).__name__}: {error}") from error


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Identifies the bits of named arrays, with their types and shapes, whatever order they come in: 16 hex digits of a
    SHA-256."""
    hashed = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        hashed.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()[:16]


def _by_step(folder: Path) -> dict[int, Path]:
    """The checkpoints of a folder, newest first, undamaged or not."""
    named = ((NAME.fullmatch(path.name), path) for path in folder.glob("step-*"))
    return dict(sorted(((int(name[1]), path) for name, path in named if name), reverse=True))


def save(folder: Path, step: int, checkpoint: Checkpoint, guard: Guard = nullcontext) -> Path:
    """Writes the checkpoint of a step and drops all but the two newest, and what killed writers left an hour ago.

    ``guard`` is entered when the file takes its place, and again to drop others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:09d}.ckpt"
    write_atomically(path, pack(checkpoint), guard)
    # Later ones are damaged, or this step would not be done again; they must not be kept in the place of this one.
    with guard():
        kept = [known for known in _by_step(folder) if known <= step][:KEEP]
        outdated = [old for known, old in _by_step(folder).items() if known not in kept]
        for old in [*outdated, *_leftovers(folder)]:
            old.unlink(missing_ok=True)
    return path


def _leftovers(folder: Path) -> Iterator[Path]:
    """Not the file that another process writes just now: one that was given up for dead may still be at work."""
    for path in folder.glob(".step-*.ckpt.*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - STALE:
                yield path


def valid(folder: Path) -> Iterator[Checkpoint]:
    """The undamaged checkpoints of a folder, newest first. Damaged ones are named in the log and passed over."""
    for path in _by_step(folder).values():
        try:
            yield unpack(path.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("checkpoint %s is damaged (%s); falling back to the one before", path, error)


def latest(folder: Path) -> Checkpoint | None:
    """The newest undamaged checkpoint, or None."""
    return next(valid(folder), None)


def latest_step(folder: Path) -> int | None:
    """The step of the newest checkpoint by its name alone: cheap, and not verified."""
    return next(iter(_by_step(folder)), None)
