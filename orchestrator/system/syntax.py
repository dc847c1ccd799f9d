"""What a module of Python defines, by normalised syntax: what can change what it computes, and the names that it uses.

Comments, formatting, texts that document, annotations, checks that only refuse, and the words of an error do not count.
Neither does the version of Python that reads it, as far as its grammar has one tree for the same text.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

IMPORTED = "import"
"""The name of what a module does as it is imported, beside its definitions."""
CHECKS = ("refuse", "refuse_gaps")
"""Functions that only raise."""
LABELS = ("ours", "register")
"""Decorators that only name a class; the version that they give is in the trial's id."""
SILENT = frozenset({"annotation", "returns", "ctx", "kind", "type_comment", "type_ignores", "type_params"})
"""Fields of a tree that no run depends on."""


@dataclass(frozen=True, slots=True)
class Definition:
    """``digest`` stands for its syntax; it is empty where a module only passes on what it imports. ``uses`` are names,
    such as ``training.optim:Sgd``, by what the syntax calls them. One with a ``key`` is an entry of a table: the name
    of a class, or a text."""

    digest: str
    uses: Mapping[str, str] = field(default_factory=dict)
    key: str = ""


@dataclass(slots=True)
class _Reader:
    """Reads one module of the ``package``. ``names`` are what its imports of the package stand for, ``others`` those of
    other packages."""

    package: str
    module: str
    modules: frozenset[str]
    names: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    def imports(self, tree: ast.Module) -> None:
        node: ast.AST
        for node in tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                self.texts |= {name: str(it.value) for name, it in _assigned(node) if isinstance(it, ast.Constant)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for given in node.names:
                    self._bind(given.asname or given.name.partition(".")[0], given.name if given.asname else "", "")
            elif isinstance(node, ast.ImportFrom):
                for given in node.names:
                    self._bind(given.asname or given.name, node.module or "", given.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                for name, value in _assigned(node):
                    if (whole := self.imported(value)) is not None:
                        self.names[name] = f"{whole}:"

    def imported(self, node: ast.AST | None) -> str | None:
        """The module of the package that an expression imports by its name, as what imports torch is."""
        match node:
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(name))]):
                return self.inside(name)
            case ast.Call(func=ast.Name(id="import_module"), args=[ast.Name(id=name)]):
                return self.inside(self.texts.get(name, ""))
        return None

    def _bind(self, name: str, module: str, what: str) -> None:
        inside = self.inside(module)
        if inside is None:
            self.others[name] = f"{module}.{what}"
        elif (whole := f"{inside}.{what}".strip(".")) in self.modules:
            self.names[name] = f"{whole}:"
        else:
            self.names[name] = f"{inside}:{what}"

    def inside(self, module: str) -> str | None:
        """The name of a module below the package; None for another's."""
        if module == self.package:
            return ""
        return module.removeprefix(f"{self.package}.") if module.startswith(f"{self.package}.") else None

    def used(self, nodes: Iterable[ast.AST]) -> dict[str, str]:
        found = {}
        for node in nodes:
            match node:
                case ast.Attribute(value=ast.Name(id=name), attr=attribute) if self.names.get(name, "").endswith(":"):
                    found[f"{name}.{attribute}"] = f"{self.names[name]}{attribute}"
                case ast.Attribute(value=value, attr=attribute) if (whole := self.imported(value)) is not None:
                    found[ast.unparse(node)] = f"{whole}:{attribute}"
                case ast.Name(id=name) if name in self.own:
                    found[name] = f"{self.module}:{name}"
                case ast.Name(id=name) if name in self.names and not self.names[name].endswith(":"):
                    found[name] = self.names[name]
        return dict(sorted(found.items()))

    def passed_on(self) -> Iterator[tuple[str, Definition]]:
        """What the module imports of the package is found under its name, too."""
        for name, origin in self.names.items():
            if name not in self.own and not origin.endswith(":"):
                yield f"{self.module}:{name}", Definition("", {name: origin})

    def read(self, name: str, nodes: list[ast.stmt]) -> Iterator[tuple[str, Definition]]:
        """A definition; of a table its entries, too, each on its own."""
        place = f"{self.module}:{name}"
        entries = {f"{place}[{ast.unparse(key)}]": (key, value) for key, value in _entries(nodes)}
        for entry, (key, value) in entries.items():
            yield entry, self.definition([key, value], self._choice(key))
        yield place, Definition("table", {it: it for it in entries}) if entries else self.definition([*nodes])

    def _choice(self, key: ast.Name | ast.Constant) -> str:
        """What a trial must name for this key of a table to be its own."""
        if isinstance(key, ast.Constant):
            return str(key.value)
        return self.names.get(key.id) or f"{self.module}:{key.id}"

    def definition(self, nodes: list[ast.AST], key: str = "") -> Definition:
        read: list[ast.AST] = []
        words = "\0".join(_words(nodes, read))
        used = {node.id for node in read if isinstance(node, ast.Name)}
        foreign = sorted(f"{name}={self.others[name]}" for name in used if name in self.others)
        digest = hashlib.sha256("\0".join([words, *foreign]).encode()).hexdigest()[:16]
        return Definition(digest, self.used([*read, *_in_checks(nodes)]), key)


