"""A threshold with a guarantee is found on held-out images, and whatever runs the network leaves by it alike."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from click import BadParameter

from anytime_core.data.cache import load as load_images
from anytime_core.predictor import AnytimePredictor
from anytime_core.trained import load_network
from anytime_core.training import checkpoint
from anytime_core.training.checkpoint import Place
from orchestrator.cli import cli
from orchestrator.errors import RiskError, UsageError
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.inference import guarantees, lookup
from orchestrator.inference.onnx_runner import Network
from orchestrator.ledger.guarantees_file import Calibration
from orchestrator.ledger.ledger import Ledger
from orchestrator.stats.intervals import clopper_pearson
from orchestrator.stats.outcomes.guarantees import LOSSES, NEVER, Guarantee, guaranteed
from orchestrator.stats.outcomes.policies import by_confidence
from orchestrator.sweepfile.load import load

HALF = 718
"""Of the 1,438 training images of the digits, those that are held out."""
TEXT = """
name: {name}
networks: [{{n: 1, c: 4}}]
datasets: [{{name: digits, validation: {held_out}}}]
methods: {{aann: {{strategy: aann}}}}
training: {{steps: 120, batch_size: 64, learning_rate: {{0: 0.1}}}}
report: {{baseline: aann}}
"""
RISKS = (["--risk", "2%"], ["--risk", "5%", "--delta", "10%"], ["--risk", "10%", "--loss", "differs"])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A storage with a network that ``held`` images out and one that ``used`` all, and their ids."""
    folder, ids = tmp_path_factory.mktemp("trained"), {}
    ledger = Ledger(folder / "runs")
    ledger.make()
    for name, held_out in (("held", HALF), ("used", 0)):
        (folder / f"{name}.yaml").write_text(TEXT.format(name=name, held_out=held_out))
        (trial,) = load(folder / f"{name}.yaml").trials
        where = WorkerContext(storage=ledger.storage, data_root=folder, check_md5=True, code_version="test")
        assert run_trial(trial, where, lambda epochs: None).error is None
        ids[name] = trial.id
    return folder / "runs", ids


@pytest.fixture
def storage(trained, tmp_path) -> Path:
    """A copy of its own for each test."""
    return Path(shutil.copytree(trained[0], tmp_path / "runs"))


@pytest.fixture
def ledger(storage) -> Ledger:
    return Ledger(storage)


