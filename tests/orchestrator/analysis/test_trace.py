"""A cell of a table leads to its trial and to where its numbers come from; a rerun says whether they come again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from anytime_core.config import Ann, Joint
from anytime_core.errors import CheckpointError
from anytime_core.result import ENERGY, TIMES
from anytime_core.trained import load_network, network_hash
from anytime_core.training.checkpoint import digest
from orchestrator.analysis import time_spent
from orchestrator.analysis.trace import RerunComparison, TrainingRecord, compare, find, mixed, trace
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.execution.reproduce import ReproduceSettings, reproduce
from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.ledger import checksummed, epochs_file
from orchestrator.ledger.ledger import Attempt, Ledger
from orchestrator.report.views import trial as render_trial
from orchestrator.stats.outcomes.metrics import METRICS
from orchestrator.sweep.carbon import Carbon
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.limits import Price
from orchestrator.sweep.trial import Trial, TrialRecord, TrialState
from orchestrator.system import sources as system_sources
from orchestrator.system.provenance import cpu_model
from orchestrator.system.sources import code_version

TINY = """
name: tiny
networks: [{n: 1, c: 2}, {n: 1, c: 2, period: 3}, {n: 1, c: 3, transition: pooling}]
datasets: [digits]
methods: {ann: {strategy: ann}, aann: {strategy: aann, grid: {gamma: [1, 2]}}, opt: {regime: opt, at: all}}
seeds: [0, 1]
training: {steps: 44, batch_size: 64, learning_rate: {0: 0.1, 22: 0.01}}
report: {baseline: ann}
"""

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def tiny(load_text) -> Sweep:
    return load_text(TINY)


def label(sweep: Sweep, given: str) -> str:
    return find(sweep, given).cell.label


# Finding


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("ann (1,2) digits seed 1", "ann (1,2) digits seed 1"),
        ("seed 1 digits (1,2) ann", "ann (1,2) digits seed 1"),
        ("ANN 1,2 seed=1", "ann (1,2) digits seed 1"),
        ("ann ( 1, 2 ) seed 1", "ann (1,2) digits seed 1"),
        ("ann (1,2)/3 seed 0", "ann (1,2)/3 digits seed 0"),
        ("ann pooling seed 0", "ann (1,3) pooling digits seed 0"),
        ("aann gamma=2 (1,2) seed 0", "aann gamma=2 (1,2) digits seed 0"),
        ("unit 2 1,2 seed 0", "opt (1,2) digits unit 2 seed 0"),
        ("1,2 opt unit: 2 seed 0", "opt (1,2) digits unit 2 seed 0"),
    ],
)
def test_a_cell_is_found_by_its_words_in_any_order(tiny, given, found) -> None:
    assert label(tiny, given) == found


def test_every_cell_is_found_by_its_label_and_every_trial_by_its_id_and_a_prefix(tiny) -> None:
    for cell, trial_id in tiny.cells.items():
        assert find(tiny, cell.label).id == trial_id
    for trial in tiny.trials:
        assert find(tiny, trial.id) is find(tiny, trial.id[:15].upper()) is trial


def test_a_trial_of_two_cells_has_both(tiny, ledger) -> None:
    found = trace(tiny, find(tiny, "opt (1,2)/3 unit 3 seed 0"), ledger)
    assert [cell.network for cell in found.cells] == ["(1,2)", "(1,2)/3"]
    shown = render_trial.trace_text(found)
    assert "opt (1,2) digits unit 3 seed 0" in shown
    assert "opt (1,2)/3 digits unit 3 seed 0" in shown


def test_an_ambiguous_cell_lists_the_candidates_with_their_ids(tiny) -> None:
    with pytest.raises(UsageError) as raised:
        find(tiny, "ann (1,2)")
    head, *lines = str(raised.value).splitlines()
    assert head.endswith(": 'ann (1,2)' may be 2 trials; give more words, or the id, of one:")
    assert lines == [
        f"  {find(tiny, name).id}  {name}" for name in ("ann (1,2) digits seed 0", "ann (1,2) digits seed 1")
    ]


def test_of_many_candidates_twenty_are_listed(tiny) -> None:
    with pytest.raises(UsageError) as raised:
        find(tiny, "digits")
    lines = str(raised.value).splitlines()
    assert len(lines) == 1 + 20 + 1
    assert lines[-1] == f"  and {len(tiny.trials) - 20} more"


def test_an_ambiguous_prefix_lists_the_candidates(tiny) -> None:
    twins = [replace(trial, id=f"abcd{index:012}") for index, trial in enumerate(tiny.trials[:2])]
    sweep = replace(tiny, trials=tuple(twins), cells={twin.cell: twin.id for twin in twins})
    with pytest.raises(UsageError, match=r"'abcd' may be 2 trials(.|\n)*abcd000000000000(.|\n)*abcd000000000001"):
        find(sweep, "abcd")


@pytest.mark.parametrize(
    "given", ["annn (1,2)", "ann (9,2) seed 0", "ann seed 7", "abc", "0000", "", "ann unit 2", "("]
)
def test_an_unknown_cell_is_told_what_there_is(tiny, given) -> None:
    with pytest.raises(UsageError) as raised:
        find(tiny, given)
    assert str(raised.value).splitlines() == [
        f"{tiny.path}: no cell is {given!r}; words of cells are:",
        "  methods: ann, aann gamma=1, aann gamma=2, opt",
        "  networks: (1,2), (1,2)/3, (1,3) pooling",
        "  data sets: digits",
        "  seeds: 0, 1",
        "  units: 1, 2, 3",
        "  or an id, or its first 4 digits or more",
    ]


# Showing


@pytest.fixture(scope="module")
def trained(make_trial, load_text, tmp_path_factory) -> tuple[Sweep, Trial, Path]:
    """A sweep, a trial of it, and the storage in which it was trained."""
    sweep, storage = load_text(TINY), tmp_path_factory.mktemp("trained")
    trial = find(sweep, "aann gamma=2 (1,2) seed 1")
    where = WorkerContext(storage=storage, data_root=storage / "data", code_version="v1")
    assert run_trial(trial, where, lambda epochs: None).state is TrialState.FINISHED
    return sweep, trial, storage


@pytest.fixture
def copied(trained, tmp_path) -> tuple[Sweep, Trial, Ledger]:
    """One to be damaged."""
    sweep, trial, storage = trained
    shutil.copytree(storage, tmp_path / "copy")
    return sweep, trial, Ledger(tmp_path / "copy")


def shown(sweep: Sweep, trial: Trial, ledger: Ledger) -> dict[str, Any]:
    return json.loads(render_trial.trace_json(trace(sweep, trial, ledger)))  # type: ignore[no-any-return]


def test_all_that_is_known_of_a_finished_trial_is_shown(trained) -> None:
    sweep, trial, storage = trained
    ledger = Ledger(storage)
    content, text = shown(sweep, trial, ledger), render_trial.trace_text(trace(sweep, trial, ledger))
    record = ledger.record(trial.id)
    assert record is not None
    assert (content["trial"]["id"], content["trial"]["seed"], content["trial"]["state"]) == (trial.id, 1, "finished")
    assert content["config"] == record.config
    assert [row["error"] for row in content["errors"]] == list(record.result.errors)
    assert [row["cost"] for row in content["errors"]] == list(record.result.costs)
    assert content["errors"][-1]["relative"] == 1
    assert content["milestones"]["1"] == record.result.errors[-1]
    assert content["milestones"]["AE"] == pytest.approx(np.mean(record.result.errors))
    assert None not in content["times"].values()
    apart = (*content["times"], "preparation_seconds", "ending_seconds")
    recorded = {name: value for name, value in record.provenance.items() if name not in apart}
    assert content["provenance"] == {"environment": None, **recorded, "device": "cpu", "code_is": "same"}
    for name in ("code_version", "data_hash", "network_hash", "threads", "python", "torch", "numpy"):
        assert content["provenance"][name]
    assert content["provenance"]["device_name"] == cpu_model()
    assert all(Path(path).exists() for path in content["files"].values())
    assert content["files"].keys() == {
        "config.json",
        "result.json",
        "metrics.parquet",
        "outcomes.parquet",
        "checkpoint",
    }
    for words in (trial.id, "v1", record.provenance["network_hash"], "regime.strategy.gamma", "aann gamma=2 (1,2)"):
        assert words in text
    assert f"training.weight_decay      {trial.config.training.weight_decay}" in text  # in full, not as 0.00


def test_what_a_trials_answers_come_to_is_shown_where_they_are_kept(copied) -> None:
    sweep, trial, ledger = copied
    kept = ledger.outcomes(trial.id)["test"]
    content, text = shown(sweep, trial, ledger), render_trial.trace_text(trace(sweep, trial, ledger))
    assert content["outcomes"] == pytest.approx({name: metric.of(kept) for name, metric in METRICS.items()})
    assert "answers to single images" in text
    (ledger.folder(trial.id) / "outcomes.parquet").unlink()
    assert shown(sweep, trial, ledger)["outcomes"] == {}
    assert "answers to single images" not in render_trial.trace_text(trace(sweep, trial, ledger))


def test_where_the_time_went_adds_up_to_the_training_and_to_all(copied) -> None:
    sweep, trial, ledger = copied
    content, text = shown(sweep, trial, ledger), render_trial.trace_text(trace(sweep, trial, ledger))
    seconds = {row["part"]: row["seconds"] for row in content["time"]}
    record, epochs = ledger.record(trial.id), ledger.epochs(trial.id)
    assert record
    assert min(seconds.values()) >= 0
    assert seconds["data"] + seconds["steps"] + seconds["evaluation"] == pytest.approx(record.result.seconds)
    assert seconds["preparation"] == record.provenance["preparation_seconds"]
    assert seconds["checkpoints"] == sum(epoch.checkpoint_seconds for epoch in epochs) > 0
    assert sum(row["share"] for row in content["time"]) == pytest.approx(100)
    assert f" training: {record.result.seconds:.2f} s of it, in data, steps, evaluation\n" in text
    assert content["load"].keys() == {"cpu_percent", "memory_megabytes"}
    (ledger.folder(trial.id) / "result.json").unlink()  # it runs still
    running = {row["part"]: row["seconds"] for row in shown(sweep, trial, ledger)["time"]}
    assert running == {part: value for part, value in seconds.items() if part not in ("preparation", "ending")}


def test_where_the_time_went_is_not_known_of_what_an_earlier_version_trained(copied) -> None:
    sweep, trial, ledger = copied
    path = ledger.folder(trial.id) / "metrics.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns([*TIMES, *ENERGY]).replace_schema_metadata(None), path)
    assert shown(sweep, trial, ledger)["time"] == []
    assert "where the time went" not in render_trial.trace_text(trace(sweep, trial, ledger))


def test_what_a_trial_took_is_shown_and_unknown_where_nobody_measured(copied) -> None:
    sweep, trial, ledger = copied
    path = ledger.folder(trial.id) / "result.json"
    content = json.loads(path.read_text())
    del content[checksummed.SEAL]
    known = content["provenance"]
    assert known["threads"] == 1
    sweep = replace(sweep, carbon=Carbon.of("400 g/kWh"), price=Price.of("2.50 EUR"))
    hours = (content["result"]["seconds"] + known["preparation_seconds"] + known["ending_seconds"]) / 3600
    for name in ENERGY:  # as on a machine without counters
        known.pop(name, None)
    path.write_text(json.dumps(content))
    unknown = {"kwh": None, "cpu_kwh": None, "co2_grams": None, "cost_EUR": pytest.approx(2.5 * hours)}
    assert shown(sweep, trial, ledger)["expense"] == unknown
    assert "kwh        not measured\n" in render_trial.trace_text(trace(sweep, trial, ledger))
    known["cpu_joules"] = 1.8e6
    path.write_text(json.dumps(content))
    assert shown(sweep, trial, ledger)["expense"] == unknown | {"kwh": 0.5, "cpu_kwh": 0.5, "co2_grams": 200}
    assert "cpu_joules" not in shown(sweep, trial, ledger)["provenance"]


def test_the_load_is_the_mean_over_the_seconds_of_the_epochs(make_epochs) -> None:
    one, two = make_epochs(2, 3)  # of 0.25 and 0.5 seconds
    epochs = [replace(one, cpu_percent=100.0, gpu_percent=90.0, memory=5.0), replace(two, cpu_percent=40.0, memory=4.0)]
    assert time_spent.load(epochs) == {"cpu_percent": pytest.approx(60), "gpu_percent": 90, "memory": 5}
    assert time_spent.load([]) == time_spent.seconds_by_part([], {}) == {}


def test_a_log_is_shown_with_its_path_and_size(tiny, ledger) -> None:
    trial = tiny.trials[0]
    assert shown(tiny, trial, ledger)["log"] is None
    ledger.write_log(ledger.begin(trial), b"one\n")
    path = str(ledger.folder(trial.id) / "log.txt")
    assert shown(tiny, trial, ledger)["log"] == {"path": path, "bytes": 4}
    text = render_trial.trace_text(trace(tiny, trial, ledger))
    assert ["log.txt", path, "(4", "bytes)"] in [line.split() for line in text.splitlines()]


def test_a_trial_that_never_ran_is_shown_with_what_it_would_be(tiny, ledger) -> None:
    content = shown(tiny, tiny.trials[0], ledger)
    assert (content["trial"]["state"], content["trial"]["attempts"], content["failure"]) == ("pending", 0, None)
    assert {row["error"] for row in content["errors"]} == set(content["milestones"].values()) == {None}
    assert content["files"] == content["provenance"] == {}
    assert "pending" in render_trial.trace_text(trace(tiny, tiny.trials[0], ledger))


def test_a_failed_trial_is_shown_with_its_traceback(tiny, ledger) -> None:
    attempt = ledger.begin(tiny.trials[0])
    ledger.fail(attempt, "it broke", "Traceback (most recent call last):\n  here\n")
    content, text = shown(tiny, tiny.trials[0], ledger), render_trial.trace_text(trace(tiny, tiny.trials[0], ledger))
    assert content["trial"]["state"] == "failed"
    assert content["failure"]["error"] == "it broke"
    assert content["times"]["first_attempt_began"] == attempt.began
    assert text.endswith("    Traceback (most recent call last):\n      here")


def test_a_trial_that_its_driver_has_begun_is_running(tiny, ledger) -> None:
    with ledger.drive(tiny.name):
        ledger.begin(tiny.trials[0])
        assert trace(tiny, tiny.trials[0], ledger).state is TrialState.RUNNING
    assert trace(tiny, tiny.trials[0], ledger).state is TrialState.INTERRUPTED


def test_a_record_of_an_older_version_lacks_what_it_did_not_write_down(copied) -> None:
    sweep, trial, ledger = copied
    edit(ledger, trial, lambda content: content.update(provenance={"host": "old", "torch": "2.0"}))
    content, text = shown(sweep, trial, ledger), render_trial.trace_text(trace(sweep, trial, ledger))
    assert content["provenance"]["network_hash"] is content["provenance"]["threads"] is None
    assert content["provenance"]["host"] == "old"
    assert "\n  network_hash  -\n" in text


# Provenance


def test_the_first_attempt_is_remembered_through_all_later_ones(tiny, ledger, monkeypatch) -> None:
    trial = tiny.trials[0]
    for number in (1, 2, 3):
        monkeypatch.setattr("orchestrator.ledger.ledger.now", lambda number=number: f"2030-01-0{number}")
        attempt = ledger.begin(trial)
        assert (attempt.began, attempt.first_began) == (f"2030-01-0{number}", "2030-01-01")


@pytest.mark.parametrize(("number", "first"), [(1, "2020-01-01"), (2, "")])
def test_an_attempt_of_an_older_version_is_known_as_the_first_if_it_was(tiny, ledger, number, first) -> None:
    """Its file says no more than when it began itself."""
    trial = tiny.trials[0]
    old = {"trial_id": trial.id, "number": number, "token": "t", "host": "h", "pid": 1, "began": "2020-01-01"}
    ledger.folder(trial.id).mkdir(parents=True)
    (ledger.folder(trial.id) / "attempt.json").write_text(json.dumps(old))
    assert ledger.attempt(trial.id) == Attempt(**old)
    assert (ledger.begin(trial).number, ledger.attempt(trial.id).first_began) == (number + 1, first)


def test_a_digest_is_of_names_types_shapes_and_bits_and_not_of_their_order() -> None:
    arrays = {"a": np.zeros((2, 3), np.float32), "b": np.array(1)}
    same = digest(arrays)
    assert digest(dict(reversed(arrays.items()))) == same
    others = [
        {**arrays, "a": np.zeros((3, 2), np.float32)},
        {**arrays, "a": np.zeros((2, 3), np.int32)},
        {**arrays, "a": -np.zeros((2, 3), np.float32)},
        {"c": arrays["a"], "b": arrays["b"]},
    ]
    assert len({same, *map(digest, others)}) == 5


def test_the_hash_of_a_network_is_that_of_what_is_loaded(trained, tmp_path) -> None:
    _, trial, storage = trained
    ledger = Ledger(storage)
    state = load_network(ledger.folder(trial.id)).network.state_dict()
    expected = digest({f"network/{name}": tensor.numpy() for name, tensor in state.items()})
    assert network_hash(ledger.folder(trial.id)) == network_hash(ledger.checkpoints(trial.id)) == expected
    record = ledger.record(trial.id)
    assert record is not None
    assert record.provenance["network_hash"] == expected
    with pytest.raises(CheckpointError, match="holds no valid checkpoint"):
        network_hash(tmp_path)


@pytest.fixture
def repository(tmp_path) -> Path:
    for folder in ("anytime_core", "orchestrator"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "code.py").write_text("one = 1\n")
    (tmp_path / "README.md").write_text("text\n")
    identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    return tmp_path


def test_a_version_of_the_code_is_its_commit_and_what_was_changed_since(repository) -> None:
    commit = code_version(repository)
    assert len(commit) == 12
    (repository / "README.md").write_text("another text\n")
    assert code_version(repository) == commit  # trains the same

    seen = {commit}
    code = repository / "anytime_core" / "code.py"
    changes: list[Callable[[], object]] = [
        lambda: code.write_text("one = 2\n"),
        lambda: code.write_text("one = 3\n"),
        lambda: (repository / "orchestrator" / "new.py").write_text(""),
        lambda: (repository / "orchestrator" / "new.py").rename(repository / "orchestrator" / "ü new.py"),
        code.unlink,
    ]
    for change in changes:
        change()
        version = code_version(repository)
        assert version.startswith(f"{commit}-dirty.")
        assert version not in seen
        seen.add(version)
    code.write_text("one = 1\n")
    (repository / "orchestrator" / "ü new.py").unlink()
    assert code_version(repository) == commit


def test_without_a_repository_of_its_own_the_code_has_the_packages_version_and_the_hash_of_its_sources(
    repository, tmp_path, monkeypatch
) -> None:
    """As in a wheel, or where git does not trust the folder's owner."""
    monkeypatch.setattr(system_sources, "_git", lambda *words: _refused())
    before = code_version(repository)
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{12}", before)
    (repository / "README.md").write_text("another text\n")
    assert code_version(repository) == before
    (repository / "anytime_core" / "code.py").write_text("one = 2\n")
    assert code_version(repository) != before


