"""What a user can do with the networks that a sweep has trained: predict, profile, choose, export."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from anytime_core.config import NetworkConfig, Transition
from anytime_core.cost import costs_at, trial_costs
from anytime_core.data.cache import load as load_images
from anytime_core.data.catalog import DATASETS
from anytime_core.data.loader import Normalisation
from anytime_core.errors import TooEarlyError
from anytime_core.model.network import AnytimeResNet
from anytime_core.predictor import AnytimePredictor, ExponentialSequence
from anytime_core.trained import TrainedNetwork, load_network
from orchestrator.analysis.sequences import member
from orchestrator.cli import cli
from orchestrator.errors import UsageError
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.inference import images, lookup, predict
from orchestrator.inference.onnx_runner import Network
from orchestrator.ledger.ledger import Ledger
from orchestrator.stats.eann import Member, error_at, sequence_curve
from orchestrator.sweep.grid import Sweep
from orchestrator.sweepfile.load import load

TEXT = """
name: growing
networks: [{n: 1, c: 2}, {n: 2, c: 2}]
datasets: [digits]
methods: {ann: {strategy: ann}, opt: {regime: opt, at: [1]}}
training: {steps: 22, batch_size: 64, learning_rate: {0: 0.1}}
report: {baseline: ann}
"""


ALLOWED = "must be numbers [N,1,8,8], [1,8,8] or [8,8] from 0 to 16"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sweep, Ledger]:
    """The file of a sweep, and the ledger that has trained it."""
    folder = tmp_path_factory.mktemp("growing")
    path = folder / "growing.yaml"
    path.write_text(TEXT)
    sweep, ledger = load(path), Ledger(folder / "runs")
    ledger.make()
    where = WorkerContext(storage=ledger.storage, data_root=folder, check_md5=True, code_version="test")
    for trial in sweep.trials:
        assert run_trial(trial, where, lambda epochs: None).error is None
    return path, sweep, ledger


@pytest.fixture
def run(growing, capsys, monkeypatch, tmp_path):
    """A command beside the sweep; what it prints."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        cli.main([*arguments, "--storage", str(growing[2].storage)], standalone_mode=False)
        return capsys.readouterr().out

    return call


@pytest.fixture
def image(tmp_path) -> Path:
    np.save(tmp_path / "digit.npy", load_images("digits", None).test_images[3])
    return tmp_path / "digit.npy"


def trial_of(sweep: Sweep, words: str) -> Any:
    return next(trial for trial in sweep.trials if words in trial.cell.label)


# Finding networks


def test_a_network_is_found_by_a_cell_an_id_its_first_digits_or_a_run(growing) -> None:
    path, sweep, ledger = growing
    trial = trial_of(sweep, "ann (2,2)")
    ways = [[str(path), "ann", "2,2"], [str(path), trial.id[:6]], [trial.id], [trial.id[:8].upper()]]
    found = [lookup.find(words, ledger) for words in ways]
    found.append(lookup.find(["0" * 32], ledger, trial_of={"0" * 32: trial.id}.__getitem__))
    for (one,) in found:
        assert (one.trial_id, one.label, one.config) == (trial.id, "ann (2,2) digits seed 0", trial.config)


def test_several_ids_or_a_cell_of_several_depths_are_a_sequence(growing) -> None:
    path, sweep, ledger = growing
    deep, shallow = (trial_of(sweep, f"ann ({n},2)") for n in (2, 1))
    for words in ([deep.id, shallow.id], [str(path), "ann", "digits"]):
        found = lookup.find(words, ledger, sequence=len(words) == 3)
        assert [it.trial_id for it in found] == [shallow.id, deep.id]


def test_what_is_no_network_or_has_not_finished_is_told(growing, load_text, ledger) -> None:
    path, sweep, own = growing
    trial = trial_of(sweep, "ann (2,2)")
    for words, message in (
        (["ffff0000"], r"'ffff0000' is no trial; allowed: an id in .*, or SWEEP.yaml and the words of a cell"),
        ([str(path), "exp3"], "no cell is 'exp3'"),
        ([], "no network is given"),
        ([trial.id, trial.id], r"networks of a sequence must differ in depth:\n  ann \(2,2\) digits seed 0, 6 units"),
    ):
        with pytest.raises(UsageError, match=message):
            lookup.find(words, own)
    with pytest.raises(UsageError, match=r"ann \(2,2\) digits seed 0 has not finished: it is pending"):
        lookup.find([str(path), "ann", "2,2"], ledger)
    with pytest.raises(UsageError, match="must be one network of each depth of one sequence"):
        lookup.find([str(path), "ann", "2,2"], own, sequence=True)