@pytest.fixture
def run(storage, capsys, monkeypatch, tmp_path) -> Callable[..., str]:
    """A command beside the storage; what it prints."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        cli.main([*arguments, "--storage", str(storage)], standalone_mode=False)
        return str(capsys.readouterr().out)

    return call


@pytest.fixture
def held(trained) -> str:
    return trained[1]["held"]


@pytest.fixture
def used(trained) -> str:
    return trained[1]["used"]


@pytest.fixture
def digits(tmp_path) -> np.ndarray:
    """The test images, which also lie in ``digits.npy``."""
    images = np.array(load_images("digits", None).test_images)
    np.save(tmp_path / "digits.npy", images)
    return images


# Finding one


@pytest.mark.parametrize("options", RISKS, ids=" ".join)
def test_the_same_images_leave_at_the_same_predictions_wherever_the_network_runs(
    run, ledger, held, digits, options
) -> None:
    """Image by image: in the outcomes, by `predict --risk`, and in the exported file, by itself and by its class."""
    found = json.loads(run("calibrate", held, *options, "--format", "json"))["guarantee"]
    exits = by_confidence(ledger.outcomes(held)["test"], found["threshold"])
    assert len(set(exits.tolist())) > 1

    answers = json.loads(run("predict", held, "digits.npy", *options, "--format", "json"))
    assert [len(it["predictions"]) - 1 for it in answers] == exits.tolist()
    assert {it["guarantee"]["threshold"] for it in answers} == {found["threshold"]}

    run("export", held, "--output", "network.zip")
    network = Network("network.zip", threads=1)
    threshold = network.guarantee(found["risk"], found["delta"], found["loss"])["threshold"]
    assert [network.predict(image, threshold=threshold).index for image in digits] == exits.tolist()


def test_a_probability_is_rounded_before_it_is_compared_wherever_the_network_runs(run, ledger, held, digits) -> None:
    """Thresholds that an image just reaches: half of them lie above its probability as it is. Of 100 images one or two
    may lie so near to the middle of two numbers that the last bit of a sum decides."""
    run("export", held, "--output", "network.zip")
    predictor = AnytimePredictor(load_network(ledger.checkpoints(held)))
    outcomes = ledger.outcomes(held)["test"]
    for network in (predictor, Network("network.zip", threads=1)):
        agree = 0
        for index in range(100):
            threshold = float(outcomes.confidence[0, index])
            exits = by_confidence(outcomes, threshold)
            agree += network.predict(digits[index], threshold=threshold).index == exits[index]
        assert agree >= 98


def test_the_threshold_is_that_of_the_held_out_images_and_its_effect_that_on_the_test_images(run, ledger, held) -> None:
    told, outcomes = json.loads(run("calibrate", held, "--risk", "2%", "--format", "json")), ledger.outcomes(held)
    expected = guaranteed(outcomes["validation"], 0.02)
    found = told["guarantee"]
    assert (found["threshold"], found["losses"], found["allowed"]) == (
        *(expected.threshold, expected.losses, expected.allowed),
    )
    assert (found["n"], found["on"], told["notes"]) == (HALF, "validation", [])
    test, effect = outcomes["test"], told["effect"]
    exits = by_confidence(test, expected.threshold)
    images = range(len(exits))
    assert (effect["split"], effect["n"]) == ("test", len(exits))
    assert effect["cost"] == pytest.approx(np.mean([test.costs[k] for k in exits]) / test.costs[-1])
    assert effect["losses"] == np.mean([LOSSES["lost"](test)[exits[i], i] for i in images])
    assert effect["error"] == pytest.approx(100 * np.mean([not test.right[exits[i], i] for i in images]))
    assert effect["leaving"] == pytest.approx([np.mean(exits == k) for k in range(len(test.costs))])
    assert effect["last_error"] == pytest.approx(100 * np.mean(~test.right[-1]))


def test_a_table_says_in_a_sentence_what_is_guaranteed_and_when(run, held) -> None:
    shown = run("calibrate", held, "--risk", "2%")
    assert " ".join(shown.splitlines()[2:5]) == (
        "On average, at most 2% of new images are answered wrongly where the last prediction is right, if these are "
        f"exchangeable with the {HALF} validation images of digits that the threshold was found on."
    )
    assert max(map(len, shown.splitlines())) <= 80
    shown = " ".join(run("calibrate", held, "--risk", "5%", "--delta", "10%", "--loss", "differs").split())
    assert "With a probability of 90%, at most 5% of new images get another answer than the last prediction's" in shown


def test_a_network_that_answered_in_another_precision_says_so(ledger, held) -> None:
    (trial,) = lookup.find([held], ledger)
    it = Guarantee(threshold=0.5, loss="error", risk=0.2, delta=None, losses=1, allowed=2, n=9)
    low = replace(trial.config, training=replace(trial.config.training, precision="bfloat16"))
    said = guarantees.sentence(Calibration(split="validation", guarantee=it), replace(trial, config=low))
    assert said.endswith("that the threshold was found on, and the network answers as it does in bfloat16.")


def test_test_images_are_taken_only_where_they_are_asked_for(run, used) -> None:
    with pytest.raises(UsageError, match=r"no validation images were held out .*; --on test takes the 359 test images"):
        run("calibrate", used, "--risk", "5%")
    command = ["calibrate", used, "--risk", "5%", "--on", "test"]
    assert "the 359 test images" in " ".join(run(*command).split())
    told = json.loads(run(*command, "--format", "json"))
    assert told["notes"][0].startswith("the threshold was found on the test images: their error at it is no honest")
    assert told["guarantee"]["on"] == told["effect"]["split"] == "test"


def test_answers_that_are_not_kept_are_to_be_filled_in(run, storage, held, used) -> None:
    for trial_id, split in ((held, "validation"), (used, "validation"), (used, "test")):
        (storage / "trials" / trial_id / "outcomes.parquet").unlink(missing_ok=True)
        with pytest.raises(UsageError, match=f"{split} images is not kept, .*`orchestrate outcomes SWEEP.yaml` keeps"):
            run("calibrate", trial_id, "--risk", "5%", "--on", split)


def test_a_risk_that_the_network_cannot_have_says_the_least(run, ledger, held) -> None:
    wrong = int((~ledger.outcomes(held)["validation"].right[-1]).sum())
    asked = "--risk 0.2% --delta 10% --loss error"
    words = rf"no threshold keeps {asked}: even the last prediction gets {wrong} of {HALF} validation"
    with pytest.raises(RiskError, match=words) as raised:
        run("calibrate", held, "--risk", "0.2%", "--delta", "10%", "--loss", "error")
    assert raised.value.exit_code == 1
    least = str(raised.value).rpartition(" ")[2]
    assert float(least.rstrip("%")) == pytest.approx(clopper_pearson(wrong, HALF, 0.8).high, abs=0.011)
    assert ledger.guarantees(held) is None
    assert "mean cost" in run("calibrate", held, "--risk", least, "--delta", "10%", "--loss", "error")


def test_too_few_images_leave_none_early_and_say_how_many_it_takes(run, held) -> None:
    told = json.loads(run("calibrate", held, "--risk", "0.1%", "--format", "json"))
    assert told["guarantee"]["threshold"] == NEVER
    assert told["effect"]["cost"] == 1
    assert told["notes"] == [f"no image leaves before the last prediction: {HALF} images are too few, 999 may do"]
    assert "never" in run("calibrate", held, "--risk", "0.1%")


@pytest.mark.parametrize("given", ["0", "2", "150%", "nan", "-1%"])
@pytest.mark.parametrize("option", ["--risk", "--delta"])
def test_what_is_no_share_is_refused(run, held, option, given) -> None:
    words = f"'{given}', must be above 0% and below 100%, such as 2% or 0.02"
    with pytest.raises(BadParameter, match=words) as raised:
        run("calibrate", held, *chain.from_iterable(({"--risk": "2%"} | {option: given}).items()))
    assert raised.value.exit_code == 2


# Keeping it


def test_show_names_what_is_kept(run, held, trained) -> None:
    sweep = str(trained[0].parent / "held.yaml")
    assert "thresholds with a guarantee" not in run("show", sweep, held)
    for options in RISKS:
        run("calibrate", held, *options)
    shown = run("show", sweep, held)
    assert "--risk 5% --delta 10%" in shown
    assert f"{HALF} of validation" in shown
    kept = json.loads(run("show", sweep, held, "--format", "json"))["guarantees"]
    assert [(it["risk"], it["delta"], it["loss"]) for it in kept] == [
        *((0.02, None, "lost"), (0.05, 0.1, "lost"), (0.1, None, "differs")),
    ]


def test_what_is_damaged_is_named_and_made_again(run, storage, held, digits, caplog) -> None:
    path = storage / "trials" / held / "guarantees.json"
    run("calibrate", held, "--risk", "2%")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"n": 718', b'"n": 719'))
    with pytest.raises(UsageError, match="no threshold is kept for --risk 2%; kept: none"):
        run("predict", held, "digits.npy", "--risk", "2%")
    assert f"{path} is damaged: checksum does not match" in caplog.text
    run("calibrate", held, "--risk", "2%")
    assert path.read_bytes() == whole


def spoil(place: Place) -> None:
    """Puts another network in the place of the saved one."""
    saved, step = checkpoint.latest(place), checkpoint.latest_step(place)
    arrays = {name: it + 1 if name.startswith("network/") else it for name, it in saved.arrays.items()}
    checkpoint.save(place, step, replace(saved, arrays=arrays))


def test_another_network_does_not_take_the_guarantees_of_this_one(run, ledger, held, digits) -> None:
    run("calibrate", held, "--risk", "2%")
    spoil(ledger.checkpoints(held))
    for command in (["predict", held, "digits.npy", "--risk", "2%"], ["export", held, "--output", "x.zip"]):
        with pytest.raises(UsageError, match=r"its guarantees are of network .*, and its saved network is .* again"):
            run(*command)
    with pytest.raises(UsageError, match=r"its saved network is .*, and the one that was trained was"):
        run("calibrate", held, "--risk", "2%")


# Using it


def test_what_is_not_kept_is_told_with_the_command_that_finds_it(run, held, used, digits) -> None:
    run("calibrate", held, "--risk", "2%")
    words = rf"no threshold is kept for --risk 3% --delta 10%; kept: --risk 2%; `orchestrate calibrate {held} --risk 3%"
    with pytest.raises(UsageError, match=words + " --delta 10%` finds one"):
        run("predict", held, "digits.npy", "--risk", "3%", "--delta", "10%")
    for options, message in (
        (["--risk", "2%", "--confidence", "0.9"], "--risk and --confidence each say when to stop"),
        (["--delta", "10%"], "--delta must come with --risk"),
    ):
        with pytest.raises(UsageError, match=message):
            run("predict", held, "digits.npy", *options)


def test_a_guarantee_is_for_one_network(held, ledger) -> None:
    (trial,) = lookup.find([held], ledger)
    with pytest.raises(UsageError, match="--risk is for one network, and 2 are given"):
        guarantees.find([trial, trial], ledger, guarantees.Asked(risk=0.02))


def test_an_answer_says_what_is_guaranteed_and_what_may_undo_it(run, held, digits, storage, capsys) -> None:
    run("calibrate", held, "--risk", "2%")
    np.save("one.npy", digits[0])
    assert run("predict", held, "one.npy", "--risk", "2%").startswith("On average, at most 2% of new images are")
    command = ["predict", held, "one.npy", "--risk", "0.02", "--budget", "1", "--storage", str(storage)]
    cli.main([*command, "--format", "json"], standalone_mode=False)
    done = capsys.readouterr()
    assert " ".join(done.err.split()).startswith("note: --budget may end an answer before it is sure enough")
    (told,) = json.loads(done.out)
    assert told["guarantee"]["sentence"].startswith("On average, at most 2% of new images are")


# In the exported file


def alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the exported file where this package and torch are not."""
    code = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['anytime_core'] = sys.modules['orchestrator'] = None;"
        "sys.argv[0] = 'network.zip'; runpy.run_path('network.zip', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_file_leaves_by_itself_image_by_image_and_says_what_is_guaranteed(
    run, ledger, held, digits, tmp_path
) -> None:
    run("calibrate", held, *RISKS[1])
    assert run("export", held, "--output", "network.zip").splitlines() == [
        "written: network.zip",
        "with the thresholds of --risk 5% --delta 10%",
    ]
    done = alone(tmp_path, "digits.npy", *RISKS[1], "--deadline", "60s")
    assert done.returncode == 0, done.stderr
    sentence, note, *lines = done.stdout.splitlines()
    assert sentence.startswith("With a probability of 90%, at most 5% of new images are answered wrongly where")
    assert note == "note: --deadline may end an answer before it is sure enough; the guarantee then does not hold"
    counts: list[int] = []
    for line in lines:
        counts = [*counts, -1] if line.startswith("image ") else [*counts[:-1], counts[-1] + 1]
    (found,) = ledger.guarantees(held).calibrations
    assert counts == by_confidence(ledger.outcomes(held)["test"], found.guarantee.threshold).tolist()


