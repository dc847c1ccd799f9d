"""What the values of options and arguments can be, where click has no type for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click


class Share(click.FloatRange):
    """A share of a GPU, or ``auto``."""

    name = "share"

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "auto" else super().convert(value, param, ctx)


class StorageType(click.Path):
    """A folder, or the address of a store."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from orchestrator.ledger.storage import checked

        location = checked(value)
        return super().convert(value, param, ctx) if isinstance(location, Path) else location


class Names(click.Choice[str]):
    """One of the names of a registry, which may be slow to import and so is imported once somebody asks for them."""

    case_sensitive = True

    def __init__(self, registry: Callable[[], Sequence[str]]) -> None:
        self._registry = registry

    @property
    def choices(self) -> Sequence[str]:  # type: ignore[override]
        return tuple(self._registry())