# Reading images


def test_pixels_come_as_the_data_set_has_them(tmp_path) -> None:
    spec, pixels = DATASETS["digits"], load_images("digits", None).test_images[:2]
    np.save(tmp_path / "two.npy", pixels)
    np.save(tmp_path / "flat.npy", pixels[0, 0])
    found = images.read([tmp_path / "two.npy", tmp_path / "flat.npy"], spec)
    assert [it.name for it in found] == [f"{tmp_path}/two.npy[0]", f"{tmp_path}/two.npy[1]", f"{tmp_path}/flat.npy"]
    for it, expected in zip(found, [pixels[0], pixels[1], pixels[0]], strict=True):
        assert np.array_equal(it.pixels, expected)


@pytest.mark.parametrize("name", ["image.png", "IMAGE.PNG"])
def test_a_picture_becomes_grey_or_coloured_and_its_values_those_of_the_data_set(tmp_path, name) -> None:
    grey = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(np.stack([grey] * 3, 2)).save(tmp_path / name)
    (found,) = images.read([tmp_path / name], DATASETS["digits"])
    assert found.pixels == pytest.approx(grey[None] / 255 * 16, abs=1e-5)
    assert found.notes == ("RGB as grey", "values of 0 to 255 as 0 to 16")


def test_a_coloured_picture_keeps_its_bytes(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.png")
    (found,) = images.read([tmp_path / "cat.png"], DATASETS["cifar10"])
    assert np.array_equal(found.pixels, pixels.transpose(2, 0, 1))
    assert (found.pixels.dtype, found.notes) == (np.uint8, ())


def test_every_fault_of_every_image_is_told_at_once(tmp_path) -> None:
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "big.png")
    np.save(tmp_path / "other.npy", np.zeros((3, 8, 8)))
    np.save(tmp_path / "nan.npy", np.full((8, 8), np.nan))
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    (tmp_path / "text.png").write_text("no picture")
    names = ["big.png", "other.npy", "nan.npy", "objects.npy", "text.png", "absent.npy"]
    with pytest.raises(UsageError) as raised:
        images.read([tmp_path / name for name in names], DATASETS["digits"])
    lines = str(raised.value).removeprefix(f"{tmp_path}/").split(f"\n{tmp_path}/")
    expected = [
        "big.png: is 30 x 20 pixels, and those of digits are 8 x 8; --resize makes it fit",
        f"other.npy: images are float64 [3, 8, 8] from 0 to 0, {ALLOWED}",
        f"nan.npy: images are float64 [8, 8] with NaN or infinity among them, {ALLOWED}",
        "objects.npy: holds objects, must be an .npy file with one array of numbers",
        "text.png: is no PNG or JPEG picture",
        "absent.npy: No such file or directory",
    ]
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True)), lines
    (found,) = images.read([tmp_path / "big.png"], DATASETS["digits"], resize=True)
    assert found.pixels.shape == (1, 8, 8)
    assert "30 x 20 pixels resized to 8 x 8" in found.notes


GREY = np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)
"""Whatever is a picture of this must give the same pixels."""


def of_picture(path: Path, **options: Any) -> images.Picture:
    (found,) = images.read([path], DATASETS["digits"], **options)
    return found


def test_a_picture_of_16_bits_is_that_of_8(tmp_path) -> None:
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    found = of_picture(tmp_path / "deep.png")
    assert found.pixels == pytest.approx(GREY[None] / 255 * 16, abs=1e-5)
    assert found.pixels.max() <= 16
    assert found.notes == ("16 bits as 8", "values of 0 to 255 as 0 to 16")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["turned.png", "turned.jpg"])
