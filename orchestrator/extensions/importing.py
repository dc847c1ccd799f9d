"""Imports extensions, here or on a worker, and makes known what they add."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import CodeType, ModuleType
from typing import Any

from anytime_core.config import KINDS, Part
from orchestrator.errors import UsageError
from orchestrator.extensions.additions import ADDED
from orchestrator.extensions.finding import HOME, Extension, Module, installed_fault

Known = dict[tuple[str, str], Any]
"""What an extension registers, by kind and name."""
REGISTRIES: dict[str, dict[str, Any]] = {**KINDS, **ADDED}


class _Importer(MetaPathFinder, Loader):
    """Imports modules of extensions from their text. It is asked last, so what is installed comes first."""

    of_an_extension = True

    def __init__(self) -> None:
        self.modules: dict[str, Module] = {HOME: Module(text="", file="", package=True)}

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if (module := self.modules.get(name)) is None:
            return None
        return spec_from_loader(name, self, origin=module.file or None, is_package=module.package)

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), vars(module))

    def get_code(self, name: str) -> CodeType:
        return compile(self.modules[name].text, self.modules[name].file, "exec", dont_inherit=True)

    def get_source(self, name: str) -> str:
        """For the lines of tracebacks: a worker's node may lack the file."""
        return self.modules[name].text


@dataclass(frozen=True, slots=True)
class _Imported:
    """``loaded`` are its modules as they were imported: another extension may have a helper of the same name."""

    extension: Extension
    parts: Known
    loaded: Mapping[str, ModuleType]


_importer = _Importer()
_imported: dict[str, _Imported] = {}
"""By the name of the module."""


def activate(extensions: Sequence[Extension]) -> bool:
    """Makes known what these extensions add, and nothing else; imports those that are not imported, or have changed.
    Returns whether other parts are known than before. Raises UsageError for one that cannot be imported, and for two of
    one name."""
    if _importer not in sys.meta_path:
        sys.meta_path.append(_importer)
    _refuse_namesakes(extensions)
    added = [_parts_of(extension) for extension in extensions]
    names = [key for parts in added for key in parts]
    before = {kind: dict(parts) for kind, parts in REGISTRIES.items()}
    for known in REGISTRIES.values():
        known.clear()
    for extension, parts in zip(extensions, added, strict=True):
        for (kind, name), part in parts.items():
            alone = names.count((kind, name)) == 1
            REGISTRIES[kind][name if alone else f"{extension.module.split('.')[-1]}.{name}"] = part
    return before != REGISTRIES


def _refuse_namesakes(extensions: Sequence[Extension]) -> None:
    """Two that have one name, or helpers of one name that differ: an import could find but one of them."""
    by_module: dict[str, Extension] = {}
    texts: dict[str, tuple[Extension, str]] = {}
    for extension in extensions:
        twin = by_module.setdefault(extension.module, extension)
        if twin is not extension:
            raise UsageError(f"{twin.given} and {extension.given} have one name; call one of them otherwise")
        for name, module in extension.modules.items():
            other, text = texts.setdefault(name, (extension, module.text))
            if text != module.text:
                both = f"{other.given} and {extension.given} import different modules named {name}"
                raise UsageError(f"{both}; call one of them otherwise")


def _parts_of(extension: Extension) -> Known:
    known = _imported.get(extension.module)
    if extension.shipped:
        _importer.modules |= extension.modules
        for name in extension.modules:
            sys.modules.pop(name, None)
    if known is None or known.extension.source != extension.source:
        if not extension.shipped:
            _check_installed(extension)
        parts = _import(extension)
        loaded = {name: sys.modules[name] for name in extension.modules if name in sys.modules}
        known = _imported[extension.module] = _Imported(extension, parts, loaded)
    sys.modules.update(known.loaded)
    return known.parts


def _check_installed(extension: Extension) -> None:
    """Raises UsageError unless the package is here as it was where the extension was found."""
    if fault := installed_fault(extension):
        raise UsageError(f"extension {extension.given} {fault}")


def _import(extension: Extension) -> Known:
    with _noted() as parts:
        try:
            import_module(extension.module)
        except (Exception, SystemExit) as error:  # an extension may raise anything
            place = located(error, extension.modules)
            raise UsageError(f"{extension.given}: {place}{type(error).__name__}: {error}") from error
    for part in parts.values():
        if isinstance(part, type) and issubclass(part, Part):
            part.source = extension.source
    return parts


@contextmanager
def _noted() -> Iterator[Known]:
    """What is registered in the block; what was known before is known again after it."""
    before = {kind: dict(parts) for kind, parts in REGISTRIES.items()}
    parts: Known = {}
    try:
        for known in REGISTRIES.values():
            known.clear()
        yield parts
        parts |= {(kind, name): part for kind, known in REGISTRIES.items() for name, part in known.items()}
    finally:
        for kind, known in REGISTRIES.items():
            known.clear()
            known |= before[kind]


def told(error: BaseException) -> str:
    """The text of an error that code of an extension raised. That of an exit is but a number."""
    return f"SystemExit: {error}" if isinstance(error, SystemExit) else str(error)


def located(error: BaseException | None, modules: Mapping[str, Module] | None = None) -> str:
    """Such as ``ramp.py, line 12: ``, the last line of an extension's code that an error passed; empty where it passed
    none. ``modules`` are those to look at, by default all that were imported."""
    if modules is None:
        modules = {name: module for known in _imported.values() for name, module in known.extension.modules.items()}
    place = ""
    while error:
        for frame, line in traceback.walk_tb(error.__traceback__):
            if module := modules.get(frame.f_globals.get("__name__", "")):
                place = f"{module.file}, line {line}: "
        error = error.__cause__
    return place