def _refused() -> str:
    raise subprocess.CalledProcessError(128, "git", stderr=b"fatal: detected dubious ownership in repository")


def test_sources_are_those_of_the_packages_that_are_imported() -> None:
    root = Path(system_sources.__file__).parents[2]
    packages = {name: root / name for name in system_sources.CODE}
    assert system_sources.sources() == system_sources.sources_in(packages)


# Reproducing


def edit(ledger: Ledger, trial: Trial, change: Edit) -> None:
    path = ledger.folder(trial.id) / "result.json"
    content = checksummed.unpack(path.read_bytes())
    change(content)
    path.write_bytes(checksummed.pack(content))


def rerun(trial: Trial, ledger: Ledger) -> RerunComparison:
    return reproduce(trial, ledger, ReproduceSettings(data_root=ledger.storage / "data"), Console(quiet=True))


def state_of(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_a_trial_trained_again_gives_the_same_bits_and_leaves_the_ledger_as_it_was(trained) -> None:
    _, trial, storage = trained
    before = state_of(storage)
    comparison = rerun(trial, Ledger(storage))
    assert comparison.same_bits
    assert comparison.differences == comparison.lacking == ()
    assert not comparison.provenance  # the same sources, although "v1" is no version of theirs
    assert state_of(storage) == before
    hashed = comparison.recorded.network_hash
    assert render_trial.comparison_text(comparison) == (
        f"same bits: aann gamma=2 (1,2) digits seed 1 ({trial.id}): 3 errors, 2 epochs, network {hashed}"
    )
    assert json.loads(render_trial.comparison_json(comparison))["same_bits"] is True


def change_error(content: dict[str, Any]) -> None:
    content["result"]["errors"][1] += 1e-13


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (change_error, "final error of prediction 2"),
        (lambda content: content["config"].update(seed=7), "config: seed"),
        (lambda content: content["config"]["training"].update(momentum=0.5), "config: training.momentum"),
        (lambda content: content["provenance"].update(network_hash="0" * 16), "network_hash"),
        (lambda content: content["result"].update(state="diverged", errors=[]), "state"),
    ],
    ids=["an error", "the seed", "a setting", "the network", "the state"],
)
def test_what_was_tampered_with_is_told(copied, change, what) -> None:
    _, trial, ledger = copied
    edit(ledger, trial, change)
    comparison = rerun(trial, ledger)
    assert not comparison.same_bits
    (difference,) = comparison.differences
    assert difference.what == what
    assert difference.recorded != difference.rerun
    text = render_trial.comparison_text(comparison)
    assert text.startswith(f"other bits: aann gamma=2 (1,2) digits seed 1 ({trial.id})\n")
    assert str(difference.recorded) in text
    assert str(difference.rerun) in text