def test_faults_of_the_words_for_a_guarantee_are_told_with_the_others(run, held, digits, tmp_path) -> None:
    run("calibrate", held, "--risk", "2%")
    run("export", held, "--output", "network.zip")
    packed = "`orchestrate calibrate` finds one, then `orchestrate export` packs it"
    for options, faults in (
        (["--risk", "2"], ["risk is '2', must be above 0% and below 100%, such as 2% or 0.02"]),
        (["--risk", "2%", "--delta", "0"], ["delta is '0', must be above 0% and below 100%, such as 2% or 0.02"]),
        (
            ["--risk", "2%", "--loss", "gain"],
            [f"no threshold is kept for --risk 2% --loss gain; kept: --risk 2%; {packed}"],
        ),
        (["--loss", "lost", "--deadline", "5"], ["deadline is '5', must be a", "--loss must come with --risk"]),
        (["--risk", "2%", "--confidence", "0.9"], ["--risk and --confidence each say when to stop; leave out one"]),
    ):
        done = alone(tmp_path, "digits.npy", *options)
        assert (done.returncode, done.stdout) == (2, "")
        told = done.stderr.partition("error: ")[2].splitlines()
        assert [line.startswith(fault) for line, fault in zip(told, faults, strict=True)] == [True] * len(told), told


