"""What the values of options and arguments can be, where click has no type for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from orchestrator.errors import UsageError
from orchestrator.places import expanded


@contextmanager
def naming_its_variable(context: click.Context | None, parameter: click.Parameter | None) -> Iterator[None]:
    """Adds to a UsageError the environment variable that gave the parameter's value, if one did."""
    try:
        yield
    except UsageError as error:
        by = context.get_parameter_source(parameter.name or "") if context and parameter else None
        if by is not ParameterSource.ENVIRONMENT or parameter is None:
            raise
        raise UsageError(f"{error} (given by {parameter.envvar})") from error


class Share(click.FloatRange):
    """A share of a GPU, or ``auto``."""

    name = "share"

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "auto" else super().convert(value, param, ctx)


class Percent(click.ParamType[float]):
    """A part of all, above 0% and below 100%, such as 2% or 0.02."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from anytime_core.inputs import share

        try:
            return share((param.name if param else None) or self.name, value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Span(click.ParamType[float]):
    """A span of time in seconds, such as 90s, 30m, 12h, 7d or 2w."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from orchestrator.sweep.limits import span

        if isinstance(value, float):  # converted already, as click does with a default
            return value
        try:
            return span(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Expanded(click.types.StringParamType):
    """A word that may be a path."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return expanded(super().convert(value, param, ctx))


class FileOrFolder(click.Path):
    """A path, with ``~`` for the home folder: the type of every option and argument that is one."""

    def __init__(self, *, file: bool = True, folder: bool = True) -> None:
        super().__init__(path_type=Path, file_okay=file, dir_okay=folder)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        with naming_its_variable(ctx, param):
            path = expanded(os.fspath(value))
        return super().convert(path, param, ctx)


class SweepFile(FileOrFolder):
    """A sweep file by its path, or one that comes with the package by its name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from orchestrator.sweepfile.shipped import meant

        return meant(super().convert(value, param, ctx))


class StorageType(FileOrFolder):
    """A folder, the address of a store or, to be read, a ``bundle``."""

    def __init__(self, *, bundle: bool = False) -> None:
        super().__init__(file=bundle)
        self._bundle = bundle

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from orchestrator.ledger.storage import checked

        with naming_its_variable(ctx, param):
            location = checked(value)
            if not isinstance(location, Path):
                return location
            if os.path.isfile(path := Path(expanded(os.fspath(value)))):
                self._check_file(path)
            return super().convert(value, param, ctx)

    def _check_file(self, path: Path) -> None:
        from zipfile import is_zipfile

        from orchestrator.ledger.bundle import SUFFIX

        allowed = "allowed: a folder, or s3://BUCKET/PREFIX"
        if not self._bundle:
            other = f"`orchestrate import {path}` brings a bundle into one"
            raise UsageError(f"storage {path}: is a file, and this command writes to its storage; {allowed}. {other}")
        if path.suffix != SUFFIX or not is_zipfile(path):
            raise UsageError(f"storage {path}: is a file, and no bundle; {allowed}, or what `orchestrate bundle` wrote")


class Names(click.Choice[str]):
    """One of the names of a registry, which may be slow to import and so is imported once somebody asks for them."""

    case_sensitive = True

    def __init__(self, registry: Callable[[], Sequence[str]]) -> None:
        self._registry = registry

    @property
    def choices(self) -> Sequence[str]:  # type: ignore[override]
        return tuple(self._registry())


class NameOrPath(Names):
    """One of the names of a registry, or else the path of a file or folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value not in self.choices and os.path.exists(path := expanded(value)):
            return Path(path)
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            raise click.BadParameter(f"{error.message.rstrip('.')}, or a file or folder.", ctx, param) from error