def test_the_first_epoch_that_differs_is_told(copied) -> None:
    _, trial, ledger = copied
    first, second = ledger.epochs(trial.id)
    losses = (second.test_loss[0], np.nextafter(second.test_loss[1], 9), *second.test_loss[2:])
    changed = [first, replace(second, test_loss=tuple(map(float, losses)), seconds=9.0)]
    units, costs = (1, 2, 3), (1, 2, 3)
    (ledger.folder(trial.id) / "metrics.parquet").write_bytes(epochs_file.pack(trial.id, units, costs, changed))
    (difference,) = rerun(trial, ledger).differences
    assert difference.what == "test_loss of prediction 2 in epoch 2"
    assert (difference.recorded, difference.rerun) == (losses[1], second.test_loss[1])
    (ledger.folder(trial.id) / "metrics.parquet").write_bytes(epochs_file.pack(trial.id, units, costs, [first]))
    (difference,) = rerun(trial, ledger).differences
    assert (difference.what, difference.recorded, difference.rerun) == ("number of epochs", 1, 2)


def test_an_older_record_is_compared_by_its_checkpoint_and_without_one_nothing_is_claimed(copied) -> None:
    _, trial, ledger = copied
    edit(ledger, trial, lambda content: content.update(provenance={}))
    assert rerun(trial, ledger).same_bits
    shutil.rmtree(ledger.folder(trial.id) / "checkpoints")
    (ledger.folder(trial.id) / "metrics.parquet").unlink()
    comparison = rerun(trial, ledger)
    assert not comparison.same_bits
    assert (comparison.differences, comparison.lacking) == ((), ("metrics of epochs", "bits of the network"))
    assert render_trial.comparison_text(comparison).startswith("same errors, not shown to be the same bits: ")


