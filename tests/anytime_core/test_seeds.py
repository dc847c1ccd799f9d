"""A draw has one name, whoever draws it."""

from __future__ import annotations

from hashlib import blake2b

from anytime_core.randomness import generator
from anytime_core.seeds import named_seed


def test_a_name_is_the_hash_of_the_seed_and_the_purpose() -> None:
    """What trials have drawn before depends on it."""
    text = repr((3, "order", 7)).encode()
    assert named_seed(3, "order", 7, size=4) == int.from_bytes(blake2b(text, digest_size=4).digest(), "big")
    assert generator(3, "order", 7).initial_seed() == named_seed(3, "order", 7, size=4)


def test_seeds_and_purposes_have_names_of_their_own() -> None:
    names = {named_seed(seed, *purpose) for seed in range(10) for purpose in (("a",), ("b",), ("a", 1), ("a", "1"))}
    assert len(names) == 40
