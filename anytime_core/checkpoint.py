"""Checkpoints that survive a kill at any moment, a torn write and a flipped bit; nothing is ever unpickled.

A file holds an .npz archive (arrays, and a JSON document under ``META``) followed by the SHA-256 of it. It is written under a
temporary name, synced and renamed; the two newest are kept, so a damaged one costs one interval, not the run.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anytime_core.files import write_atomically

log = logging.getLogger(__name__)

SUFFIX = ".ckpt"
META = "__meta__"
DIGEST_SIZE = hashlib.sha256().digest_size
KEEP = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``arrays`` by name, and ``meta``: anything JSON can hold."""

    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]


def pack(checkpoint: Checkpoint) -> bytes:
    buffer = io.BytesIO()
    meta = np.frombuffer(json.dumps(checkpoint.meta).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, **{**checkpoint.arrays, META: meta})
    payload = buffer.getvalue()
    return payload + hashlib.sha256(payload).digest()


def unpack(content: bytes) -> Checkpoint:
    """Raises ValueError unless every byte is as it was written."""
    payload, digest = content[:-DIGEST_SIZE], content[-DIGEST_SIZE:]
    if hashlib.sha256(payload).digest() != digest:
        raise ValueError("checksum does not match")
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            arrays = dict(archive)
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(str(error)) from error
    return Checkpoint(arrays, json.loads(arrays.pop(META).tobytes()))


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"step-*{SUFFIX}"), reverse=True)


def save(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Writes the checkpoint of a step and drops all but the two newest, and what killed writers left behind."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:09d}{SUFFIX}"
    write_atomically(path, pack(checkpoint))
    for old in [*_newest_first(folder)[KEEP:], *folder.glob(f".step-*{SUFFIX}.*")]:
        old.unlink(missing_ok=True)
    return path


def valid(folder: Path) -> Iterator[Checkpoint]:
    """The undamaged checkpoints of a folder, newest first. Damaged ones are named in the log and passed over."""
    for path in _newest_first(folder):
        try:
            yield unpack(path.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("checkpoint %s is damaged (%s); falling back to the one before", path, error)


def latest(folder: Path) -> Checkpoint | None:
    """The newest undamaged checkpoint, or None."""
    return next(valid(folder), None)


def latest_step(folder: Path) -> int | None:
    """The step of the newest checkpoint by its name alone: cheap, and not verified."""
    newest = _newest_first(folder)
    return int(newest[0].name.removeprefix("step-").removesuffix(SUFFIX)) if newest else None