def test_a_diverged_trial_diverges_again_to_the_same_bits(load_text, ledger) -> None:
    sweep = load_text(TINY.replace("0: 0.1", "0: 1.0e+30"))
    trial = find(sweep, "ann (1,2) seed 0")
    where = WorkerContext(storage=ledger.storage, data_root=ledger.storage / "data")
    assert run_trial(trial, where, lambda epochs: None).state is TrialState.DIVERGED
    comparison = rerun(trial, ledger)
    assert comparison.same_bits
    assert json.loads(render_trial.comparison_json(comparison))["differences"] == []


def test_a_trial_that_has_not_ended_cannot_be_compared(tiny, ledger) -> None:
    with pytest.raises(UsageError, match="has not finished: it is pending"):
        rerun(tiny.trials[0], ledger)


def test_a_rerun_that_fails_says_why(trained, monkeypatch) -> None:
    _, trial, storage = trained
    monkeypatch.setattr("orchestrator.execution.worker.images_for", lambda *_: 1 / 0)
    with pytest.raises(OrchestratorError, match="the rerun failed: ZeroDivisionError: division by zero"):
        rerun(trial, Ledger(storage))


def test_a_rerun_on_another_kind_of_device_is_refused(copied) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    _, trial, ledger = copied
    edit(ledger, trial, lambda content: content["result"].update(device="NVIDIA H100"))
    with pytest.raises(UsageError, match="was trained on NVIDIA H100; torch finds no GPU here"):
        rerun(trial, ledger)


