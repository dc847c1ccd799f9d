"""Runs an exported network, which answers whenever it is interrupted. It needs numpy and onnxruntime alone, and lies in
the exported file itself:

::

    python network.zip --deadline 5ms image.npy      # or --budget 0.5, --confidence 0.9, --risk 2%

    sys.path.insert(0, "network.zip")
    from anytime_runner import Network
    for prediction in Network("network.zip").refine(images, deadline=0.005):    # seconds
        print(prediction.probabilities)

With ``--risk`` it stops at a threshold that ``orchestrate calibrate`` found, which ``Network.guarantee`` gives.

The file is a zip archive: ``manifest.json``, and an .onnx file for each stage of the network below ``stages``, which
run one after the other. The first takes ``pixels`` float32 [N,C,S,S] as the data set has them, such as 0 to 255, and
normalises them; each other takes the ``features`` that the one before gives as ``next``; where these are several, the
second is ``features_1`` and ``next_1``, and so on. A stage that predicts gives ``probabilities`` [N,K].

Shapes: N images, C channels, S x S pixels, K classes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

# `export` packs that module beside this one and changes this line (export.INPUTS).
from anytime_core.inputs import (
    FEATURES,
    LOST,
    NEXT,
    PIXELS,
    PROBABILITIES,
    ImageSpec,
    affordable,
    check_asked,
    check_limits,
    cut_short,
    guarantee_of,
    late,
    limits_of,
    read_array,
    share,
    sure_enough,
)

MANIFEST = "manifest.json"
VERSION = 1
MANY = 2
"""The version of files in which a stage may give the next more than one array."""


@dataclass(frozen=True)
class Prediction:
    """``index`` counts the predictions from 0, ``unit`` the units from 1. ``cost`` are the multiply-adds of one image
    up to and including it, ``seconds`` those since the call; ``probabilities`` are float32 [N,K]."""

    index: int
    unit: int
    cost: int
    seconds: float
    probabilities: np.ndarray

    @property
    def classes(self) -> np.ndarray:
        """The most likely class of each image, [N]."""
        likeliest: np.ndarray = self.probabilities.argmax(1)
        return likeliest

    @property
    def confidence(self) -> float:
        """The probability of the most likely class; of several images, the least of theirs."""
        return float(self.probabilities.max(1).min())


class Network:
    """``manifest`` says what the network is: its data set, the names of its ``classes``, and its ``stages``."""

    def __init__(
        self, path: Path | str, *, threads: int = 0, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> None:
        """``threads`` of 0 are as many as there are cores. It runs once here, as the first call takes longest. Raises
        ValueError for a file of another kind."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.manifest, models = _contents(Path(path))
        self._sessions = [onnxruntime.InferenceSession(it, options, providers=list(providers)) for it in models]
        self.costs = [stage["cost"] for stage in self.manifest["stages"] if stage["cost"] is not None]
        # Older files do not say how bright pixels may be.
        self.spec = ImageSpec(self.manifest["channels"], self.manifest["size"], self.manifest.get("brightest"))
        self.predict(np.zeros((self.spec.channels, self.manifest["size"], self.manifest["size"]), np.float32))

    def guarantee(self, risk: float, delta: float | None = None, loss: str = LOST) -> Mapping[str, Any]:
        """The guarantee of these words: its ``threshold`` is one for ``refine``, given images one by one; its
        ``sentence`` says what it means. Raises ValueError where the file holds none."""
        try:
            return guarantee_of(self.manifest.get("guarantees", []), risk, delta, loss)
        except ValueError as error:
            raise ValueError(
                f"{error}; `orchestrate calibrate` finds one, then `orchestrate export` packs it"
            ) from error

    def predict(self, images: np.ndarray, **limits: Any) -> Prediction | None:
        """The latest prediction when the first of the limits of ``refine`` is reached; None before the first one."""
        answer = None
        for answer in self.refine(images, **limits):  # noqa: B007
            pass
        return answer

    def refine(
        self,
        images: np.ndarray,
        *,
        deadline: float | None = None,
        budget: float | None = None,
        confidence: float | None = None,
        threshold: float | None = None,
        stop: Event | None = None,
        brightest: float | None = None,
    ) -> Iterator[Prediction]:
        """The predictions one by one. ``images`` are pixels [N,C,S,S], or one as [C,S,S], or [S,S] of one channel, as
        the data set has them, in any type of number; with ``brightest``, pixels from 0 to that are scaled to those.

        No other unit begins once ``deadline`` seconds have passed since this call, the next prediction would cost more
        than ``budget`` (up to 1 a part of the cost of all, above that multiply-adds of one image), in all images some
        class has at least the probability ``confidence``, or rounded to float16 the ``threshold``, or another thread
        has set ``stop``. Any number of threads may call at once. Raises ValueError for other images, and for limits out
        of range.
        """
        started = time.perf_counter()
        check_limits(deadline, budget, confidence, threshold)
        batch = self.spec.batch(images, brightest=brightest)
        end = math.inf if deadline is None else started + deadline
        last = len(self.costs) - 1 if budget is None else affordable(self.costs, budget)
        return self._answers(batch, started, end, last, stop, confidence=confidence, threshold=threshold)

    def _answers(
        self, batch: np.ndarray, started: float, end: float, last: int, stop: Event | None, **sure: float | None
    ) -> Iterator[Prediction]:
        index = 0
        feed = {PIXELS: np.ascontiguousarray(batch, np.float32)}
        for stage, session in zip(self.manifest["stages"], self._sessions, strict=True):
            if last < index or time.perf_counter() >= end or (stop is not None and stop.is_set()):
                return
            names = [output.name for output in session.get_outputs()]
            outputs = dict(zip(names, session.run(names, feed), strict=True))
            feed = {FEATURES + name.removeprefix(NEXT): it for name, it in outputs.items() if name.startswith(NEXT)}
            if PROBABILITIES in outputs:
                answer = Prediction(
                    index, stage["unit"], stage["cost"], time.perf_counter() - started, outputs[PROBABILITIES]
                )
                yield answer
                if sure_enough(answer.confidence, **sure):
                    return
                index += 1


