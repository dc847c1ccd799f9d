"""The sweep files that come with the package: in a checkout beside it, else where its wheel put them."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from orchestrator.errors import UsageError

DISTRIBUTION = "anytime-orchestrator"
SUFFIX = ".yaml"
SCHEMA = "sweep.schema.json"


@cache
def paths() -> dict[str, Path]:
    """By name, such as ``table6``; none where a package lacks them."""
    beside = Path(__file__).parents[2] / "sweeps"
    found = beside.glob(f"*{SUFFIX}") if (beside.parent / "pyproject.toml").is_file() else _installed()
    return {path.stem: path for path in sorted(found)}


def _installed() -> list[Path]:
    try:
        files = distribution(DISTRIBUTION).files or []
    except PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve() for file in files if file.match(f"sweeps/*{SUFFIX}")]


def meant(given: Path) -> Path:
    """The file that a name alone stands for, unless there is something of that name here. Raises UsageError for a name
    that stands for none."""
    bare = not given.suffix and given.name == str(given)
    return _named(given.name) if bare and not given.exists() else given


def _named(name: str) -> Path:
    known = paths()
    if name not in known:
        raise UsageError(f"{name}: no such file, and no sweep of that name; allowed: {', '.join(known)}")
    return known[name]


def copy(name: str, folder: Path) -> Path:
    """Writes one into a folder, to be changed there. Raises UsageError for a name that is none, and where a file is in
    the way."""
    source = _named(name)
    target = folder / source.name
    try:
        with target.open("xb") as file:
            file.write(source.read_bytes())
    except FileExistsError:
        raise UsageError(f"{target}: is there already; give another folder by `cd`, or rename it") from None
    schema = source.with_name(SCHEMA)  # which the first line names, for editors
    if schema.exists() and not (folder / SCHEMA).exists():
        (folder / SCHEMA).write_bytes(schema.read_bytes())
    return target