# Mixed versions


def records(make_trial, make_record, *provenances: dict[str, Any], dataset: str = "digits") -> list[TrialRecord]:
    record = make_record(make_trial(Joint(strategy=Ann())), (3.0, 2.0, 1.0))
    config = {**record.config, "data": {"name": dataset}}
    return [replace(record, config=config, provenance=provenance) for provenance in provenances]


def test_trials_of_one_origin_are_not_mixed(make_trial, make_record) -> None:
    same = {"code_version": "a", "data_hash": "b", "device_name": "c", "torch": "d"}
    assert mixed([]) == mixed(records(make_trial, make_record, same, same)) == []


def test_what_is_mixed_is_counted_the_most_frequent_first(make_trial, make_record) -> None:
    one = {"code_version": "a", "data_hash": "x", "device_name": "CPU", "torch": "2.1"}
    digits = records(make_trial, make_record, {**one, "code_version": "b-dirty.1"}, one, one, {**one, "torch": "2.2"})
    svhn = records(make_trial, make_record, {**one, "data_hash": "y"}, dataset="svhn")
    assert mixed(digits + svhn) == ["4 trials by code a, 1 by b-dirty.1", "4 trials with torch 2.1, 1 with 2.2"]
    svhn += records(make_trial, make_record, {**one, "data_hash": "z", "device_name": "GPU"}, dataset="svhn")
    assert mixed(svhn) == ["1 trial on svhn y, 1 on z", "1 trial on CPU, 1 on GPU"]