def test_a_picture_is_turned_as_viewers_turn_it(tmp_path, name, orientation) -> None:
    blocks = np.kron(np.array([[0, 255], [128, 64]], np.uint8), np.ones((4, 4), np.uint8))
    undone = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    undone |= {2: Image.Transpose.FLIP_LEFT_RIGHT, 4: Image.Transpose.FLIP_TOP_BOTTOM}
    undone |= {5: Image.Transpose.TRANSPOSE, 7: Image.Transpose.TRANSVERSE}
    stored, exif = Image.fromarray(blocks), Image.Exif()
    exif[0x0112] = orientation
    stored = stored.transpose(undone[orientation]) if orientation in undone else stored
    stored.save(tmp_path / name, exif=exif, **({"quality": 100} if name.endswith("jpg") else {}))
    found = of_picture(tmp_path / name)
    assert found.pixels == pytest.approx(blocks[None] / 255 * 16, abs=0.5)
    notes = [] if orientation == 1 else [f"turned by its EXIF orientation, {orientation}"]
    assert list(found.notes) == [*notes, "values of 0 to 255 as 0 to 16"]


def transparent(kind: str) -> Image.Image:
    """GREY, in the ways in which a picture can be it on nothing."""
    grey, half = Image.fromarray(GREY), Image.fromarray(np.where(GREY > 99, 255, 0).astype(np.uint8))
    match kind:
        case "white ink":
            return Image.merge("LA", (Image.new("L", (8, 8), 255), grey))
        case "black ink":
            return Image.merge("RGBA", (*[Image.new("L", (8, 8), 0)] * 3, grey))
        case "grey":
            return Image.merge("RGBA", (grey, grey, grey, half))
        case "palette":
            return Image.merge("RGBA", (grey, grey, grey, half)).quantize(16)
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["white ink", "black ink", "grey", "palette", "one value", "one value of 16 bits"])
def test_a_picture_that_is_transparent_in_parts_needs_a_background(tmp_path, kind) -> None:
    path = tmp_path / "clear.png"
    if kind.startswith("one value"):
        deep = GREY.astype(np.uint16) * 257
        clear = (GREY if kind == "one value" else deep)[0, 0].item()
        Image.fromarray(GREY if kind == "one value" else deep).save(path, transparency=clear)
    else:
        transparent(kind).save(path)
    colour = {"white ink": r" and everywhere else \(255, 255, 255\)", "black ink": r" and everywhere else \(0, 0, 0\)"}
    words = (
        rf"clear\.png: is transparent in parts{colour.get(kind, '')}, so what it shows depends on what is behind it; "
    )
    with pytest.raises(UsageError, match=words + "must be opaque: .*give --background black or white"):
        of_picture(path)
    found = of_picture(path, background="white") if kind != "white ink" else of_picture(path, background="black")
    assert any("its transparent parts on" in note for note in found.notes)


def test_on_a_background_a_picture_is_what_is_seen_on_it(tmp_path) -> None:
    path = tmp_path / "clear.png"
    for kind, background, seen in (
        ("white ink", "black", GREY),
        ("black ink", "white", 255 - GREY),
        ("grey", "black", np.where(GREY > 99, GREY, 0)),
        ("grey", "white", np.where(GREY > 99, GREY, 255)),
    ):
        transparent(kind).save(path)
        found = of_picture(path, background=background)
        assert found.pixels == pytest.approx(seen[None] / 255 * 16, abs=0.1)
        assert f"its transparent parts on {background}" in found.notes
    for kind, background in (("white ink", "white"), ("black ink", "black")):
        transparent(kind).save(path)
        with pytest.raises(UsageError, match=f"has only one colour on --background {background}"):
            of_picture(path, background=background)
    Image.new("LA", (8, 8)).save(path)
    with pytest.raises(UsageError, match="is transparent everywhere, must show something"):
        of_picture(path, background="black")


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_a_picture_that_could_be_transparent_and_is_not_is_taken_as_it_is(tmp_path, mode) -> None:
    grey = Image.fromarray(GREY)
    picture = grey.convert(mode)
    picture.save(tmp_path / "opaque.png")
    assert of_picture(tmp_path / "opaque.png").pixels == pytest.approx(GREY[None] / 255 * 16, abs=1e-5)