def _contents(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """The manifest and the stages of an exported file. Raises ValueError for a damaged one, and for one whose parts
    would take more room than it does itself."""
    try:
        with ZipFile(path) as archive:
            if sum(it.file_size for it in archive.infolist()) > path.stat().st_size:
                raise ValueError("its parts are larger than it is itself")
            manifest = json.loads(archive.read(MANIFEST))
            if manifest["version"] not in (VERSION, MANY):
                raise ValueError(f"version is {manifest['version']}, must be {VERSION} or {MANY}")
            names = [stage["file"] for stage in manifest["stages"]]
            if len(set(names)) < len(names):
                raise ValueError("a part is two stages")
            return manifest, [archive.read(name) for name in names]
    except (BadZipFile, LookupError, NotImplementedError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: is no exported network, or a damaged one: {error}") from error


def main() -> None:
    parser = _parser()
    given, network = parser.parse_args(), Network(Path(__file__).parent)
    parts: dict[str, Callable[[], Any]] = {
        "limits": lambda: limits_of(given.deadline, given.budget, given.confidence),
        "guarantee": lambda: _guarantee(network, given),
        "images": lambda: _images(network, given),
    }
    found, faults = {}, []
    for name, read in parts.items():
        try:
            found[name] = read()
        except ValueError as error:
            faults.append(str(error))
    if faults:
        parser.error("\n".join(faults))
    if found["guarantee"] is None:
        _answer(network, found["images"], found["limits"])
    else:
        _answer_each(network, **found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Classes of images, as the network refines its answer.")
    parser.add_argument("images", type=Path, metavar="IMAGES.npy", help="pixels [N,C,S,S], as the data set has them")
    parser.add_argument("--deadline", metavar="TIME", help="such as 5ms or 0.05s")
    parser.add_argument("--budget", type=float, metavar="COST", help="a part of the whole up to 1, or multiply-adds")
    parser.add_argument("--confidence", type=float, metavar="P", help="from 0 to 1")
    parser.add_argument("--risk", metavar="SHARE", help="stop as the guarantee of this risk says, such as 2%% or 0.02")
    parser.add_argument("--delta", metavar="SHARE", help="of that guarantee, such as 10%%; without: on average")
    parser.add_argument("--loss", metavar="NAME", help=f"of that guarantee; without: {LOST}")
    parser.add_argument("--brightest", type=float, metavar="WHITE", help="white in IMAGES.npy, such as 1 or 255")
    return parser


def _images(network: Network, given: argparse.Namespace) -> np.ndarray:
    """[N,C,S,S], checked and scaled. Raises ValueError."""
    try:
        return network.spec.batch(read_array(given.images), brightest=given.brightest)
    except (OSError, ValueError) as error:
        raise ValueError(f"{given.images}: {getattr(error, 'strerror', None) or error}") from error


def _guarantee(network: Network, given: argparse.Namespace) -> Mapping[str, Any] | None:
    """The one that is asked for. Raises ValueError."""
    check_asked(given.risk, given.delta, given.loss, given.confidence)
    if given.risk is None:
        return None
    delta = None if given.delta is None else share("delta", given.delta)
    return network.guarantee(share("risk", given.risk), delta, given.loss or LOST)


def _answer_each(network: Network, images: np.ndarray, limits: dict[str, Any], guarantee: Mapping[str, Any]) -> None:
    """Answers images one by one: all together would leave when the last of them is sure enough, and a guarantee says
    nothing of that."""
    print(guarantee["sentence"])
    if note := cut_short(limits["deadline"], limits["budget"]):
        print(f"note: {note}")
    for number, image in enumerate(images):
        if len(images) > 1:
            print(f"image {number}:")
        _answer(network, image[None], limits | {"threshold": guarantee["threshold"]})


def _answer(network: Network, images: np.ndarray, limits: dict[str, Any]) -> None:
    """Prints each prediction. ``images`` [N,C,S,S] must have been checked and scaled."""
    brightest = network.spec.brightest
    network.predict(images, brightest=brightest)  # the first call with so many images takes longest
    started = time.perf_counter()
    answers = list(network.refine(images, brightest=brightest, **limits))
    for answer in answers:
        names = ", ".join(network.manifest["classes"][index] for index in answer.classes)
        missed = late(answer.seconds, limits["deadline"])
        print(
            f"{answer.seconds * 1000:9.3f} ms  {answer.cost:>12,} multiply-adds  {names}  {answer.confidence:.2f}"
            + (f"  {missed}" if missed else "")
        )
    if not answers:
        sys.exit(f"interrupted before the first prediction, after {1000 * (time.perf_counter() - started):.1f} ms")


if __name__ == "__main__":
    main()
