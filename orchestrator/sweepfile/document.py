"""A YAML file that knows the line of every key, so that a fault can say where it is."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import SweepError, UsageError
from orchestrator.ledger.bundle import is_bundle
from orchestrator.text import counted

Key = tuple[str, ...]

MOST_VALUES = 100_000
"""That a file may stand for once its aliases are written out; a sweep of a thousand networks has a tenth of it."""
LONGEST_NUMBER = 20
"""In characters; as many as 64 bits need."""
LONGEST_GIVEN = 80
"""In characters, of a value in a message."""
INTEGER, NUMBERS = "tag:yaml.org,2002:int", ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """``line`` is 0 where there is no file."""

    line: int
    key: Key
    message: str

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line else ""
        return ": ".join(filter(None, (line, ".".join(map(_visible, self.key)), self.message)))


def given(value: Any) -> str:
    """A value as Python writes it, as far as a line holds it."""
    text = repr(value)
    return text if len(text) <= LONGEST_GIVEN else f"{text[:LONGEST_GIVEN]}..."


def suggestion(given: str, allowed: Sequence[str]) -> str:
    """The end of a message on a name that is none of those that are allowed."""
    close = difflib.get_close_matches(given, allowed, n=1)
    return f"; allowed: {', '.join(allowed)}" + (f" (did you mean {close[0]}?)" if close else "")


def _visible(key: str) -> str:
    """A key as it is, unless it holds what nobody can see, such as a non-breaking space."""
    return key if key.isprintable() else repr(key)


@dataclass(frozen=True, slots=True)
class Document:
    """``content`` is plain data; ``lines`` gives the 1-based line of each key path, list indices among them."""

    path: Path
    content: Any
    lines: dict[Key, int] = field(default_factory=dict)

    @classmethod
    def without_file(cls, name: str, content: Any) -> Document:
        """One that was made in Python: paths in it start in the working folder."""
        return cls(Path(name), content, {(): 0})

    def fault(self, key: Sequence[str | int], message: str) -> Fault:
        """A fault at ``key``, on its own line or on that of the nearest key around it."""
        path = tuple(map(str, key))
        known = (path[:end] for end in range(len(path), -1, -1) if path[:end] in self.lines)
        return Fault(self.lines.get(next(known, ()), 1), path, message)

    def refuse(self, faults: Sequence[Fault], kind: type[SweepError] = SweepError) -> None:
        """Raises SweepError, or a ``kind`` of it, with all of them, in the order of the file, if there are any."""
        if distinct := sorted(set(faults)):
            count = counted(len(distinct), "fault")
            raise kind("\n  ".join([f"{self.path}: {count}", *map(str, distinct)]))


def read(path: Path) -> Document:
    """Reads a file of one YAML document. Raises UsageError if it cannot be read, SweepError if it is not sound YAML."""
    if is_bundle(path):
        raise UsageError(
            f"{path}: is a bundle, which `report`, `status` and `show` read. This command takes a sweep file: that of "
            f"the bundle lies in it below sweep/, and `orchestrate import {path}` brings its results into a storage"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: cannot be read: it is not UTF-8 text") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = _lines(path, root) if root else {}
        return Document(path, yaml.safe_load(text), lines)
    except SweepError:
        raise
    except Exception as error:  # PyYAML raises of every kind where a value does not fit the tag it is given
        raise SweepError(f"{path}: is not valid YAML: {_reason(error, text)}") from error


def _reason(error: Exception, text: str) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"line {line}: the character {chr(error.character)!r} is not allowed"
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"a value does not fit its tag ({type(error).__name__}: {error})"
    mark = error.problem_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{where}{error.problem}"


def _lines(path: Path, root: yaml.Node) -> dict[Key, int]:
    """The line of each key. Raises SweepError for what YAML lets pass and no sweep file should hold."""
    document = Document(path, None)
    if _size(root, {}) > MOST_VALUES:
        message = f"holds more than {MOST_VALUES:,} values with its aliases, or one that holds itself"
        document.refuse([document.fault((), message)])
    document.refuse(list(_walk(document.lines, root, (), set())))
    return document.lines


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node stands for; no end of them if one is the node itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in pairs for part in pair]
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(node)]


def _walk(lines: dict[Key, int], node: yaml.Node, path: Key, seen: set[int]) -> Iterator[Fault]:
    """Records the line of each key below ``node``; yields a fault for each key given twice and each overlong number."""
    lines.setdefault(path, node.start_mark.line + 1)
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield from _comma_faults(node, path)
        for key, value in node.value:
            inner = (*path, str(key.value))
            line = key.start_mark.line + 1
            if _is_piece(key, node):
                continue
            if inner in lines and key.value != "<<":
                yield Fault(line, inner, f"is given twice, first on line {lines[inner]}")
            lines[inner] = line
            yield from _number_faults(key, inner)
            yield from _walk(lines, value, inner, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(lines, value, (*path, str(index)), seen)
    else:
        yield from _number_faults(node, path)


def _is_piece(key: yaml.Node, around: yaml.MappingNode) -> bool:
    """Whether it is a part of the key that was meant: in braces, YAML ends one at a comma that is not in quotes."""
    plain = around.flow_style and isinstance(key, yaml.ScalarNode) and not key.style
    return plain and key.value.count("(") != key.value.count(")")


def _comma_faults(node: yaml.MappingNode, path: Key) -> Iterator[Fault]:
    """One for both pieces of a key such as (2,8)."""
    pieces = [key for key, _ in node.value if _is_piece(key, node)]
    for key in [piece for piece in pieces if "(" in piece.value] or pieces:
        message = "in braces YAML ends a key at its comma; quote the whole key, or write one key a line, without braces"
        yield Fault(key.start_mark.line + 1, (*path, key.value), message)


def _number_faults(node: yaml.Node, path: Key) -> Iterator[Fault]:
    """Numbers that are too long, and those that YAML 1.1 reads otherwise than people do."""
    line = node.start_mark.line + 1
    if node.tag == INTEGER and len(node.value) > LONGEST_NUMBER:
        yield Fault(line, path, f"is a number of {len(node.value)} characters; allowed: {LONGEST_NUMBER}")
    elif node.tag in NUMBERS and ":" in node.value:
        yield Fault(
            line, path, f"given {node.value}, which YAML reads as {_value(node)}, in sixties; write {_value(node)}"
        )
    elif node.tag == INTEGER and re.fullmatch(r"[-+]?0[0-7_]+", node.value):
        plain = int(node.value.replace("_", ""))
        meant = f"write {plain}" + (f", or {_value(node)}" if plain != _value(node) else "")
        yield Fault(line, path, f"given {node.value}, which YAML reads as {_value(node)}, in eights; {meant}")


def _value(node: yaml.Node) -> Any:
    return yaml.safe_load(node.value)