def test_only_png_and_jpeg_are_opened_whatever_a_file_is_called(tmp_path) -> None:
    """Pillow would start Ghostscript for the first."""
    (tmp_path / "script.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    Image.fromarray(GREY).save(tmp_path / "bitmap.jpg", format="BMP")
    for name in ("script.png", "bitmap.jpg"):
        with pytest.raises(UsageError, match=f"{name}: is no PNG or JPEG picture"):
            of_picture(tmp_path / name)


@pytest.mark.parametrize("side", [9600, 14000])  # Pillow warns of the one and refuses the other
def test_a_picture_of_very_many_pixels_is_refused(tmp_path, side) -> None:
    Image.new("1", (side, side)).save(tmp_path / "huge.png")
    with pytest.raises(UsageError, match=rf"is a picture of {side * side:,} pixels, must have at most 89,478,485"):
        of_picture(tmp_path / "huge.png", resize=True)


@pytest.mark.parametrize("name", ["damaged.png", "damaged.jpg"])
def test_a_damaged_picture_is_told_wherever_the_damage_is(tmp_path, name) -> None:
    exif, draws = Image.Exif(), np.random.default_rng(0)
    exif[0x0112] = 6
    Image.fromarray(GREY).save(tmp_path / name, exif=exif)
    whole = (tmp_path / name).read_bytes()
    for _ in range(200):
        content = bytearray(whole[: draws.integers(1, len(whole) + 1)])
        content[draws.integers(0, len(content))] = draws.integers(0, 256)
        (tmp_path / name).write_bytes(content)
        with suppress(UsageError):
            of_picture(tmp_path / name, resize=True, background="black")


def test_the_first_frame_of_several_is_noted(tmp_path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    found = of_picture(tmp_path / "moving.png")
    assert found.pixels == pytest.approx(GREY[None] / 255 * 16, abs=1e-5)
    assert found.notes[0] == "the first of 2 frames"


# Predicting


def test_predict_shows_the_answer_refining_itself(run, growing, image) -> None:
    path, sweep, ledger = growing
    trial = trial_of(sweep, "ann (2,2)")
    answers = list(AnytimePredictor(load_network(ledger.checkpoints(trial.id))).refine(np.load(image)))
    found = json.loads(run("predict", str(path), "ann", "2,2", str(image), "--format", "json"))
    (told,) = found
    assert told["networks"] == ["ann (2,2) digits seed 0"]
    assert [row["cost"] for row in told["predictions"]] == trial_costs(trial.config)
    for row, answer in zip(told["predictions"], answers, strict=True):
        assert row["answer"] == DATASETS["digits"].class_names[int(answer.classes)]
        assert row["probability"] == pytest.approx(answer.confidence, abs=1e-6)
    shown = run("predict", trial.id, str(image), "--budget", "0.5").splitlines()
    within = [row for row in told["predictions"] if row["relative"] <= 0.5]
    assert [line.split()[-1] for line in shown[2:-2]] == [row["answer"] for row in within]
    assert shown[-2].startswith(f"answer: {within[-1]['answer']} (")
    assert shown[-2].endswith(f"prediction {len(within)} of 6")


def test_several_networks_answer_one_after_the_other(run, growing, image) -> None:
    path, sweep, ledger = growing
    ids = [trial_of(sweep, f"ann ({n},2)").id for n in (1, 2)]
    (told,) = json.loads(run("predict", str(path), "ann", "--sequence", str(image), "--format", "json"))
    answers = list(ExponentialSequence([load_network(ledger.checkpoints(i)) for i in ids]).refine(np.load(image)))
    rows = [(row["unit"], row["cost"], row["class"]) for row in told["predictions"]]
    assert rows == [(answer.unit, answer.cost, int(answer.classes)) for answer in answers]


def test_a_sequence_over_the_test_set_has_the_curve_of_the_ledger(growing) -> None:
    """At every budget, in multiply-adds, its error is that of ``orchestrator.stats.eann``."""
    _, sweep, ledger = growing
    trials = [trial_of(sweep, f"ann ({n},2)") for n in (1, 2)]
    digits = load_images("digits", None)
    sequence = ExponentialSequence([load_network(ledger.checkpoints(trial.id)) for trial in trials])
    curve = sequence_curve([member(ledger.record(trial.id).result) for trial in trials])
    assert [point.cost for point in curve] == list(sequence.costs(8))
    for budget in {cost + step for cost in sequence.costs(8) for step in (-1, 0, 1)} - {sequence.costs(8)[0] - 1}:
        answer = sequence.predict(digits.test_images, budget=budget)
        wrong = 100 * float(np.mean(answer.classes.numpy() != digits.test_labels))
        assert wrong == pytest.approx(error_at(curve, budget))


@pytest.mark.parametrize("transition", get_args(Transition))
def test_sequences_as_deep_as_the_papers_cost_what_the_ledgers_do(transition) -> None:
    """Members n = 1, 3, 7, 13 and 25, the last with a prediction every 3 units (section 4.6)."""
    normalise = Normalisation(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))
    kinds = [NetworkConfig(n=n, c=2, period=3 if n == 25 else 1, transition=transition) for n in (1, 3, 7, 13, 25)]
    built = [AnytimeResNet(kind.n, kind.c, 10, kind.period, transition=transition) for kind in kinds]
    sequence = ExponentialSequence([TrainedNetwork(it, normalise).eval() for it in built])
    members = [
        Member(
            units=kind.predicting_units,
            costs=tuple(costs_at(kind.n, kind.c, kind.predicting_units, transition=transition)),
            errors=kind.predicting_units,
        )
        for kind in kinds
    ]
    curve = sequence_curve(members)
    assert list(sequence.costs(32)) == [point.cost for point in curve]
    assert [unit for _, unit in sequence.units] == [point.error for point in curve]


def test_what_cannot_be_answered_is_told(run, growing, image) -> None:
    path = str(growing[0])
    for options, error, message in (
        (["--budget", "0.001"], TooEarlyError, "budget is 0.001; the first prediction costs 0.1"),
        (["--budget", "2"], TooEarlyError, "budget is 2; the first prediction costs 0.1"),
        (["--deadline", "0.001us"], TooEarlyError, "the deadline passed before the first prediction"),
        (["--confidence", "2"], UsageError, "confidence is 2.0, must be above 0 and at most 1"),
        (["--budget", "-1"], UsageError, "budget is -1.0, must be a positive number"),
        (["--deadline", ""], UsageError, "deadline is '', must be a time such as 5ms"),
        (["--deadline", "5", "--budget", "nan"], UsageError, "deadline is '5', must be .*; budget is nan, must be"),
        (["--device", "abacus"], UsageError, "device 'abacus': "),
    ):
        with pytest.raises(error, match=message):
            run("predict", path, "ann", "2,2", str(image), *options)
    with pytest.raises(UsageError, match=r"no image is given; allowed: files that end in \.png"):
        run("predict", path, "ann", "2,2")
    np.savez("archive.npz", a=np.zeros((8, 8)))
    with pytest.raises(UsageError, match=r"archive\.npz: is no image; allowed: files that end in \.png"):
        run("predict", path, "ann", "2,2", "archive.npz", str(image))


class Slow(nn.Module):
    """Stands for the body of a unit."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> Any:
        time.sleep(0.02)
        return self.body(x)


def test_an_answer_after_its_deadline_says_by_how_much(growing, image) -> None:
    path, _, ledger = growing
    members = lookup.find([str(path), "ann", "2,2"], ledger)
    network = lookup.network(members[0], ledger, "cpu")
    for block in network.network.blocks:
        block.units = nn.ModuleList([Slow(unit) for unit in block.units])
    (picture,), said = images.read([image], DATASETS["digits"]), []
    limits = predict.Limits.of("5ms", None, None)
    found = predict.answer(AnytimePredictor(network), members, picture, limits, said.append)
    taken, missed = re.search(r"prediction 1 of 6, ([\d.]+) ms, ([\d.]+) ms after the deadline", said[-1]).groups()
    assert float(missed) == pytest.approx(float(taken) - 5, abs=0.11)
    assert found["seconds_late"] == pytest.approx(found["answer"]["seconds"] - 0.005)
    in_time = predict.answer(AnytimePredictor(network), members, picture, predict.Limits(deadline=60), said.append)
    assert in_time["seconds_late"] == 0
    assert "deadline" not in said[-1]


def test_a_dark_image_among_bright_ones_is_answered(run, growing, tmp_path) -> None:
    """The file as a whole shows that it is not scaled."""
    two = load_images("digits", None).test_images[:2].astype(np.float32)
    two[0] *= 1 / 16
    np.save(tmp_path / "two.npy", two)
    told = json.loads(run("predict", str(growing[0]), "ann", "2,2", str(tmp_path / "two.npy"), "--format", "json"))
    assert [len(it["predictions"]) for it in told] == [6, 6]
    np.save(tmp_path / "scaled.npy", two[1] / 16)
    command = ["predict", str(growing[0]), "ann", "2,2", str(tmp_path / "scaled.npy"), "--format", "json"]
    with pytest.raises(UsageError, match="if their white is 1, give brightest 1"):
        run(*command)
    (scaled,) = json.loads(run(*command, "--brightest", "1"))
    assert scaled["answer"]["probability"] == pytest.approx(told[1]["answer"]["probability"], abs=1e-4)
    assert scaled["notes"] == ["values of 0 to 1 as 0 to 16"]


def test_a_trained_network_knows_what_images_it_takes(growing) -> None:
    _, sweep, ledger = growing
    assert load_network(ledger.checkpoints(sweep.trials[0].id)).spec == DATASETS["digits"].spec


# Profiling


def test_a_profile_has_cost_time_and_error_of_every_prediction(run, growing) -> None:
    path, sweep, ledger = growing
    record = ledger.record(trial_of(sweep, "ann (2,2)").id)
    shown = run("profile", str(path), "ann", "2,2", "--repeats", "3", "--threads", "1", "--output", "out")
    assert "1 thread\n" in shown
    assert "of n = 3 calls with 1 image" in shown
    rows = list(csv.DictReader(io.StringIO(Path("out/profile.csv").read_text())))
    assert [int(row["multiply-adds"]) for row in rows] == list(record.result.costs)
    assert [float(row["error %"]) for row in rows] == pytest.approx(record.result.errors)
    times = [float(row["ms"]) for row in rows]
    assert times == sorted(times)
    assert all(float(row["ms low"]) <= float(row["ms"]) <= float(row["ms high"]) for row in rows)
    assert Path("out/profile.png").read_bytes().startswith(b"\x89PNG")
    assert "time (ms)" in Path("out/profile.svg").read_text()


@pytest.mark.parametrize("options", [[], ["--time", "--repeats", "2"]])
def test_of_a_sweep_the_best_network_at_each_budget_is_shown(run, growing, options) -> None:
    path, sweep, ledger = growing
    rows = list(csv.DictReader(io.StringIO(run("profile", str(path), "--format", "csv", *options))))
    errors = [float(row["error %"]) for row in rows]
    assert errors == sorted(errors, reverse=True)
    least = min(min(ledger.record(trial.id).result.errors) for trial in sweep.trials)
    assert errors[-1] == pytest.approx(least)
    assert set(" ".join(row["trial"] for row in rows).split()) <= {trial.id for trial in sweep.trials}


def test_the_best_by_cost_needs_no_torch(growing, tmp_path) -> None:
    code = "import sys; sys.modules['torch'] = None; from orchestrator import cli; cli.main()"
    command = [sys.executable, "-c", code, "profile", str(growing[0]), "--storage", str(growing[2].storage)]
    done = subprocess.run([*command, "--output", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "best.png").exists()
    assert (tmp_path / "best-digits.csv").exists()


def test_a_sweep_without_results_has_no_best_network(growing, tmp_path, capsys) -> None:
    with pytest.raises(UsageError, match="none of its trials has finished"):
        cli.main(["profile", str(growing[0]), "--storage", str(tmp_path)], standalone_mode=False)


def test_time_is_for_all_of_a_sweep(run, growing) -> None:
    with pytest.raises(UsageError, match="--time is for all of a sweep"):
        run("profile", str(growing[0]), "ann", "2,2", "--time")


# Export


def test_an_exported_network_makes_the_errors_that_the_trainer_measured(run, growing) -> None:
    _, sweep, ledger = growing
    trial, digits = trial_of(sweep, "ann (2,2)"), load_images("digits", None)
    assert run("export", trial.id, "--output", "network.zip") == "written: network.zip\n"
    found = Network("network.zip", threads=1)
    assert (found.manifest["trial"], found.manifest["classes"]) == (trial.id, list("0123456789"))
    wrong = [100 * np.mean(it.classes != digits.test_labels) for it in found.refine(digits.test_images)]
    assert wrong == pytest.approx(ledger.record(trial.id).result.errors, abs=0.6)  # of 359 images two may be as likely
    assert found.costs == trial_costs(trial.config)
    with pytest.raises(UsageError, match="2 networks are given; a file holds one"):
        run("export", *(trial_of(sweep, f"ann ({n},2)").id for n in (1, 2)), "--output", "both.zip")
