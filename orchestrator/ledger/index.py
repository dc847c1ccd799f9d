"""The results of many trials in one file, which is read in a second where as many files of their own take minutes.

Only ever a copy: an entry counts while its ``result.json`` is the very file that was read for it, so the index can be
old, damaged or deleted at any time, and nothing is lost. It is an Arrow stream followed by the SHA-256 of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import pyarrow as pa

from anytime_core.files import Folder
from anytime_core.result import TrialResult
from orchestrator.ledger.storage import Stamp
from orchestrator.sweep.trial import TrialRecord

log = logging.getLogger(__name__)

OWN = ("errors", "seconds")
"""What of a result is a trial's own. The rest it shares with all trials of the same network, and is held once."""
RESULT = tuple(field.name for field in fields(TrialResult))
SCHEMA = pa.schema(
    {
        "trial_id": pa.string(),
        "mtime_ns": pa.int64(),
        "size": pa.int64(),
        "inode": pa.uint64(),
        "shared": pa.dictionary(pa.int32(), pa.string()),
        "own": pa.string(),
        "errors": pa.list_(pa.float64()),
    },
    # That of another version, which knows other things of a trial, is no use.
    metadata={"fields": " ".join([*(field.name for field in fields(TrialRecord)), *RESULT])},
)
DIGEST_SIZE = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class IndexEntry:
    stamp: Stamp
    record: TrialRecord


class Index:
    """What an index file holds; nothing, if there is none or it is damaged."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder, self._name = folder, name
        self._table = _read(folder, name)

    def records(self, stamps: Mapping[str, Stamp]) -> dict[str, TrialRecord]:
        """By id, those that are held with this stamp. They share what is equal in them: to be read, not changed."""
        names = _values(self._table, "trial_id")
        held = zip(*(_values(self._table, name) for name in ("mtime_ns", "size", "inode")), strict=True)
        rows = [row for row, (name, stamp) in enumerate(zip(names, held, strict=True)) if stamps.get(name) == stamp]
        table = self._table if len(rows) == len(self._table) else self._table.take(pa.array(rows, pa.int64()))
        return {record.trial_id: record for record in _records(table)}

    def update(self, entries: Mapping[str, IndexEntry], existing: Collection[str]) -> None:
        """Writes the file anew, with these entries and those that it held of other ``existing`` trials. Of several
        processes the last one wins. Where it cannot be written, it is not."""
        try:
            kept = [name in existing and name not in entries for name in _values(self._table, "trial_id")]
            parts = [self._table.filter(pa.array(kept, pa.bool_())), _packed(entries)]
            table = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
            self._folder.write(self._name, _serialised(table))
        except (OSError, OverflowError, pa.ArrowException) as error:  # one may hold a number that Arrow cannot
            log.info("%s is not brought up to date: %s", self._folder.address(self._name), error)


def _read(folder: Folder, name: str) -> pa.Table:
    try:
        content = memoryview(folder.read(name))
        payload, digest = content[:-DIGEST_SIZE], content[-DIGEST_SIZE:]
        if hashlib.sha256(payload).digest() != digest:
            raise ValueError("checksum does not match")
        table = pa.ipc.open_stream(pa.py_buffer(payload)).read_all()
        if not table.schema.equals(SCHEMA, check_metadata=True):
            raise ValueError("it is that of another version")
        return table
    except FileNotFoundError:
        return SCHEMA.empty_table()
    except (OSError, ValueError, pa.ArrowException) as error:
        log.info("%s is not used: %s", folder.address(name), error)
        return SCHEMA.empty_table()


def _serialised(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    payload: bytes = sink.getvalue().to_pybytes()
    return payload + hashlib.sha256(payload).digest()


CODES: dict[Any, Any] = {pa.int32(): "i", pa.int64(): "q", pa.uint64(): "Q", pa.float64(): "d"}


def _values(table: pa.Table, name: str) -> list[Any]:
    return [value for chunk in table[name].chunks for value in _listed(chunk)]


def _listed(array: pa.Array) -> list[Any]:
    """Numbers faster than by ``to_pylist``, which makes an object of Arrow's of each value first, and without
    ``to_numpy``, which imports pandas: longer than all the rest takes for some thousand trials."""
    if (code := CODES.get(array.type)) is None:
        return array.to_pylist()  # type: ignore[no-any-return]
    if not len(array):
        return []
    return memoryview(array.buffers()[1]).cast(code)[array.offset : array.offset + len(array)].tolist()


def _packed(entries: Mapping[str, IndexEntry]) -> pa.Table:
    split = [_split(entry.record) for entry in entries.values()]
    stamps = [entry.stamp for entry in entries.values()]
    columns = {
        "trial_id": list(entries),
        **{name: [stamp[place] for stamp in stamps] for place, name in enumerate(("mtime_ns", "size", "inode"))},
        "shared": pa.array([shared for shared, _ in split], pa.string()).dictionary_encode(),
        "own": [own for _, own in split],
        "errors": [entry.record.result.errors for entry in entries.values()],
    }
    return pa.table(columns, SCHEMA)


def _split(record: TrialRecord) -> tuple[str, str]:
    """All of a record but its id and errors, as JSON: what it shares with others, and what it does not."""
    result = {name: getattr(record.result, name) for name in RESULT}
    config = {name: value for name, value in record.config.items() if name != "seed"}
    shared = {"config": config, "result": {name: value for name, value in result.items() if name not in OWN}}
    seed = {"seed": record.config["seed"]} if "seed" in record.config else {}
    own = {"seed": seed, "seconds": result["seconds"], "attempts": record.attempts, "provenance": record.provenance}
    return json.dumps(shared), json.dumps(own)


def _records(table: pa.Table) -> Iterator[TrialRecord]:
    """The inverse of ``_packed``."""
    for trial_id, shared, own, errors in zip(
        _values(table, "trial_id"), _shared(table), _own(table), _errors(table), strict=True
    ):
        yield TrialRecord(
            trial_id=trial_id,
            config=shared["config"] | own["seed"],
            result=TrialResult(**shared["result"], errors=errors, seconds=own["seconds"]),
            attempts=own["attempts"],
            provenance=own["provenance"],
        )


def _shared(table: pa.Table) -> Iterator[dict[str, Any]]:
    for chunk in table["shared"].chunks:
        values = [json.loads(text) for text in chunk.dictionary.to_pylist()]
        for value in values:
            lists = {name: tuple(item) for name, item in value["result"].items() if isinstance(item, list)}
            value["result"] |= lists
        yield from map(values.__getitem__, _listed(chunk.indices))


def _own(table: pa.Table) -> Iterable[dict[str, Any]]:
    """Read as one list, all share the names of their keys."""
    return json.loads(f"[{','.join(_values(table, 'own'))}]")  # type: ignore[no-any-return]


def _errors(table: pa.Table) -> Iterator[tuple[float, ...]]:
    for chunk in table["errors"].chunks:
        offsets, values = _listed(chunk.offsets), _listed(chunk.values)
        yield from (tuple(values[start:end]) for start, end in pairwise(offsets))
