"""The results of many trials in one file, which is read in a second where as many files of their own take minutes.

Only ever a copy: an entry counts while its ``result.json`` is the very file that was read for it, so the index can be
old, damaged or deleted at any time, and nothing is lost.

Anybody who may write to the storage may have written it, so it holds nothing that needs trust: JSON, and columns of
numbers whose lengths it says. It is compressed, up to a size that is known beforehand, and followed by its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import sys
import zlib
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from itertools import accumulate
from typing import Any

from anytime_core.documents import parse, typed
from anytime_core.files import Folder
from anytime_core.result import TrialResult
from orchestrator.ledger.records import check, check_config
from orchestrator.ledger.storage import Stamp, described
from orchestrator.sweep.trial import TrialRecord

log = logging.getLogger(__name__)

OWN = ("errors", "seconds")
"""What of a result is a trial's own. The rest it shares with all trials of the same network, and is held once."""
RESULT = tuple(it.name for it in fields(TrialResult))
VERSION = " ".join([sys.byteorder, "1", *(it.name for it in fields(TrialRecord)), *RESULT])
"""That of another version, which knows other things of a trial, is no use."""
STAMP = {"mtime_ns": "q", "size": "q", "inode": "Q"}
COLUMNS = {**STAMP, "shared": "q", "own": "q", "errors": "q"}
"""The types of a trial's numbers: which of the shared texts is its, how long its own is, how many errors it has."""
DIGEST_SIZE = hashlib.sha256().digest_size
MOST, MOST_UNPACKED, MOST_OWN = 1 << 27, 1 << 29, 1 << 14
"""Bytes of the file, of what it unpacks to, and of a trial's own text; 100,000 trials take 20 MB, 100 MB and 1 KB."""
FEW_BYTES, GROWS = 1 << 20, 64
"""It may unpack to so many bytes, and so many times its own: errors do not pack well, texts by a factor of 10 to 20."""
FAST = 1
"""The level of compression."""


@dataclass(frozen=True, slots=True)
class IndexEntry:
    stamp: Stamp
    record: TrialRecord


@dataclass(frozen=True, slots=True)
class _Row:
    """A trial as it is held: all of its record but its id and errors are JSON, in what it shares and its own."""

    stamp: Stamp
    shared: str
    own: str
    errors: array[float]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Many of them as the file has them: whose they are, their stamps and shared texts. The own texts and the errors of
    all follow one another; with the places where those of one end."""

    ids: Sequence[str] = ()
    stamps: Sequence[Stamp] = ()
    shared: Sequence[str] = ()
    own: str = ""
    own_ends: Sequence[int] = (0,)
    errors: array[float] = field(default_factory=lambda: array("d"))
    error_ends: Sequence[int] = (0,)

    def row(self, place: int) -> _Row:
        own = self.own[self.own_ends[place] : self.own_ends[place + 1]]
        errors = self.errors[self.error_ends[place] : self.error_ends[place + 1]]
        return _Row(self.stamps[place], self.shared[place], own, errors)


class Index:
    """What an index file holds; nothing, if there is none or it is damaged."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder, self._name = folder, name
        self._columns = self._read()

    def records(self, stamps: Mapping[str, Stamp]) -> dict[str, TrialRecord]:
        """By id, those that are held with this stamp. They share what is equal in them: to be read, not changed."""
        columns = self._columns
        pairs = enumerate(zip(columns.ids, columns.stamps, strict=True))
        held = {name: columns.row(place) for place, (name, stamp) in pairs if stamps.get(name) == stamp}
        try:
            return {record.trial_id: record for record in _records(held)}
        except (LookupError, TypeError, ValueError) as error:
            self._say_damaged(error)
            self._columns = _Columns()
            return {}

    def update(self, entries: Mapping[str, IndexEntry], existing: Collection[str]) -> None:
        """Writes the file anew, with these entries and those that it held of other ``existing`` trials. Of several
        processes the last one wins. Where it cannot be written, it is not."""
        ids = enumerate(self._columns.ids)
        rows = {name: self._columns.row(it) for it, name in ids if name in existing and name not in entries}
        rows |= _rows(entries)
        try:
            self._folder.write(self._name, _serialised(rows))
        except (OSError, ValueError) as error:
            log.info("%s is not brought up to date: %s", self._folder.address(self._name), error)

    def _read(self) -> _Columns:
        try:
            return _columns(_unpacked(self._folder.read(self._name, MOST)))
        except FileNotFoundError:
            return _Columns()
        except (LookupError, TypeError, ValueError) as error:
            self._say_damaged(error)
        except OSError as error:
            log.info("%s is not used: %s", self._folder.address(self._name), error)
        return _Columns()

    def _say_damaged(self, error: Exception) -> None:
        log.info("%s is not used, as it is damaged: %s", self._folder.address(self._name), described(error))


def pack(entries: Mapping[str, IndexEntry]) -> bytes:
    """The content of an index file with these entries."""
    return _serialised(_rows(entries))


def _rows(entries: Mapping[str, IndexEntry]) -> dict[str, _Row]:
    rows = {}
    for name, entry in entries.items():
        with suppress(OverflowError, ValueError):  # it is read from its own file
            rows[name] = _packed(entry)
    return rows


def _packed(entry: IndexEntry) -> _Row:
    """Raises OverflowError or ValueError for what cannot be held."""
    record = entry.record
    result = {name: getattr(record.result, name) for name in RESULT}
    config = {name: value for name, value in record.config.items() if name != "seed"}
    shared = {"config": config, "result": {name: value for name, value in result.items() if name not in OWN}}
    seed = {"seed": record.config["seed"]} if "seed" in record.config else {}
    own = {"seed": seed, "seconds": result["seconds"], "attempts": record.attempts, "provenance": record.provenance}
    text = json.dumps(own)
    if len(text) > MOST_OWN:
        raise ValueError(f"what is trial {record.trial_id}'s own is {len(text)} bytes long, of at most {MOST_OWN}")
    return _Row(entry.stamp, json.dumps(shared), text, array("d", record.result.errors))