def test_variables_that_change_bits_are_counted_and_their_absence_is_no_unknown(make_trial, make_record) -> None:
    one = {"code_version": "a", "torch": "2.1"}
    found = mixed(records(make_trial, make_record, one, one, {**one, "environment": "MKL_CBWR=AVX2"}))
    assert found == ["2 trials with no variable that changes bits, 1 with MKL_CBWR=AVX2"]


def test_what_was_not_written_down_is_unknown(make_trial, make_record) -> None:
    found = mixed(records(make_trial, make_record, {"code_version": "a", "torch": "2"}, {}))
    assert found == ["1 trial by code a, 1 by unknown", "1 trial with torch 2, 1 with unknown"]


def test_two_commits_of_the_same_sources_are_one_code_and_two_copies_of_a_version_are_not(
    make_trial, make_record
) -> None:
    same = {"torch": "2", "sources": "aaa"}
    alike = records(make_trial, make_record, {**same, "code_version": "c1"}, {**same, "code_version": "c2"})
    assert mixed(alike) == []
    wheels = {"torch": "2", "code_version": "0.1.0"}
    (note,) = mixed(records(make_trial, make_record, {**wheels, "sources": "aaa"}, {**wheels, "sources": "bbb"}))
    assert "0.1.0 (sources aaa)" in note
    assert "0.1.0 (sources bbb)" in note


