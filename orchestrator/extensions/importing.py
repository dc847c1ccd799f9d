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

from anytime_core.config import KINDS, Part
from orchestrator.errors import UsageError
from orchestrator.extensions.finding import HOME, Extension, Module, find_installed

Parts = dict[tuple[str, str], type[Part]]
"""By kind and name."""


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
    extension: Extension
    parts: Parts


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
    before = {kind: dict(parts) for kind, parts in KINDS.items()}
    for known in KINDS.values():
        known.clear()
    for extension, parts in zip(extensions, added, strict=True):
        for (kind, name), part in parts.items():
            alone = names.count((kind, name)) == 1
            KINDS[kind][name if alone else f"{extension.module.split('.')[-1]}.{name}"] = part
    return before != KINDS


def _refuse_namesakes(extensions: Sequence[Extension]) -> None:
    by_module: dict[str, Extension] = {}
    for extension in extensions:
        twin = by_module.setdefault(extension.module, extension)
        if twin is not extension:
            raise UsageError(f"{twin.given} and {extension.given} have one name; call one of them otherwise")


def _parts_of(extension: Extension) -> Parts:
    known = _imported.get(extension.module)
    if known is None or known.extension.source != extension.source:
        _forget(extension)
        if extension.shipped:
            _importer.modules |= extension.modules
        else:
            _check_installed(extension)
        known = _imported[extension.module] = _Imported(extension, _import(extension))
    return known.parts


def _forget(extension: Extension) -> None:
    old = _imported.pop(extension.module, None)
    for name in {*extension.modules, *(old.extension.modules if old else ())}:
        if extension.shipped:
            sys.modules.pop(name, None)


def _check_installed(extension: Extension) -> None:
    """Raises UsageError unless the package is here as it was where the extension was found."""
    here = find_installed(extension.given)
    if here is None:
        raise UsageError(f"extension {extension.given} is not installed here; every node needs it")
    if here.source != extension.source:
        theirs, ours = (next(iter(found.modules.values())).file for found in (extension, here))
        raise UsageError(f"extension {extension.given} differs between {theirs} and {ours}; every node needs the same")


def _import(extension: Extension) -> Parts:
    with _noted() as parts:
        try:
            import_module(extension.module)
        except Exception as error:
            raise UsageError(f"{extension.given}: {_where(error, extension.modules)}") from error
    for part in parts.values():
        part.source = extension.source
    return parts


@contextmanager
def _noted() -> Iterator[Parts]:
    """What is registered in the block; what was known before is known again after it."""
    before = {kind: dict(parts) for kind, parts in KINDS.items()}
    parts: Parts = {}
    try:
        for known in KINDS.values():
            known.clear()
        yield parts
        parts |= {(kind, name): part for kind, known in KINDS.items() for name, part in known.items()}
    finally:
        for kind, known in KINDS.items():
            known.clear()
            known |= before[kind]


def _where(error: Exception, modules: Mapping[str, Module]) -> str:
    """An error with the last line of the extension's own that it passed."""
    files = {module.file for module in modules.values()}
    lines = [f"{frame.filename}, line {frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    own = [line for line in lines if line.rpartition(", line ")[0] in files]
    return f"{f'{own[-1]}: ' if own else ''}{type(error).__name__}: {error}"
