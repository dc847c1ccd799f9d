"""By whichever door images and limits come to a network, the same are refused, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from anytime_core import inputs
from anytime_core.data.catalog import DATASETS
from anytime_core.data.loader import Normalisation
from anytime_core.model.network import AnytimeResNet
from anytime_core.predictor import AnytimePredictor
from anytime_core.trained import TrainedNetwork
from orchestrator.errors import UsageError
from orchestrator.inference import images, predict
from orchestrator.inference.export import Description, export
from orchestrator.inference.onnx_runner import Network
from orchestrator.tracking.pyfunc import AnytimeModel

DIGITS = DATASETS["digits"]
DIGIT = np.random.default_rng(0).integers(0, 17, (1, 8, 8), dtype=np.uint8)

Door = Callable[..., np.ndarray]
"""Images, and limits, to the probabilities [N,K] of the answer."""


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Door]:
    folder = tmp_path_factory.mktemp("doors")
    mean, std = (torch.full((1, 1, 1, 1), value) for value in (5.0, 6.0))
    network = TrainedNetwork(AnytimeResNet(1, 4, 10, in_channels=1), Normalisation(mean, std), DIGITS.spec).eval()
    described = Description(trial="", label="", dataset="digits", size=8, classes=DIGITS.class_names)
    export(network, described, folder / "network.zip")
    predictor, runner = AnytimePredictor(network), Network(folder / "network.zip", threads=1)

    def command(given: Any, **limits: Any) -> np.ndarray:
        np.save(folder / "image.npy", given)
        read = images.read([folder / "image.npy"], DIGITS)
        found = [predictor.predict(it.pixels, brightest=16, **limits).probabilities for it in read]
        return torch.cat(found).numpy()

    return {
        "command": command,
        "API": lambda given, **limits: predictor.predict(given, **limits).probabilities.numpy(),
        "tensor": lambda given, **limits: predictor.predict(torch.tensor(given), **limits).probabilities.numpy(),
        "exported": lambda given, **limits: runner.predict(given, **limits).probabilities,
        "MLflow": lambda given, **limits: AnytimeModel(predictor).predict(given, limits),
    }


REFUSED = {
    "fractions": DIGIT.astype(np.float32) / 16,
    "bytes": DIGIT * 15,
    "negative": -DIGIT.astype(np.int16),
    "NaN": np.full((1, 8, 8), np.nan, np.float32),
    "none": np.zeros((0, 1, 8, 8), np.uint8),
    "bool": DIGIT > 8,
    "complex": DIGIT.astype(complex),
    "a side less": DIGIT[:, 1:],
    "a channel more": np.concatenate([DIGIT, DIGIT]),
    "flat": DIGIT.flatten(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_door_refuses_the_same_images_in_the_same_words(doors, name) -> None:
    said = {}
    for door, call in doors.items():
        with pytest.raises((ValueError, UsageError)) as raised:
            call(REFUSED[name])
        said[door] = str(raised.value)
    said["command"] = said["command"].partition(".npy: ")[2]
    assert len(set(said.values())) == 1, said
    assert "must be numbers [N,1,8,8], [1,8,8] or [8,8] from 0 to 16" in said["API"]


@pytest.mark.parametrize("kind", ["u1", "<i8", ">f4", "<f2", "g"])
@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 8, 8), (8, 8)])
def test_every_door_gives_the_same_images_the_same_answer(doors, kind, shape) -> None:
    given = DIGIT.reshape(shape).astype(kind)
    expected = doors["API"](DIGIT)
    for door, call in doors.items():
        if door != "tensor" or kind not in (">f4", "g"):  # which torch does not have
            np.testing.assert_allclose(call(given), expected, rtol=1e-3, atol=1e-5, err_msg=door)


def test_in_a_large_set_some_images_may_be_dark(doors) -> None:
    """MLflow's model looks at all of them before it goes on in batches."""
    many = np.repeat(DIGIT[None].astype(np.float32), 501, 0)
    many[500] /= 16
    np.testing.assert_allclose(doors["MLflow"](many), doors["API"](many), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"deadline": 0}, "deadline is 0, must be a positive number of seconds"),
        ({"deadline": float("nan")}, "deadline is nan, must be a positive number of seconds"),
        ({"confidence": 90}, "confidence is 90, must be above 0 and at most 1"),
        ({"confidence": float("nan")}, "confidence is nan, must be above 0 and at most 1"),
        ({"budget": -1, "confidence": 0}, "budget is -1, must be a positive number; confidence is 0, must be above"),
    ],
)
def test_every_door_refuses_the_same_limits_in_the_same_words(doors, limits, words) -> None:
    for door in ("API", "tensor", "exported"):
        with pytest.raises(ValueError, match=words):
            doors[door](DIGIT, **limits)
    if "deadline" not in limits:
        with pytest.raises(UsageError, match=words):
            predict.Limits.of(None, limits.get("budget"), limits.get("confidence"))


def test_every_door_that_takes_a_threshold_refuses_the_same_ones_and_leaves_at_the_same(doors) -> None:
    for door in ("API", "tensor", "exported"):
        with pytest.raises(ValueError, match="threshold is -1, must be a number of 0 or more"):
            doors[door](DIGIT, threshold=-1)
    for threshold in (0, 0.1, 0.5, 1, 1.0009765625):
        expected = doors["API"](DIGIT, threshold=threshold)
        for door in ("tensor", "exported"):
            np.testing.assert_allclose(doors[door](DIGIT, threshold=threshold), expected, rtol=1e-3, atol=1e-5)


def test_there_is_one_copy_of_the_checks(tmp_path: Path) -> None:
    mean, std = (torch.full((1, 1, 1, 1), value) for value in (5.0, 6.0))
    network = TrainedNetwork(AnytimeResNet(1, 2, 10, in_channels=1), Normalisation(mean, std), DIGITS.spec).eval()
    described = Description(trial="", label="", dataset="digits", size=8, classes=DIGITS.class_names)
    export(network, described, tmp_path / "network.zip")
    with ZipFile(tmp_path / "network.zip") as archive:
        assert archive.read("anytime_inputs.py") == Path(inputs.__file__).read_bytes()
        assert b"anytime_core.inputs import" not in archive.read("anytime_runner.py")
