"""What may be registered, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, make_dataclass

import pytest

from anytime_core.config import (
    KINDS,
    REGIMES,
    STRATEGIES,
    WEIGHTS,
    DataConfig,
    Joint,
    NetworkConfig,
    Part,
    TrainingConfig,
    TrialConfig,
)
from anytime_core.extend import (
    BASES,
    ExtensionError,
    Network,
    Objective,
    Reader,
    StagedNetwork,
    Strategy,
    Weighting,
    register,
)

FROZEN = {"frozen": True, "kw_only": True}


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    before = {kind: dict(parts) for kind, parts in KINDS.items()}
    yield
    for kind, parts in KINDS.items():
        parts.clear()
        parts |= before[kind]


def refused(name: str, part: type) -> str:
    with pytest.raises(ExtensionError) as error:
        register(name)(part)
    return str(error.value)


def made(base: type, *fields: str, **options: bool) -> type:
    columns = [(name, float, 1.0) for name in fields]
    return make_dataclass("Mine", columns, bases=(base,), **FROZEN | options)


@pytest.mark.parametrize("kind", BASES)
def test_a_part_of_each_kind_is_known_by_its_name(kind: str) -> None:
    base = BASES[kind]
    needed = {"network": "build", "reader": "read"}.get(kind)
    if needed:
        base = type(base.__name__, (base,), {needed: lambda self, *given: None})
    part = register("mine")(made(base, "power", *(["predictions"] if kind == "network" else [])))
    assert KINDS[kind]["mine"] is part
    assert (part.name, part.kind, part.source) == ("mine", kind, "")
    assert all("mine" not in parts for other, parts in KINDS.items() if other != kind)


@pytest.mark.parametrize("name", [*STRATEGIES])
def test_a_name_of_our_strategies_is_refused(name: str) -> None:
    assert refused(name, made(Strategy)) == f"strategy {name} is one of ours; give it another name"


@pytest.mark.parametrize("name", [*(name for name in WEIGHTS if name.isidentifier()), "opt", "values"])
def test_a_name_of_our_weights_is_refused(name: str) -> None:
    assert refused(name, made(Weighting)) == f"weights {name} is one of ours; give it another name"


@pytest.mark.parametrize("name", REGIMES)
def test_a_name_of_our_regimes_is_refused(name: str) -> None:
    assert f"regime {name} is one of ours" in refused(name, made(BASES["regime"]))


def test_a_name_of_another_kind_is_free() -> None:
    register("sieve")(made(Objective))


@pytest.mark.parametrize("field", ["name", "kind", "source"])
def test_reserved_fields_are_refused(field: str) -> None:
    part = make_dataclass("Mine", [(field, str, "x")], bases=(Weighting,), **FROZEN)
    assert f"Mine has a field {field}, which is reserved" in refused("mine", part)


def test_what_is_no_frozen_dataclass_is_refused() -> None:
    class Plain(Weighting):
        """Without @dataclass: its base's fields are no word of its own."""

    for part in (Plain, made_thawed()):
        assert "must be a @dataclass(frozen=True, kw_only=True), below @register" in refused("mine", part)


def made_thawed() -> type:
    @dataclass
    class Thawed:
        """Not frozen; nothing below a frozen base can be."""

    return type("Thawed", (Thawed, Weighting), {"__dataclass_fields__": {}, "__dataclass_params__": None})


def test_what_is_below_no_base_or_two_is_refused() -> None:
    for part in (int, Part, type("Both", (Weighting, Strategy), {})):
        said = refused("mine", part)
        assert "must be a class below one of Weighting, Strategy, Objective, Answers, GradientFlow, Regime" in said


@pytest.mark.parametrize("name", ["", "my-method", "1st", "opt(3)", "a b"])
def test_a_name_must_be_one(name: str) -> None:
    assert "must be a name such as my_method" in refused(name, made(Weighting))


def test_all_faults_are_told_at_once() -> None:
    part = make_dataclass("Mine", [("source", str, "x")], bases=(Weighting,), **FROZEN)
    assert refused("1st", part).count(";") == 1


def test_a_class_made_again_takes_the_place_of_the_first_and_another_does_not() -> None:
    register("mine")(made(Weighting))
    again = register("mine")(made(Weighting, "power"))
    assert KINDS["weights"]["mine"] is again
    other = make_dataclass("Other", [], bases=(Weighting,), **FROZEN)
    assert "weights mine is Mine of " in refused("mine", other)


def test_weights_of_an_extension_set_no_decay_of_heads() -> None:
    """A head's decay is set once, and they may change with each epoch."""
    part = register("mine")(made(Weighting))()
    values = {"network": NetworkConfig(n=1, c=2), "data": DataConfig(name="digits"), "regime": Joint(weights=part)}
    TrialConfig(**values)
    with pytest.raises(ValueError, match="head_decay is loss_weight, must be uniform: weights mine may change"):
        TrialConfig(**values, training=TrainingConfig(head_decay="loss_weight"))


@pytest.mark.parametrize(
    ("base", "lacks"),
    [
        (StagedNetwork, ["predicting_stages, a property: write @property above it", "stages(classes, channels, size)"]),
        (Network, ["predictions, a field or a property", "build(classes, channels, size)"]),
        (Reader, ["read(path)"]),
    ],
)
def test_what_a_part_cannot_be_without_is_told_as_it_is_registered(base: type, lacks: list[str]) -> None:
    said = refused("mine", made(base, "power"))
    assert said == "; ".join(f"Mine lacks {what}" for what in lacks)


def test_stages_that_are_no_property_are_told() -> None:
    base = type("Base", (StagedNetwork,), {"predicting_stages": lambda self: (1,), "stages": lambda self, *image: []})
    assert refused("mine", made(base)) == "Mine lacks predicting_stages, a property: write @property above it"