@pytest.mark.parametrize(
    ("recorded", "rerun", "told"),
    [
        ({"code_version": "c1", "sources": "aaa"}, {"code_version": "c2", "sources": "aaa"}, []),
        ({"code_version": "c1", "sources": "aaa"}, {"code_version": "c1", "sources": "bbb"}, ["sources"]),
        ({"code_version": "c1", "sources": "a"}, {"code_version": "c2", "sources": "b"}, ["code_version", "sources"]),
        ({"code_version": "c1"}, {"code_version": "c1", "sources": "aaa"}, []),  # an older version wrote no sources
        ({"code_version": "c1"}, {"code_version": "c2", "sources": "aaa"}, ["code_version"]),
    ],
)
def test_other_sources_may_be_why_bits_differ(make_trial, make_record, recorded, rerun, told) -> None:
    trial, provenances = make_trial(), [{"torch": "2", **recorded}, {"torch": "2", **rerun}]
    one, other = (
        TrainingRecord(record=it, epochs=(), network_hash="") for it in records(make_trial, make_record, *provenances)
    )
    assert [difference.what for difference in compare(trial, one, other).provenance] == told


def test_provenance_of_another_type_costs_no_report(make_trial, make_record) -> None:
    """A record is what somebody wrote into the storage."""
    same = {"code_version": "a", "torch": "2.1"}
    forged = [dict(same, **{name: ["x"]}) for name in ("code_version", "device_name", "torch", "data_hash", "sources")]
    assert all("['x']" in note for note in mixed(records(make_trial, make_record, same, *forged)))
