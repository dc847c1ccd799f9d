"""A YAML file that knows the line of every key, so that a fault can say where it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import SweepError, UsageError

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    line: int
    key: Key
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: " + ": ".join(filter(None, (".".join(self.key), self.message)))


@dataclass(frozen=True, slots=True)
class Document:
    """``content`` is plain data; ``lines`` gives the 1-based line of each key path, list indices among them."""

    path: Path
    content: Any
    lines: dict[Key, int] = field(default_factory=dict)

    def fault(self, key: Sequence[str | int], message: str) -> Fault:
        """A fault at ``key``, on its own line or on that of the nearest key around it."""
        path = tuple(map(str, key))
        known = (path[:end] for end in range(len(path), -1, -1) if path[:end] in self.lines)
        return Fault(self.lines.get(next(known, ()), 1), path, message)

    def refuse(self, faults: Sequence[Fault]) -> None:
        """Raises SweepError with all of them, in the order of the file, if there are any."""
        if distinct := sorted(set(faults)):
            count = "1 fault" if len(distinct) == 1 else f"{len(distinct)} faults"
            raise SweepError("\n  ".join([f"{self.path}: {count}", *map(str, distinct)]))


def read(path: Path) -> Document:
    """Reads a file of one YAML document. Raises UsageError if it cannot be read, SweepError if it is not sound YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: cannot be read: it is not UTF-8 text") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        document = Document(path, yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SweepError(f"{path}: is not valid YAML: {_reason(error)}") from error
    if root is not None:
        document.refuse(list(_walk(document.lines, root, (), set())))
    return document


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + (getattr(error, "problem", None) or str(error))


def _walk(lines: dict[Key, int], node: yaml.Node, path: Key, seen: set[int]) -> Iterator[Fault]:
    """Records the line of each key below ``node``; yields a fault for each key given twice, which YAML lets pass."""
    lines.setdefault(path, node.start_mark.line + 1)
    if id(node) in seen:  # an alias, maybe of a node around it
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            line = key.start_mark.line + 1
            if inner in lines and key.value != "<<":
                yield Fault(line, inner, f"is given twice, first on line {lines[inner]}")
            lines[inner] = line
            yield from _walk(lines, value, inner, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(lines, value, (*path, str(index)), seen)
