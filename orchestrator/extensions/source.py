"""What Python code says, whatever it looks like: a hash of its syntax tree.

Comments, docstrings, quotes, line breaks and brackets that change nothing do not count. The tree is written out here
and not by ``ast.dump``, whose words differ between versions of Python.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping

LENGTH = 12
"""Hex digits of a source."""
UNSAID = ("ctx", "kind", "type_comment", "type_ignores")
"""Fields of a syntax tree that say nothing which other fields do not."""


def source_of(modules: Mapping[str, str]) -> str:
    """Stands for the code of some modules, by name. Raises SyntaxError."""
    digest = hashlib.sha256()
    for name in sorted(modules):
        digest.update(f"{name}\0".encode())
        for word in _words(_parsed(modules[name], name)):
            digest.update(word.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()[:LENGTH]


def _parsed(text: str, name: str) -> ast.Module:
    return ast.parse(text, f"{name}.py")


def _words(node: object) -> Iterator[str]:
    """The tree in words: kinds of nodes, names of fields that hold something, and values."""
    if isinstance(node, ast.AST):
        yield type(node).__name__
        for field, value in sorted(ast.iter_fields(node)):
            value = _without_docstring(node, value) if field == "body" else value
            if field not in UNSAID and value is not None and value != []:
                yield field
                yield from _words(value)
        yield "."
    elif isinstance(node, list):
        yield "["
        for item in node:
            yield from _words(item)
        yield "]"
    else:
        yield f"{type(node).__name__} {node!r}"


def _without_docstring(node: ast.AST, body: object) -> object:
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if documented and isinstance(body, list) and body and _is_text(body[0]):
        return body[1:] or [ast.Pass()]
    return body


def _is_text(statement: object) -> bool:
    text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return text and isinstance(statement.value.value, str)  # type: ignore[attr-defined]


def imports_of(text: str, name: str, *, package: bool = False) -> list[str]:
    """The modules that a module imports, anywhere in it, by their whole names: ``from .helper import x`` too, of which
    ``x`` may be a module itself."""
    base = name.split(".") if package else name.split(".")[:-1]
    found: list[str] = []
    for node in ast.walk(_parsed(text, name)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found += [origin, *(f"{origin}.{alias.name}" for alias in node.names)] if origin else []
    return list(dict.fromkeys(found))
