"""Trials of other storages: they arrive whole or not at all, and nothing here is changed by them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path

import pytest
from halves import changed, contents

from anytime_core.trained import load_network
from orchestrator.errors import StorageError, UsageError
from orchestrator.ledger import bundling, checksummed, last_run, notes
from orchestrator.ledger.bringing import Brought, Fate, bring, bring_notes, bring_sweeps, ids_in, source_at
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import LocalStorage, Location
from orchestrator.report.status import read_tables
from orchestrator.report.views import render
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.trial import TrialState


def brought(source: Location, ledger: Ledger) -> list[Brought]:
    storage = source_at(source, ledger)
    return list(bring(storage, ledger, ids_in(storage)))


def fates(source: Location, ledger: Ledger) -> Counter[Fate]:
    return Counter(each.fate for each in brought(source, ledger))


def some(ledger: Ledger) -> tuple[str, Path]:
    """A trial, and its folder."""
    trial_id = min(ledger.begun())
    return trial_id, ledger.folder(trial_id)


def rewrite(path: Path, **changes: object) -> None:
    """A file of JSON with other content and the right checksum."""
    path.write_bytes(checksummed.pack(checksummed.unpack(path.read_bytes()) | changes))


def test_two_halves_are_the_tables_of_one_run(
    both: Sweep, first: Ledger, second: Ledger, whole_run: Ledger, ledger: Ledger, tmp_path: Path
) -> None:
    bundling.write(both, second, tmp_path / "second.zip", both.ids)
    assert fates(first.storage, ledger) == {Fate.COPIED: 2}
    assert fates(tmp_path / "second.zip", ledger) == {Fate.COPIED: 2}
    merged, one = read_tables(both, ledger), read_tables(both, whole_run)
    assert render.report_json(merged) == render.report_json(one)
    for long in render.long_tables(one).values():
        assert long.csv(merged) == long.csv(one)
    for trial in both.trials:
        assert ledger.outcomes(trial.id).keys() == {"test"}
        ours, theirs = (load_network(it.checkpoints(trial.id)).state_dict() for it in (ledger, whole_run))
        assert all(ours[name].equal(values) for name, values in theirs.items())


def test_the_files_arrive_as_they_were_and_once(first: Ledger, ledger: Ledger) -> None:
    assert fates(first.storage, ledger) == {Fate.COPIED: 2}
    arrived, sent = (contents(it.local / "trials") for it in (ledger, first))
    assert arrived.keys() == sent.keys()
    assert {name for name in sent if arrived[name] != sent[name]} == {
        f"{trial_id}/attempt.json" for trial_id in first.begun()
    }
    before = changed(ledger.local / "trials")
    assert fates(first.storage, ledger) == {Fate.THERE: 2}
    assert changed(ledger.local / "trials") == before


def test_other_bits_are_shown_and_not_merged(first: Ledger, ledger: Ledger) -> None:
    brought(first.storage, ledger)
    trial_id, folder = some(first)
    ours = first.record(trial_id)
    assert ours is not None
    other = replace(ours.result, errors=(90.0, 80.0, 12.5))
    rewrite(folder / "result.json", result=asdict(other), provenance=ours.provenance | {"network_hash": "0" * 16})
    before = changed(ledger.local / "trials")
    differing, same = brought(first.storage, ledger)
    assert same.fate is Fate.THERE
    assert (differing.trial_id, differing.fate, differing.what) == (trial_id, Fate.DIFFERS, "errors, network")
    assert differing.theirs.startswith(f"12.5 % error, network {'0' * 16}, on ")
    assert differing.ours.startswith(f"{ours.result.errors[-1]:.6g} % error, network {ours.provenance['network_hash']}")
    assert changed(ledger.local / "trials") == before


def test_times_are_no_other_bits(first: Ledger, ledger: Ledger) -> None:
    brought(first.storage, ledger)
    _, folder = some(first)
    content = checksummed.unpack((folder / "result.json").read_bytes())
    rewrite(folder / "result.json", result=content["result"] | {"seconds": 99.0})
    assert fates(first.storage, ledger) == {Fate.THERE: 2}


@pytest.mark.parametrize("name", ["result.json", "metrics.parquet", "outcomes.parquet", "checkpoints"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_what_is_damaged_is_named_and_left(first: Ledger, ledger: Ledger, name: str, share: float) -> None:
    trial_id, folder = some(first)
    path = next((folder / name).iterdir()) if name == "checkpoints" else folder / name
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 16
    path.write_bytes(content)
    damaged, copied = brought(first.storage, ledger)
    assert (damaged.trial_id, damaged.fate, copied.fate) == (trial_id, Fate.DAMAGED, Fate.COPIED)
    assert damaged.what.startswith(f"{path.relative_to(folder)}: ")
    assert not (ledger.local / "trials" / trial_id).exists()


def test_an_id_stands_for_its_config(first: Ledger, ledger: Ledger) -> None:
    trial_id, folder = some(first)
    config = checksummed.unpack((folder / "result.json").read_bytes())["config"]
    rewrite(folder / "result.json", config=config | {"seed": 7})
    damaged = brought(first.storage, ledger)[0]
    assert (damaged.trial_id, damaged.fate) == (trial_id, Fate.DAMAGED)
    assert damaged.what.startswith("result.json: its config is that of ")


def test_files_of_another_network_are_refused(first: Ledger, ledger: Ledger) -> None:
    one, other = (first.folder(trial_id) for trial_id in sorted(first.begun()))
    shutil.copytree(other / "checkpoints", one / "checkpoints", dirs_exist_ok=True)
    assert "and its trial trained" in brought(first.storage, ledger)[0].what


def test_a_trial_that_has_not_ended_stays_where_it_is(first: Ledger, ledger: Ledger) -> None:
    _, folder = some(first)
    (folder / "result.json").unlink()
    assert fates(first.storage, ledger) == {Fate.OPEN: 1, Fate.COPIED: 1}


def test_what_a_sweep_trains_now_is_left_to_it(both: Sweep, first: Ledger, ledger: Ledger) -> None:
    trial_id, _ = some(first)
    trial = next(it for it in both.trials if it.id == trial_id)
    with ledger.drive("halves", "driver"):
        attempt = ledger.begin(trial, "halves", driver="driver")
        running = brought(first.storage, ledger)[0]
        assert (running.fate, running.what) == (Fate.RUNNING, "by sweep halves")
        ledger.check(attempt)
    assert fates(first.storage, ledger) == {Fate.COPIED: 1, Fate.THERE: 1}


def test_an_attempt_that_begins_meanwhile_wins(
    both: Sweep, first: Ledger, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial_id, _ = some(first)
    trial = next(it for it in both.trials if it.id == trial_id)
    write, attempts = LocalStorage.write, []

    def written(self: LocalStorage, name: str, *rest: object) -> None:
        if name == f"trials/{trial_id}/outcomes.parquet" and not attempts:
            attempts.append(ledger.begin(trial))
        write(self, name, *rest)

    monkeypatch.setattr(LocalStorage, "write", written)
    assert brought(first.storage, ledger)[0].fate is Fate.RUNNING
    ledger.check(attempts[0])
    assert ledger.state(trial_id) is TrialState.INTERRUPTED


def test_a_kill_at_any_write_leaves_whole_trials_and_the_next_goes_on(
    first: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = LocalStorage.write, [0]

    class KilledError(BaseException):
        pass

    def dies(self: LocalStorage, name: str, *rest: object) -> None:
        if name.startswith("trials/"):
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
        write(self, name, *rest)

    monkeypatch.setattr(LocalStorage, "write", dies)
    sent = {name: content for name, content in contents(first.local).items() if not name.endswith("attempt.json")}
    for writes in count():
        ledger = Ledger(tmp_path / f"killed {writes}")
        ledger.make()
        left[0] = writes
        try:
            brought(first.storage, ledger)
            break
        except KilledError:
            for trial_id in ledger.all_records():
                names = {path.name for path in ledger.folder(trial_id).rglob("*") if path.is_file()}
                assert {"metrics.parquet", "outcomes.parquet", "step-000000044.ckpt"} <= names
        left[0] = 1 << 30
        assert set(fates(first.storage, ledger)) <= {Fate.COPIED, Fate.THERE}
        arrived = contents(ledger.local)
        assert {name: arrived[name] for name in sent if name.startswith("trials/")} == {
            name: content for name, content in sent.items() if name.startswith("trials/")
        }
    assert writes == 2 * 6


def test_the_end_takes_the_place_of_what_was_under_way(both: Sweep, first: Ledger, ledger: Ledger) -> None:
    """Its checkpoint, of another training, must not pass for the network."""
    trial_id, folder = some(first)
    ledger.begin(next(it for it in both.trials if it.id == trial_id))
    shutil.copytree(folder / "checkpoints", ledger.folder(trial_id) / "checkpoints")
    own = next((ledger.folder(trial_id) / "checkpoints").iterdir())
    own.rename(own.with_name("step-000000999.ckpt"))
    shutil.rmtree(folder / "checkpoints")
    assert fates(first.storage, ledger) == {Fate.COPIED: 2}
    assert list((ledger.folder(trial_id) / "checkpoints").iterdir()) == []
    assert ledger.state(trial_id) is TrialState.FINISHED


def test_nothing_of_a_training_that_failed_here_stays_beside_a_result_from_there(
    both: Sweep, first: Ledger, ledger: Ledger
) -> None:
    trial_id, folder = some(first)
    attempt = ledger.begin(next(it for it in both.trials if it.id == trial_id))
    ledger.write_log(attempt, b"what went wrong here")
    ledger.fail(attempt, "no memory")
    (ledger.folder(trial_id) / "guarantees.json").write_bytes(
        checksummed.pack({"network_hash": "0", "calibrations": []})
    )
    (folder / "log.txt").unlink(missing_ok=True)
    assert fates(first.storage, ledger) == {Fate.COPIED: 2}
    assert (ledger.log(trial_id), ledger.guarantees(trial_id)) == ("", None)
    assert ledger.outcomes(trial_id).keys() == {"test"}


def texts(ledger: Ledger, trial_id: str) -> tuple[list[str], list[str]]:
    """The notes on the sweep, and on a trial."""
    found = notes.read(ledger, "sweeps", ["halves"]), notes.read(ledger, "trials", [trial_id])
    of_sweep, of_trial = ([note.text for those in each.values() for note in those] for each in found)
    return sorted(of_sweep), sorted(of_trial)


def test_the_notes_of_two_storages_are_those_of_both(
    both: Sweep, first: Ledger, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial_id, _ = some(first)
    notes.add(first, "sweeps", "halves", "there")
    notes.add(first, "trials", trial_id, "odd")
    notes.add(ledger, "sweeps", "halves", "here")
    bundling.write(both, first, tmp_path / "first.zip")
    assert texts(Ledger(tmp_path / "first.zip"), trial_id) == texts(first, trial_id)
    for source in (first.storage, tmp_path / "first.zip"):
        new = bring_notes(source_at(source, ledger), ledger)
        assert new == (2 if source == first.storage else 0)
        assert texts(ledger, trial_id) == (["here", "there"], ["odd"])
    before = contents(ledger.local / "notes")
    (path,) = (first.local / "notes" / "trials" / trial_id).iterdir()
    rewrite(path, text="another note of the same name")
    assert bring_notes(source_at(first.storage, ledger), ledger, both) == 1
    assert bring_notes(source_at(first.storage, ledger), ledger, both) == 0
    assert texts(ledger, trial_id)[1] == ["another note of the same name", "odd"]
    assert before.items() <= contents(ledger.local / "notes").items()
    monkeypatch.setattr(notes, "MOST_NOTES", 2)
    notes.add(first, "trials", trial_id, "a third")
    assert bring_notes(source_at(first.storage, ledger), ledger) == 0
    path.write_bytes(b"{")
    assert bring_notes(source_at(first.storage, ledger), ledger) == 0


def test_what_a_bundle_left_out_comes_later(both: Sweep, first: Ledger, ledger: Ledger, tmp_path: Path) -> None:
    bundling.write(both, first, tmp_path / "first.zip")
    assert fates(tmp_path / "first.zip", ledger) == {Fate.COPIED: 2}
    later = brought(first.storage, ledger)
    assert [(each.fate, each.what) for each in later] == [(Fate.COMPLETED, "checkpoints")] * 2
    for trial_id in first.begun():
        load_network(ledger.checkpoints(trial_id))


@pytest.mark.parametrize("lost", ["checkpoints", "outcomes.parquet"])
@pytest.mark.parametrize("hashed", [True, False])
def test_what_is_missing_is_never_taken_from_another_network(
    first: Ledger, ledger: Ledger, lost: str, hashed: bool
) -> None:
    brought(first.storage, ledger)
    one, other = (first.folder(trial_id) for trial_id in sorted(first.begun()))
    content = checksummed.unpack((one / "result.json").read_bytes())
    if not hashed:
        content["provenance"].pop("network_hash")
    (one / "result.json").write_bytes(checksummed.pack(content))
    if lost == "checkpoints":
        shutil.copytree(other / lost, one / lost, dirs_exist_ok=True)
        shutil.rmtree(ledger.folder(one.name) / lost)
    else:
        shutil.copy(other / lost, one / lost)
        (ledger.folder(one.name) / lost).unlink()
    before = changed(ledger.local / "trials")
    assert brought(first.storage, ledger)[0].fate is (Fate.DAMAGED if hashed else Fate.THERE)
    assert changed(ledger.local / "trials") == before


def test_what_a_sweep_was_made_of_comes_along_unless_it_is_here(both: Sweep, first: Ledger, ledger: Ledger) -> None:
    last_run.remember(both, first)
    for description in ("", "another"):
        bring_sweeps(source_at(first.storage, ledger), ledger)
        assert ledger.read_sweep("halves") == last_run.content(both)
        last_run.remember(replace(both, description=description), first)


def test_only_another_storage_can_be_brought(first: Ledger, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ledger.local)
    for place in (ledger.local, tmp_path / "link"):
        with pytest.raises(UsageError, match="is the storage itself"):
            source_at(place, ledger)
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(UsageError, match="holds no trials"):
            source_at(place, ledger)


def test_links_in_a_storage_are_not_followed(first: Ledger, ledger: Ledger, tmp_path: Path) -> None:
    _, folder = some(first)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    damaged, copied = brought(first.storage, ledger)
    assert (damaged.fate, copied.fate) == (Fate.DAMAGED, Fate.COPIED)
    assert "is a symbolic link" in damaged.what


def test_names_that_are_no_ids_are_passed_over(first: Ledger, ledger: Ledger) -> None:
    _, folder = some(first)
    shutil.copytree(folder, first.local / "trials" / "notes")
    assert fates(first.storage, ledger) == {Fate.COPIED: 2}


def test_a_full_disk_is_told(first: Ledger, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: LocalStorage, name: str, *rest: object) -> None:
        raise OSError(28, "No space left on device", str(self.path / name))

    monkeypatch.setattr(LocalStorage, "write", full)
    monkeypatch.setattr(Ledger, "make", lambda self: None)
    with pytest.raises(StorageError, match="storage cannot be written: No space left on device"):
        brought(first.storage, ledger)


def test_the_config_of_an_arrived_trial_is_that_of_its_id(first: Ledger, ledger: Ledger) -> None:
    trial_id, folder = some(first)
    (folder / "config.json").write_text("{}")
    brought(first.storage, ledger)
    record = ledger.record(trial_id)
    assert record is not None
    assert json.loads((ledger.folder(trial_id) / "config.json").read_text()) == record.config