def _serialised(rows: Mapping[str, _Row]) -> bytes:
    shared = {text: place for place, text in enumerate(dict.fromkeys(row.shared for row in rows.values()))}
    head = json.dumps({"version": VERSION, "ids": list(rows), "shared": list(shared)}).encode()
    numbers = {
        **{name: [row.stamp[place] for row in rows.values()] for place, name in enumerate(STAMP)},
        "shared": [shared[row.shared] for row in rows.values()],
        "own": [len(row.own) for row in rows.values()],
        "errors": [len(row.errors) for row in rows.values()],
    }
    parts = [len(head).to_bytes(8, sys.byteorder), head]
    parts += [array(kind, numbers[name]).tobytes() for name, kind in COLUMNS.items()]
    parts += [row.errors.tobytes() for row in rows.values()]
    parts += [row.own.encode("ascii") for row in rows.values()]
    payload = zlib.compress(b"".join(parts), FAST)
    if sum(map(len, parts)) > _most_unpacked(payload):
        raise ValueError("it would be too large to be read")
    return payload + hashlib.sha256(payload).digest()


def _most_unpacked(payload: bytes | memoryview) -> int:
    return min(MOST_UNPACKED, FEW_BYTES + GROWS * len(payload))


def _unpacked(content: bytes) -> bytes:
    payload, digest = memoryview(content)[:-DIGEST_SIZE], content[-DIGEST_SIZE:]
    if hashlib.sha256(payload).digest() != digest:
        raise ValueError("checksum does not match")
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(payload, _most_unpacked(payload))
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacking.eof:
        raise ValueError("it is cut short, or too large")
    return plain


def _columns(content: bytes) -> _Columns:
    """Raises ValueError, TypeError or LookupError for what is not as ``_serialised`` made it."""
    view = memoryview(content)
    start = 8 + int.from_bytes(view[:8], sys.byteorder)
    head = parse(bytes(view[8:start]))
    if head["version"] != VERSION:
        raise ValueError("it is that of another version")
    ids, shared = head["ids"], head["shared"]
    if not all(isinstance(text, str) for text in (*ids, *shared)):
        raise ValueError("its names and texts are none")
    numbers = {}
    for name, kind in COLUMNS.items():
        numbers[name], start = _column(view, start, kind, len(ids))
    errors, start = _column(view, start, "d", _total(numbers["errors"]))
    own = str(view[start:], "ascii")
    if _total(numbers["own"]) != len(own) or max(numbers["own"], default=0) > MOST_OWN:
        raise ValueError("the lengths of its parts do not add up")
    return _Columns(
        ids=ids,
        stamps=list(zip(*(numbers[name] for name in STAMP), strict=True)),
        shared=[shared[place] for place in numbers["shared"]],
        own=own,
        own_ends=list(accumulate(numbers["own"], initial=0)),
        errors=errors,
        error_ends=list(accumulate(numbers["errors"], initial=0)),
    )


def _column(view: memoryview, start: int, kind: str, count: int) -> tuple[array[Any], int]:
    numbers = array(kind)
    end = start + count * numbers.itemsize
    if end > len(view):
        raise ValueError("it is cut short")
    numbers.frombytes(view[start:end])
    return numbers, end


def _total(lengths: array[int]) -> int:
    if min(lengths, default=0) < 0:
        raise ValueError("a part of it is less than empty")
    return sum(lengths)


def _records(rows: Mapping[str, _Row]) -> Iterator[TrialRecord]:
    """The inverse of ``_packed``. Raises as ``_columns`` does for what is no record of the trial it is held for."""
    shared = {text: _Shared.of(text) for text in {row.shared for row in rows.values()}}
    # Read as one list, all share the names of their keys.
    every = parse(f"[{','.join(row.own for row in rows.values())}]", 64 * (1 + len(rows)), exact=False)
    for (name, row), own in zip(rows.items(), every, strict=True):
        yield shared[row.shared].record(name, own, tuple(row.errors))


@dataclass(frozen=True, slots=True)
class _Shared:
    config: dict[str, Any]
    result: dict[str, Any]

    @classmethod
    def of(cls, text: str) -> _Shared:
        content = parse(text)
        config, result = content["config"], content["result"]
        errors = [0.0] * len(result["units"]) if result["state"] == "finished" else []
        whole = typed(TrialResult, result | {"errors": errors, "seconds": 0.0})
        check(whole)
        check_config(config | {"seed": 0})
        return cls(config, {name: getattr(whole, name) for name in RESULT if name not in OWN})

    def record(self, trial_id: str, own: dict[str, Any], errors: tuple[float, ...]) -> TrialRecord:
        seconds, attempts, provenance = own["seconds"], own["attempts"], own["provenance"]
        counts = type(seconds) in (int, float) and type(attempts) is int and 0 <= seconds < math.inf and attempts >= 0
        if (
            not counts
            or type(own["seed"]["seed"]) is not int
            or type(provenance) is not dict
            or not all(map(math.isfinite, errors))
        ):
            raise ValueError(f"what it holds of {trial_id} is of another type")
        result = TrialResult(**self.result, errors=errors, seconds=seconds)
        return TrialRecord(
            trial_id=trial_id,
            config=self.config | own["seed"],
            result=result,
            attempts=attempts,
            provenance=provenance,
        )
