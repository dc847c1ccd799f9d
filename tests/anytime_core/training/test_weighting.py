"""The loss weights of section 3.2 and 4.3, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from anytime_core.training.weighting import WEIGHTINGS, is_known, loss_weights

NAMES = [*WEIGHTINGS, "opt", "opt(1)"]


def test_the_sieve_of_figure_2f() -> None:
    assert loss_weights("sieve", 15) == [2, 1, 3, 1, 2, 1, 4, 1, 2, 1, 3, 1, 2, 1, 25]


@pytest.mark.parametrize("size", [2, 3, 9, 21, 25, 27, 39, 51, 75])
def test_the_sieve_counts_how_often_two_divides_the_distance_to_the_end(size) -> None:
    others = []
    for i in range(1, size):
        powers = [t for t in range(10) if (size - i) % 2**t == 0]
        others.append(1 + max(powers))
    assert loss_weights("sieve", size) == [*others, sum(others)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("linear", [4 / 16, 7 / 16, 10 / 16, 13 / 16, 1]),
        ("expb2", [2, 4, 8, 16, 32]),
        ("expb0.5", [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32]),
        ("half_end", [1, 1, 1, 1, 4]),
        ("sieve", [3, 1, 2, 1, 7]),
        ("opt", [0, 0, 0, 0, 1]),
        ("opt(2)", [0, 1, 0, 0, 0]),
        ("opt(5)", [0, 0, 0, 0, 1]),
    ],
)
def test_five_weights_of_every_name(name, expected) -> None:
    assert loss_weights(name, 5) == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 2, 15, 75])
def test_normalised_weights_sum_to_one_and_keep_their_proportions(name, size) -> None:
    plain, scaled = loss_weights(name, size), loss_weights(name, size, "sum_to_one")
    assert math.fsum(scaled) == pytest.approx(1, abs=1e-14)
    assert scaled == pytest.approx([weight / math.fsum(plain) for weight in plain], rel=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_prediction_has_all_of_the_weight(name) -> None:
    assert loss_weights(name, 1, "sum_to_one") == [1]


@pytest.mark.parametrize(
    ("name", "size", "total"),
    [
        ("constant", 15, 15),
        ("linear", 15, 0.625 * 15),
        ("half_end", 15, 2),
        ("sieve", 2, 1),
        ("sieve", 15, 4),
        ("sieve", 16, 4),
        ("sieve", 17, 5),
        ("sieve", 75, 7),
        ("opt(3)", 15, 1),
    ],
)
def test_published_totals(name, size, total) -> None:
    plain, scaled = loss_weights(name, size), loss_weights(name, size, "as_published")
    assert math.fsum(scaled) == pytest.approx(total, rel=1e-13)
    assert scaled == pytest.approx([weight * total / math.fsum(plain) for weight in plain], rel=1e-13)


@pytest.mark.parametrize("name", ["expb2", "expb0.5"])
def test_where_no_total_is_published_the_formula_stays(name) -> None:
    assert loss_weights(name, 15, "as_published") == loss_weights(name, 15)


@pytest.mark.parametrize("name", ["seive", "opt()", "opt(-1)", "opt(1", "xopt(1)", "Sieve", ""])
def test_an_unknown_name_is_refused_with_all_that_are_allowed(name) -> None:
    with pytest.raises(ValueError, match="unknown weights") as caught:
        loss_weights(name, 15)
    assert repr(name) in str(caught.value)
    assert all(allowed in str(caught.value) for allowed in [*WEIGHTINGS, "opt(k)"])
    assert not is_known(name)


@pytest.mark.parametrize("name", [*NAMES, "opt(99)"])
def test_known_names(name) -> None:
    assert is_known(name)


@pytest.mark.parametrize("position", [0, 6])
def test_a_position_outside_of_the_network_is_refused(position) -> None:
    with pytest.raises(ValueError, match=rf"opt\({position}\): there are only predictions 1 to 5"):
        loss_weights(f"opt({position})", 5)


def test_an_unknown_scale_is_refused_with_all_that_are_allowed() -> None:
    with pytest.raises(ValueError, match=r"'sum'; allowed: sum_to_one, as_published, none"):
        loss_weights("sieve", 15, "sum")


def test_no_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match="num_predictions is 0, must be at least 1"):
        loss_weights("sieve", 0)