def test_a_file_without_guarantees_is_as_it_was_and_says_that_it_has_none(run, held, digits, tmp_path) -> None:
    assert run("export", held, "--output", "network.zip") == "written: network.zip\n"
    with ZipFile("network.zip") as archive:
        assert [*json.loads(archive.read("manifest.json"))] == [
            *("version", "trial", "label", "dataset", "size", "classes", "channels", "brightest", "normalisation"),
            "stages",
        ]
    done = alone(tmp_path, "digits.npy", "--risk", "2%")
    assert done.returncode == 2
    assert "no threshold is kept for --risk 2%; kept: none; `orchestrate calibrate` finds one" in done.stderr


def test_a_file_with_guarantees_is_read_by_what_knows_none(run, held) -> None:
    """Its version and its stages are those of a file without."""
    contents = []
    for path, command in (("plain.zip", []), ("more.zip", ["calibrate", held, "--risk", "2%"])):
        if command:
            run(*command)
        run("export", held, "--output", path)
        with ZipFile(path) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist()})
    manifests: list[dict[str, Any]] = [json.loads(each.pop("manifest.json")) for each in contents]
    assert contents[0] == contents[1]
    kept = manifests[1].pop("guarantees")
    assert manifests[0] == manifests[1]
    assert [(it["risk"], it["loss"], it["on"]) for it in kept] == [(0.02, "lost", "validation")]