def definitions(package: str, module: str, text: str, modules: frozenset[str]) -> Mapping[str, Definition]:
    """Those of a module of the ``package``, by names such as ``training.optim:Sgd``; ``modules`` are all that it has.
    A table's entries have names such as ``training.selection:RULES[Avgl]``. Raises SyntaxError."""
    tree = ast.parse(text)
    reader = _Reader(package, module, modules)
    reader.imports(tree)
    statements: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        for name in {*_defined(node)} or {IMPORTED}:
            statements.setdefault(name, []).append(node)
    reader.own = {*statements}
    found = dict(it for name, nodes in statements.items() for it in reader.read(name, nodes))
    return found | dict(reader.passed_on())


def _assigned(node: ast.Assign | ast.AnnAssign) -> Iterator[tuple[str, ast.AST | None]]:
    """Names and what each of them becomes."""
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        match target, node.value:
            case ast.Name(id=name), value:
                yield name, value
            case ast.Tuple(elts=targets), ast.Tuple(elts=values):
                yield from (
                    (it.id, value) for it, value in zip(targets, values, strict=False) if isinstance(it, ast.Name)
                )


def _defined(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module gives a value; one that sets a part of something changes that for all."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (name for target in targets for name in _bound(target))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _bound(target: ast.expr) -> Iterator[str]:
    match target:
        case ast.Name(id=name):
            yield name
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            yield from (name for part in parts for name in _bound(part))
        case ast.Starred(value=part):
            yield from _bound(part)
        case _:  # such as torch.backends.cudnn.benchmark
            yield IMPORTED


def _entries(nodes: list[ast.stmt]) -> Iterator[tuple[ast.Name | ast.Constant, ast.AST]]:
    """Of a table by classes or texts, or of a sequence of objects that have a ``name``; nothing of another
    definition."""
    match getattr(nodes[0], "value", None) if len(nodes) == 1 else None:
        case ast.Dict(keys=keys, values=values):
            found = [*zip(map(_key, keys), values, strict=True)]
        case ast.Tuple(elts=items):
            found = [(_named(item), item) for item in items]
        case _:
            return
    named = [(key, value) for key, value in found if key]
    if len(named) == len(found):
        yield from named


def _key(node: ast.AST | None) -> ast.Name | ast.Constant | None:
    match node:
        case ast.Name() | ast.Constant(value=str()):
            return node
    return None


def _named(node: ast.AST) -> ast.Name | ast.Constant | None:
    keywords = node.keywords if isinstance(node, ast.Call) else []
    return next((_key(keyword.value) for keyword in keywords if keyword.arg == "name"), None)


def _words(value: object, read: list[ast.AST]) -> Iterator[str]:
    """What counts of a tree, in order. ``read`` gains the nodes that do."""
    match value:
        case list():
            yield "["
            for item in value:
                yield from _words(item, read)
            yield "]"
        case ast.AST() if not _is_silent(value):
            read.append(value)
            yield type(value).__name__
            for name, part in _parts(value):
                yield name
                yield from _words(part, read)
        case ast.AST():
            pass
        case _:
            yield f"{type(value).__name__} {value!r}"


def _parts(node: ast.AST) -> Iterator[tuple[str, object]]:
    """The fields of a node that count; none that is empty, as versions of Python add such."""
    for name, part in sorted(ast.iter_fields(node)):
        if name in SILENT or (part in (None, []) and not isinstance(node, ast.Constant)):
            continue
        match node, name:
            case ast.Raise(), "exc":
                yield name, part.func if isinstance(part, ast.Call) else part
            case ast.Raise(), _:
                pass
            case _:
                yield name, part


def _is_silent(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant(value=str())) | ast.Pass():
            return True
        case ast.Assert() | ast.Expr(value=ast.Call()) if _is_check(node):
            return not any(isinstance(part, ast.NamedExpr) for part in ast.walk(node))
        case ast.Call(func=ast.Name(id=name)) if name in LABELS:
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Import() | ast.ImportFrom():
            return True
    return False


def _is_check(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=ast.Name(id=name))):
            return name in CHECKS
    return isinstance(node, ast.Assert)


def _in_checks(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """What checks call runs, too: their words count for nothing, and what they use does."""
    for node in nodes:
        for part in ast.walk(node):
            if _is_check(part):
                yield from ast.walk(part)
