"""The code that a trial is trained by: of the trainer's package, the definitions that its training can reach.

Where several do the same for different configs, such as strategies, those of its own config count, and no others. The
files are read as they are, with or without git, and nothing is imported to do so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import astuple, fields, is_dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import anytime_core
from anytime_core.config import KINDS, REGIMES, STRATEGIES, Ann, Joint, NetworkConfig, TrialConfig, is_here, our_parts
from anytime_core.extend import BASES
from anytime_core.files import user_cache, write_atomically
from orchestrator.system.syntax import IMPORTED, Definition, definitions

PACKAGE = "anytime_core"
ENTRY = "training.trainer:train"
APART = ("bounds", "documents", "errors", "files", "training.energy", "training.usage")
"""Modules through which no number passes: limits, words, what is on a disk, and the time that it takes."""
CHOICES = ("config:Strategy", "config:Regime", "config:STRATEGIES", "config:REGIMES", "config:WEIGHTS", "extend:BASES")
"""Lists of what there is to choose from. What a trial chooses is in its config."""
SERVING = {
    "model.network:build_resnet": "config:NetworkConfig",
    "model.network:_build_own": "config:OwnNetwork",
    "training.surgery:Surgeon": "extend:Surgery",
    "training.selection:_Extended": "extend:Strategy",
    "model.compiling:compile_units": "compiled",
}
"""What is used by trials with a value of this class alone, or with this setting."""
BY_NAME = ("training.weighting:WEIGHTINGS", "training.weighting:PUBLISHED_TOTALS", "data.catalog:_ALL")
"""Tables whose entries trials choose by a text."""

Graph = Mapping[str, Definition]


def training_code(config: TrialConfig) -> str | None:
    """Identifies the code that trains such a trial in this process: 12 hex digits of a SHA-256; None where a part of it
    is not here, or no source is, as of an installation without texts. An extension's is identified by the trial."""
    return _hash_here(chosen_by(config)) if is_here(config) and ENTRY in graph() else None


@cache
def graph() -> Graph:
    """Of the package as it is imported. Read once, as Python does: what is edited later does not train here."""
    return graph_of(Path(anytime_core.__file__).parent)


def graph_of(folder: Path) -> Graph:
    """Of the files in a folder, as the user's cache has it, or else as they are parsed now."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.py"))}
    own = Path(__file__).parent
    read_by = [path.read_bytes() for path in (own / "syntax.py", own / "training_code.py")]
    key = hashlib.sha256(repr((files, read_by)).encode()).hexdigest()[:16]
    place = (known := user_cache()) and known / "code" / f"{key}.json"
    if place:
        with suppress(OSError, ValueError, TypeError, AttributeError):
            kept = json.loads(place.read_bytes())
            return {name: Definition(digest, dict(uses), key) for name, (digest, uses, key) in kept.items()}
    found = _parsed({_module(name): content.decode() for name, content in files.items()})
    if place:
        with suppress(OSError):
            content = json.dumps({name: astuple(it) for name, it in found.items()}).encode()
            write_atomically(place, content, below=place.parents[2])
    return found


def _module(name: str) -> str:
    return name.removesuffix(".py").removesuffix("__init__").strip("/").replace("/", ".")


def _parsed(texts: Mapping[str, str], among: Iterable[str] = ()) -> Graph:
    """Of these modules, ``among`` others."""
    modules = frozenset([*texts, *among])
    found: dict[str, Definition] = {}
    for module, text in texts.items():
        if module not in APART:
            found |= definitions(PACKAGE, module, text, modules)
    return found


@lru_cache(maxsize=1024)
def _hash_here(chosen: frozenset[str]) -> str:
    return hash_in(graph(), chosen)


def hash_in(graph: Graph, chosen: frozenset[str]) -> str:
    """That of a graph for a trial with these choices. Where a definition lies does not count: one that moves to another
    module computes the same. What it is called by those that use it does: two that change their names change places."""
    found = reached(graph, chosen)
    digests = sorted(_with_used(graph, name, found) for name in found if graph[name].digest)
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()[:12]


def _with_used(graph: Graph, name: str, found: Set[str]) -> str:
    """The digest of a definition and those of what it uses, of all that was ``found``."""
    used = ((word, _origin(graph, target)) for word, target in graph[name].uses.items())
    meant = sorted(f"{word.rpartition(':')[2]}={graph[it].digest}" for word, it in used if it in found)
    return hashlib.sha256(" ".join([graph[name].digest, *meant]).encode()).hexdigest()[:16]


def _origin(graph: Graph, name: str) -> str:
    """Where what modules pass on is defined."""
    seen = set[str]()
    while name in graph and not graph[name].digest and name not in seen:
        seen.add(name)
        (name,) = graph[name].uses.values()
    return name


def chosen_by(config: TrialConfig) -> frozenset[str]:
    """What a trial names: the classes of its values, by their places, and texts."""
    compiled = ["compiled"] if config.training.compiled else []
    plain = () if isinstance(config.regime, Joint) else _places(Ann)  # which other regimes train by
    return frozenset([*_named(config), *compiled, *plain])


def _named(value: Any) -> Iterator[str]:
    kind: Any = type(value)
    if isinstance(value, str):
        yield value
    elif (names := _fields(kind)) is not None:
        yield from _places(kind)
        for name in names:
            yield from _named(getattr(value, name))


@cache
def _fields(kind: Any) -> tuple[str, ...] | None:
    """None of what is no dataclass."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


@cache
def _places(kind: Any) -> tuple[str, ...]:
    """Of a class and those above it, as far as they are of the package."""
    ours = (each for each in kind.__mro__ if each.__module__.startswith(f"{PACKAGE}."))
    return tuple(f"{each.__module__.removeprefix(f'{PACKAGE}.')}:{each.__qualname__}" for each in ours)


@cache
def _alternatives() -> frozenset[str]:
    """The classes of which a trial has some and others not."""
    ours = (part for kind in KINDS for part in our_parts(kind).values())
    kinds: Iterable[type] = (*STRATEGIES.values(), *REGIMES.values(), NetworkConfig, *BASES.values(), *ours)
    return frozenset(place for kind in kinds for place in _places(kind))


def reached(graph: Graph, chosen: frozenset[str]) -> set[str]:
    """The definitions that the training of a trial with these choices can come to."""
    others = (_alternatives() | {*CHOICES}) - chosen
    found: set[str] = set()
    left = [ENTRY, *(name for name in chosen if name in graph)]
    while left:
        name = left.pop()
        if name in graph and name not in found and not _is_apart(name, graph[name].key, others, chosen):
            found.add(name)
            left += [*graph[name].uses.values(), f"{name.partition(':')[0]}:{IMPORTED}"]
    return found


def _is_apart(name: str, key: str, others: frozenset[str], chosen: frozenset[str]) -> bool:
    """Whether trials with other choices alone come to it."""
    table = name.partition("[")[0]
    if name in others or key in others or (table in BY_NAME and table != name and key not in chosen):
        return True
    return name in SERVING and SERVING[name] not in chosen
