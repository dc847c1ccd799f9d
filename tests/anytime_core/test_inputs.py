"""What may be asked of a network: images as its data set has them, and limits; all else is refused, in one message."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from anytime_core.inputs import (
    ImageSpec,
    affordable,
    as_options,
    check_asked,
    check_limits,
    cut_short,
    guarantee_of,
    late,
    limits_of,
    percent,
    read_array,
    rounded,
    seconds,
    seconds_late,
    share,
    sure_enough,
)

DIGITS = ImageSpec(1, 8, 16)
ALLOWED = "must be numbers [N,1,8,8], [1,8,8] or [8,8] from 0 to 16"
DRAWN = np.random.default_rng(0).integers(0, 17, (2, 1, 8, 8))


def refused(spec: ImageSpec, images: object, **options: float) -> str:
    with pytest.raises(ValueError, match="must be") as raised:
        spec.batch(images, **options)
    return str(raised.value)


# Images


@pytest.mark.parametrize("kind", ["u1", "i1", "<i8", ">u2", "<f2", ">f4", ">f8", "g", "<u8"])
def test_pixels_of_any_type_and_byte_order_are_the_same_pixels(kind) -> None:
    for given, expected in ((DRAWN, DRAWN), (DRAWN[0], DRAWN[:1]), (DRAWN[1, 0], DRAWN[1:])):
        found = DIGITS.batch(given.astype(kind))
        assert np.array_equal(found, expected)
        assert found.dtype.isnative
        assert found.dtype in (np.uint8, np.float16, np.float32, np.float64)


@pytest.mark.skipif(np.finfo(np.longdouble).eps == np.finfo(np.float64).eps, reason="long double is double here")
def test_a_long_double_that_is_no_double_is_refused_by_name() -> None:
    kind = np.dtype(np.longdouble)
    exact = np.full((8, 8), 3.5, kind)
    assert np.array_equal(DIGITS.batch(exact)[0, 0], exact)
    assert refused(DIGITS, exact + np.longdouble(2) ** -60).startswith(
        f"images are {kind} with values that float64 can"
    )


@pytest.mark.parametrize(
    ("images", "given"),
    [
        (np.zeros((3, 8, 8)), "float64 [3, 8, 8] from 0 to 0"),
        (np.zeros((1, 8, 9), np.uint8), "uint8 [1, 8, 9] from 0 to 0"),
        (np.zeros((1, 1, 1, 8, 8), np.uint8), "uint8 [1, 1, 1, 8, 8] from 0 to 0"),
        (np.zeros((0, 1, 8, 8), np.uint8), "uint8 [0, 1, 8, 8] without any value"),
        (np.full((8, 8), -3, np.int16), "int16 [8, 8] from -3 to -3"),
        (np.full((8, 8), math.nan), "float64 [8, 8] with NaN or infinity among them"),
        (np.full((8, 8), math.inf, np.float32), "float32 [8, 8] with NaN or infinity among them"),
        (np.zeros((8, 8), bool), "bool [8, 8]"),
        (np.zeros((8, 8), complex), "complex128 [8, 8]"),
        (np.array([None]), "object [1]"),
        ("4", "<U1 []"),
        ([[1], [2, 3]], "of several shapes"),
    ],
)
def test_what_are_no_images_is_told_with_what_is_given_and_what_is_allowed(images, given) -> None:
    assert refused(DIGITS, images) == f"images are {given}, {ALLOWED}"


def test_all_that_is_wrong_with_images_is_told_at_once() -> None:
    words = refused(ImageSpec(3, 32, 255), np.full((32, 32, 3), -0.5, np.float32))
    assert (
        words
        == "images are float32 [32, 32, 3] from -0.5 to -0.5, must be numbers [N,3,32,32] or [3,32,32] from 0 to 255"
    )


@pytest.mark.parametrize("white", [17, 255, 16.0000001])
def test_values_above_the_brightest_are_refused_unless_their_white_is_given(white) -> None:
    given = DRAWN / 16 * white
    words = refused(DIGITS, given)
    assert f"from 0 to {white}, {ALLOWED}; brightest, such as {white}, says what their white is" in words
    scaled = DIGITS.batch(given, brightest=white)
    assert scaled == pytest.approx(DRAWN, abs=1e-5)
    assert scaled.max() <= 16


@pytest.mark.parametrize("brightest", [16, 255])
def test_fractions_up_to_one_look_scaled_and_are_refused_unless_their_white_is_given(brightest) -> None:
    spec, fractions = ImageSpec(1, 8, brightest), DRAWN / 16
    words = refused(spec, fractions)
    assert words.endswith(f"if their white is 1, give brightest 1; if they are that dark, brightest {brightest}")
    assert spec.batch(fractions, brightest=1) == pytest.approx(DRAWN / 16 * brightest)
    assert np.array_equal(spec.batch(fractions, brightest=brightest), fractions)
    assert np.array_equal(spec.batch((DRAWN > 8).astype(np.uint8)), DRAWN > 8)  # bytes can be that dark
    assert not spec.batch(np.zeros((8, 8))).any()


def test_of_an_unknown_data_set_pixels_have_no_end_and_cannot_be_scaled() -> None:
    spec = ImageSpec(3)
    assert spec.batch(np.full((3, 5, 5), 1e6)).shape == (1, 3, 5, 5)
    assert spec.batch(np.full((3, 5, 5), 0.5)).max() == 0.5
    assert refused(spec, np.full((3, 5, 5), -1)).endswith("must be numbers [N,3,S,S] or [3,S,S] of 0 or more")
    assert refused(spec, np.zeros((3, 5, 5)), brightest=1).startswith("brightest is 1, must be left out")


@pytest.mark.parametrize("brightest", [0, -1, math.nan, math.inf, "255", True])
def test_a_white_that_is_none_is_refused(brightest) -> None:
    assert refused(DIGITS, DRAWN, brightest=brightest) == f"brightest is {brightest!r}, must be a positive number"


# Files


def test_the_array_of_a_file_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", DRAWN)
    assert np.array_equal(read_array(tmp_path / "a.npy"), DRAWN)


def test_what_is_no_array_of_numbers_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    np.savez(tmp_path / "archive.npz", a=DRAWN)
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.npy").write_text("no array")
    for name, given in (
        ("objects.npy", "holds objects"),
        ("archive.npz", "is an archive, such as an .npz"),
        ("empty.npy", "is an empty file"),
        ("text.npy", "is no .npy file"),
    ):
        with pytest.raises(ValueError, match=f"^{given}, must be an .npy file with one array of numbers$"):
            read_array(tmp_path / name)
    assert zipfile.is_zipfile(tmp_path / "archive.npz")
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "absent.npy")


def test_a_damaged_file_is_a_damaged_file_wherever_the_damage_is(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", DRAWN)
    whole, draws = (tmp_path / "a.npy").read_bytes(), np.random.default_rng(0)
    damaged = [whole[:length] for length in range(0, len(whole), 7)]
    for _ in range(200):
        content = bytearray(whole)
        content[draws.integers(6, 128)] = draws.integers(0, 256)  # of the header
        damaged.append(bytes(content))
    huge = whole.replace(b"(2, 1, 8, 8), }", b"(2, 1, 8, 8000000000000), }")
    for content in (*damaged, huge):
        (tmp_path / "b.npy").write_bytes(content)
        try:
            read_array(tmp_path / "b.npy")
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert ", must be a" in str(error)  # noqa: PT017


# Limits


@pytest.mark.parametrize(
    ("text", "expected"), [("5ms", 0.005), ("0.1s", 0.1), ("250us", 0.00025), (" 2 s ", 2), (".5ms", 0.0005)]
)
def test_a_deadline_is_a_number_and_a_unit(text, expected) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["5", "0", "nan", "ms", "-5ms", "0ms", "5 minutes", "1e3ms", "infs", ""])
def test_a_deadline_without_one_is_refused(text) -> None:
    with pytest.raises(ValueError, match=rf"deadline is '{text}', must be a time such as 5ms, 0\.1s or 250us"):
        seconds(text)


def test_every_limit_that_cannot_be_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="must be") as raised:
        limits_of("5", math.nan, 90.0)
    assert str(raised.value).split("; ") == [
        "deadline is '5', must be a time such as 5ms, 0.1s or 250us",
        "budget is nan, must be a positive number",
        "confidence is 90.0, must be above 0 and at most 1",
    ]
    with pytest.raises(ValueError, match="must be") as raised:
        check_limits(0, -1, math.nan, -0.5)
    assert str(raised.value).split("; ") == [
        "deadline is 0, must be a positive number of seconds",
        "budget is -1, must be a positive number",
        "confidence is nan, must be above 0 and at most 1",
        "threshold is -0.5, must be a number of 0 or more",
    ]


def test_limits_that_can_be_are_kept() -> None:
    assert limits_of("5ms", 0.5, 1.0) == {"deadline": 0.005, "budget": 0.5, "confidence": 1.0}
    assert limits_of(None, None, None) == dict.fromkeys(("deadline", "budget", "confidence"))
    check_limits(np.float32(0.5), np.int64(7), np.float32(0.5))
    check_limits(None, None, None, 0)
    check_limits(None, None, None, 1.0009765625)


def test_a_budget_affords_what_costs_no_more() -> None:
    assert [affordable([10, 20, 40], budget) for budget in (0.1, 9, 0.25, 10, 0.5, 39, 1, 40, 1000)] == [
        *(-1, -1, 0, 0, 1, 1, 2, 2, 2),
    ]


def test_an_answer_after_its_deadline_says_by_how_much() -> None:
    assert late(0.0123, 0.005) == "7.3 ms after the deadline"
    assert seconds_late(0.0123, 0.005) == pytest.approx(0.0073)
    assert [late(0.004, 0.005), late(9.0, None)] == ["", ""]
    assert [seconds_late(0.004, 0.005), seconds_late(9.0, None)] == [0, 0]


# Guarantees


def test_an_image_leaves_by_its_probability_as_it_is_or_as_outcomes_round_it() -> None:
    half_a_step_below = 0.9 - 2.0**-13  # float16 has 2^-11 between numbers from 0.5 to 1
    threshold = float(np.float16(0.9))
    assert float(rounded(half_a_step_below)) == threshold > half_a_step_below
    assert sure_enough(half_a_step_below, None, threshold)
    assert not sure_enough(half_a_step_below, threshold, None)
    assert sure_enough(0.9, 0.9, None)
    assert not sure_enough(1.0, None, None)
    assert not sure_enough(1.0, None, 1.0009765625)


def test_probabilities_are_rounded_to_float32_first() -> None:
    """Just below the middle of two numbers of float16 float32 has the middle itself, and then the even one is taken."""
    middle = 1 - 2.0**-12
    assert rounded(middle * (1 - 1e-12)) == np.float16(1)
    assert np.float16(middle * (1 - 1e-12)) == np.float16(1 - 2.0**-11)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2%", 0.02), ("0.02", 0.02), (" 2.5 % ", 0.025), ("0.3%", 0.003), (".5", 0.5), ("1.1%", 0.011)],
)
def test_a_share_is_a_percentage_or_a_fraction(text, expected) -> None:
    assert share("risk", text) == expected
    assert share("risk", percent(expected)) == expected


@pytest.mark.parametrize(
    "text", ["0", "0%", "2", "1", "150%", "100%", "-2%", "nan", "", "%", "2 percent", "1e-400", "1e-2"]
)
def test_what_is_no_share_is_refused(text) -> None:
    with pytest.raises(ValueError, match=rf"risk is '{text}', must be above 0% and below 100%, such as 2% or 0\.02"):
        share("risk", text)


KEPT = [
    {"risk": 0.02, "delta": None, "loss": "lost"},
    {"risk": 0.02, "delta": 0.1, "loss": "lost"},
    {"risk": 0.003, "delta": None, "loss": "error"},
]


def test_a_guarantee_is_found_by_the_words_that_made_it() -> None:
    assert [as_options(it) for it in KEPT] == ["--risk 2%", "--risk 2% --delta 10%", "--risk 0.3% --loss error"]
    assert [guarantee_of(KEPT, *it.values()) for it in KEPT] == KEPT
    with pytest.raises(ValueError, match=r"no threshold is kept for --risk 0\.3%; kept: --risk 2%, --risk 2% --delta"):
        guarantee_of(KEPT, 0.003)
    with pytest.raises(ValueError, match="no threshold is kept for --risk 2%; kept: none"):
        guarantee_of([], 0.02)


def test_words_that_do_not_go_together_are_told_at_once() -> None:
    check_asked(None, None, None, 0.9)
    check_asked("2%", "10%", "lost")
    with pytest.raises(ValueError, match=r"^--delta and --loss must come with --risk$"):
        check_asked(None, "10%", "lost")
    with pytest.raises(ValueError, match=r"^--risk and --confidence each say when to stop; leave out one of them$"):
        check_asked("2%", None, None, 0.9)


def test_limits_that_undo_a_guarantee_are_named() -> None:
    assert cut_short(None, None) == ""
    assert cut_short(0.005, None).startswith("--deadline may end an answer before")
    assert cut_short(0.005, 0.5).startswith("--deadline and --budget may end")
