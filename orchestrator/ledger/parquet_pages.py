"""How much room a Parquet file takes once it is read, by the headers of its pages.

Arrow makes that room before it looks at what fills it, and a page of some kilobytes may become two gigabytes. The
metadata of a column says how large it is, but need not be right. Page headers are Thrift's compact protocol.
"""

from __future__ import annotations

from typing import Any

STOP, TRUE, FALSE, BYTE, DOUBLE, BINARY, STRUCT = 0, 1, 2, 3, 7, 8, 12
DEEPEST = 8
UNPACKED, PACKED = 2, 3
"""The numbers of the fields of a page's header that say how large it is."""


def unpacked_size(content: bytes, metadata: Any) -> int:
    """The bytes of all pages of a file, unpacked. ``metadata`` is pyarrow's of it. Raises ValueError where the headers
    are damaged."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    if sum(chunk.total_compressed_size for chunk in chunks) > len(content):
        raise ValueError("its columns overlap")
    return sum(_chunk_size(content, chunk) for chunk in chunks)


def _chunk_size(content: bytes, chunk: Any) -> int:
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < start:
        start = chunk.dictionary_page_offset
    end, total = start + chunk.total_compressed_size, 0
    if not 0 <= start <= end <= len(content):
        raise ValueError("a column lies outside of it")
    while start < end:
        reader = _Reader(content, start)
        sizes = reader.whole_numbers()
        if min(unpacked := sizes.get(UNPACKED, -1), packed := sizes.get(PACKED, -1)) < 0:
            raise ValueError("a page has no size")
        total, start = total + unpacked, reader.place + packed
    return total


class _Reader:
    """Reads one struct. Raises ValueError where it does not end in time."""

    def __init__(self, content: bytes, place: int) -> None:
        self._content, self.place = content, place

    def whole_numbers(self, depth: int = 0) -> dict[int, int]:
        """Those among a struct's fields, by their numbers; all others are passed over."""
        if depth > DEEPEST:
            raise ValueError("a page's header is nested too deeply")
        found, field = {}, 0
        while (head := self._byte()) != STOP:
            kind, field = head & 15, field + (head >> 4) if head >> 4 else self._signed()
            if BYTE < kind < DOUBLE:
                found[field] = self._signed()
            else:
                self._pass_over(kind, depth)
        return found

    def _pass_over(self, kind: int, depth: int) -> None:
        if kind == STRUCT:
            self.whole_numbers(depth + 1)
        elif kind == BINARY:
            length = self._unsigned()
            self.place += length
        elif kind in (BYTE, DOUBLE):
            self.place += 1 if kind == BYTE else 8
        elif kind not in (TRUE, FALSE):  # lists, sets and maps are in no header
            raise ValueError(f"a page's header holds a field of kind {kind}")

    def _byte(self) -> int:
        if not 0 <= self.place < len(self._content):
            raise ValueError("a page's header is cut short")
        self.place += 1
        return self._content[self.place - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128 and shift < 63:
            value, shift = value | (byte & 127) << shift, shift + 7
        return value | byte << shift

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
