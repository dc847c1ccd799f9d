"""What a sweep file may say of a part of a method: one of ours, or one that an active extension adds.

Pydantic builds its schemas once; what is here looks at the registries whenever they are built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    GetCoreSchemaHandler,
    Tag,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema

from anytime_core.config import KINDS, AnyNetwork, DataConfig, Part, Regime, known_parts

OURS = "ours"
"""The tag of what is no extension's."""


def named(value: Any) -> Any:
    """``aann`` is short for ``{name: aann}``."""
    return {"name": value} if isinstance(value, str) else value


class OneOf:
    """A part of one kind by its ``name``: one of ours, each of a type of its own, or an extension's. As metadata of
    ``Annotated[Any, ...]``."""

    def __init__(self, kind: str, ours: Mapping[str, Any]) -> None:
        self.kind, self.ours = kind, ours

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        types = {**self.ours, **{name: without_name(part) for name, part in known_parts(self.kind).items()}}
        tagged = [Annotated[kind, Tag(name)] for name, kind in types.items()]
        if len(tagged) == 1:  # pydantic takes no union of one
            tagged.append(Annotated[None, Tag("")])
        return handler.generate_schema(
            Annotated[reduce(or_, tagged), Discriminator(self._name), BeforeValidator(named)]
        )

    def _name(self, value: Any) -> str | None:
        if isinstance(value, Part):
            return next(name for name, part in known_parts(self.kind).items() if part is type(value))
        return str(value["name"]) if isinstance(value, dict) and "name" in value else getattr(value, "name", None)


class OursOr:
    """A part of one kind by its name, or else one of ours that have no part for them, which all have one type."""

    def __init__(self, kind: str, ours: Any) -> None:
        self.kind, self.ours = kind, ours

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        tagged = [Annotated[without_name(part), Tag(name)] for name, part in known_parts(self.kind).items()]
        union = reduce(or_, [*tagged, Annotated[self.ours, Tag(OURS)]])
        return handler.generate_schema(Annotated[union, Discriminator(self._name), BeforeValidator(named)])

    def _name(self, value: Any) -> str:
        if isinstance(value, Part):
            return next(name for name, part in known_parts(self.kind).items() if part is type(value))
        name = value.get("name") if isinstance(value, dict) else None
        return name if isinstance(name, str) and name in known_parts(self.kind) else OURS


def flags() -> set[str]:
    """The fields of parts that are true or false."""
    known = [part for kind in KINDS for part in known_parts(kind).values()]
    return {name for part in known for name, hint in get_type_hints(part).items() if hint is bool}


def without_name(part: type[Part]) -> Any:
    """A part is told by its name, and has no field for it."""

    def strip(value: Any) -> Any:
        return {key: item for key, item in value.items() if key != "name"} if isinstance(value, dict) else value

    return Annotated[part, WrapValidator(_no_exit), BeforeValidator(strip), AfterValidator(_hashable)]


def _no_exit(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """An extension checks its fields by code of its own."""
    try:
        return read(value)
    except SystemExit as error:
        raise ValueError(f"SystemExit: {error}") from error


def _hashable(part: Any) -> Any:
    """Parts are compared and looked up by their values."""
    wrong = [field.name for field in fields(part) if isinstance(getattr(part, field.name), list | dict | set)]
    if wrong:
        raise ValueError(f"{part.name} must declare {', '.join(wrong)} as a tuple, which does not change")
    return part


def numbers(part: type[Any]) -> list[str]:
    """The fields of a part that a grid may vary: those that hold a number, or a yes or no."""
    hints = get_type_hints(part)
    return [
        it.name for it in fields(part) if {int, float, bool}.intersection([hints[it.name], *get_args(hints[it.name])])
    ]


def regime_methods(plain: type[Any], with_grid: type[Any]) -> dict[str, type[Any]]:
    """What a sweep file may say of each regime that is a part: the fields of the regime, beside its name; and a grid of
    them, where there are any and none has a name that the grid has."""
    made = {}
    for name, part in known_parts("regime").items():
        own = {field.name for field in fields(part)}  # type: ignore[arg-type]
        made[name] = _method(name, part, with_grid if own and own.isdisjoint(with_grid.model_fields) else plain)
    return made


def _method(name: str, part: type[Part], base: type[Any]) -> type[Any]:
    hints = get_type_hints(part, include_extras=True)
    own: dict[str, Any] = {
        field.name: (hints[field.name], ... if field.default is MISSING else field.default)
        for field in fields(part)  # type: ignore[arg-type]
    }

    def regimes(self: Any, network: AnyNetwork, data: DataConfig, weights: object) -> list[Regime | Part]:
        return [part(**{key: getattr(self, key) for key in own})]

    def sound(self: Any) -> Any:
        """Refuses what the regime refuses, with its line."""
        at(self, {})
        return self

    def at(self: Any, point: dict[str, Any]) -> dict[str, Any]:
        try:
            part(**{key: getattr(self, key) for key in own} | point)
        except SystemExit as error:
            raise ValueError(f"SystemExit: {error}") from error
        return point

    def parameters(self: Any) -> dict[str, list[str]]:
        return {key: [key] for key in numbers(part)}

    own_fields = own | {"regime": (Literal[name], ...)}
    validators: Any = {"sound": model_validator(mode="after")(sound)}
    made = create_model(part.__name__, __base__=base, __validators__=validators, **own_fields)
    made.regimes, made.at, made.parameters = regimes, at, parameters
    return made
