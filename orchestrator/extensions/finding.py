"""Finds an extension and all modules that are part of it, without running any of them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points, packages_distributions, version
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.extensions.source import imports_of, source_of
from orchestrator.text import expanded_path

GROUP = "anytime_orchestrator"
"""The group of entry points by which installed packages announce modules."""
HOME = "anytime_extensions"
"""The package that files of extensions are modules of, so that one may be called as an installed package is."""
OURS = ("anytime_core", "orchestrator", HOME)
LARGEST = 2**20
"""Bytes of a module of an extension."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """The text of a module, and the file that it came from, for messages."""

    text: str
    file: str
    package: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Extension:
    """An extension as a sweep file names it (``given``): ``module`` is imported, ``modules`` are those that it consists
    of. Where ``shipped``, they go to workers; else they belong to an installed package, which workers must have.

    ``source`` stands for what they say, ``imports`` are the packages of others that they import.
    """

    given: str
    module: str
    source: str
    modules: Mapping[str, Module]
    shipped: bool
    imports: tuple[str, ...] = ()

    @property
    def versions(self) -> dict[str, str]:
        """The distributions that ``imports`` come from here, and their versions; those of Python itself have none."""
        owners = packages_distributions()
        names = sorted({owner for name in self.imports for owner in owners.get(name, ())})
        return {name: version(name) for name in names}


def find(given: str, folder: Path) -> Extension:
    """An extension by what a sweep file in ``folder`` calls it: a path that ends in ``.py``, or the name of a module
    that is installed, or lies beside the file. Raises UsageError where there is none, or one has no sound syntax."""
    if given.endswith(".py"):
        path = folder / expanded_path(given)
        if not path.stem.isidentifier():
            raise UsageError(f"{given}: must be called as a module can be, such as my_method.py")
        return _made(given, f"{HOME}.{path.stem}", _beside(path.parent, {f"{HOME}.{path.stem}": path}), shipped=True)
    named = all(part.isidentifier() for part in given.split("."))
    if named and _in(folder, given) and not is_installed(given.split(".")[0]):
        return _made(given, given, _beside(folder, {}), shipped=True)
    if named and (installed := find_installed(given)):
        return installed
    if found := _announced(given):
        return found
    if not named:
        raise UsageError(
            f"{given}: must be a file such as ./my_method.py, a module such as my_lab.anytime, or a name that an "
            "installed package announces; orchestrate extension list shows those"
        )
    raise UsageError(f"{given}: there is no such module, neither installed nor in {folder.absolute()}")


def find_installed(module: str, given: str | None = None) -> Extension | None:
    """The module of an installed package; None where there is none."""
    if not is_installed(module):
        return None
    return _made(given or module, module, _of_package(module.split(".")[0]), shipped=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Announced:
    """A module that an installed package announces by ``name``."""

    name: str
    module: str
    package: str
    version: str


def announced() -> list[Announced]:
    """All of them, by name."""
    points = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    return [
        Announced(
            name=point.name,
            module=point.module,
            package=point.dist.name if point.dist else "",
            version=point.dist.version if point.dist else "",
        )
        for point in points
    ]


def _announced(given: str) -> Extension | None:
    named = [one for one in announced() if one.name == given]
    if len({one.module for one in named}) > 1:
        packages = " and ".join(f"{one.package} ({one.module})" for one in named)
        raise UsageError(f"{given}: is announced by {packages}; name the module instead")
    if not named:
        return None
    if (found := find_installed(named[0].module, given)) is None:
        raise UsageError(f"{given}: {named[0].package} announces the module {named[0].module}, which is not there")
    return found


def installed_fault(extension: Extension) -> str:
    """What is wrong with an installed extension in this process, which found it elsewhere or before; empty where it is
    as it was."""
    here = find_installed(extension.module)
    if here is None:
        return "is not installed here; every node needs it"
    if here.source != extension.source:
        theirs, ours = (found.modules[found.module].file for found in (extension, here))
        return f"differs between {theirs} and {ours}; every node needs the same"
    return ""


Find = Callable[[str], "Path | None"]


def _made(given: str, module: str, where: Find, *, shipped: bool) -> Extension:
    modules, outside = _collected(module, where)
    return Extension(
        given=given,
        module=module,
        source=source_of({"" if name == module else name: found.text for name, found in modules.items()}),
        modules=modules,
        shipped=shipped,
        imports=tuple(sorted(outside - {*OURS, *sys.stdlib_module_names})),
    )


def _collected(first: str, where: Find) -> tuple[dict[str, Module], set[str]]:
    """The modules that are reached from the first by imports and that ``where`` finds; and the others' top names."""
    modules: dict[str, Module] = {}
    outside: set[str] = set()
    left = [first]
    while left:
        name = left.pop()
        if name in modules:
            continue
        if (path := where(name)) is None:
            outside.add(name.split(".")[0])
            continue
        package = path.name == "__init__.py"
        modules[name] = found = Module(text=_read(path), file=str(path), package=package)
        above = [".".join(name.split(".")[:end]) for end in range(1, name.count(".") + 1)]
        try:
            left += [*above, *imports_of(found.text, name, package=package)]
        except SyntaxError as error:
            raise UsageError(f"{path}, line {error.lineno}: {error.msg}") from error
    return modules, outside - {name.split(".")[0] for name in modules}


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path}: is larger than {LARGEST} bytes, which no module of an extension may be")
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: cannot be read: it is not UTF-8 text") from error


def _beside(folder: Path, known: Mapping[str, Path]) -> Find:
    """Files in a folder, after those that are known. What is installed comes first, so that no file there can stand for
    a library."""

    def find(name: str) -> Path | None:
        if name in known:
            return known[name]
        top = name.split(".")[0]
        return None if top in OURS or is_installed(top) else _in(folder, name)

    return find


def _in(folder: Path, name: str) -> Path | None:
    path = folder.joinpath(*name.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def is_installed(name: str) -> bool:
    """Whether a module is there for every program of this Python, and not only for those that use an extension."""
    if name.split(".")[0] in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return False
    return spec is not None and not getattr(spec.loader, "of_an_extension", False)


def _of_package(top: str) -> Find:
    """The modules of an installed package."""

    def find(name: str) -> Path | None:
        if name.split(".")[0] != top or not is_installed(name):
            return None
        spec = importlib.util.find_spec(name)
        return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None

    return find
