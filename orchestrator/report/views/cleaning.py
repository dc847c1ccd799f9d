"""Shows what a storage holds that nobody needs, to people and to machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.ledger.garbage import Item
from orchestrator.ledger.needs import Need
from orchestrator.report.views.render import Row
from orchestrator.sweep.grid import named
from orchestrator.table import Column, Entry, Table, duration
from orchestrator.text import counted

UNITS = ("KiB", "MiB", "GiB", "TiB")


def rows(items: Iterable[Item]) -> list[Row]:
    """Sizes in bytes, ages in seconds."""
    return [
        {"kind": it.kind, "name": it.name, "about": it.about, "bytes": it.size, "age": round(it.age)} for it in items
    ]


def table(items: tuple[Item, ...], needs: tuple[Need, ...], storage: str, *, deleted: bool, left: int = 0) -> Table:
    """For people, with who needs what stays; ``left`` items could not be removed."""
    columns = ("kind", "name", "about", "size", "age")
    return Table(
        name="gc",
        title=f"{storage}: {_summary(items, deleted=deleted, left=left)}",
        columns=tuple(Column(name=name, numeric=name in columns[3:]) for name in columns if items),
        rows=tuple(_row(it) for it in items),
        notes=(*_stays(needs), *(["nothing was removed: --delete removes it"] if items and not deleted else [])),
    )


def _row(item: Item) -> tuple[Entry, ...]:
    age = " ".join(duration(item.age).split()[:2])  # such as 40 d
    name = item.name if item.name.isprintable() else repr(item.name)
    return tuple(Entry(value=value) for value in (item.kind, name, item.about, size(item.size), age))


def _summary(items: tuple[Item, ...], *, deleted: bool, left: int) -> str:
    if not items and not left:
        return "there is nothing that nobody needs"
    verb, rest = "was removed" if deleted else "could go", f"; {counted(left, 'item')} could not" if left else ""
    return f"{size(sum(it.size for it in items))} {verb}, {counted(len(items), 'item')}{rest}"


def _stays(needs: tuple[Need, ...]) -> Iterator[str]:
    for need in needs:
        running = f", run by {need.driver}" if need.driver else ""
        yield f"sweep {named(need.sweep)} needs {counted(len(need.trials), 'trial')}{running}"


def size(count: int) -> str:
    """Such as ``3.4 MiB``."""
    value, unit = float(count), "B"
    for larger in UNITS:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
