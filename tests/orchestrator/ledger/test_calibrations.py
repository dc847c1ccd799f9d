"""Speeds in the storage: kept, replaced by later ones, brought elsewhere, and never believed when damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anytime_core.config import NetworkConfig, to_dict
from orchestrator.ledger import calibrations, checksummed
from orchestrator.ledger.bringing import source_at
from orchestrator.ledger.calibrations import Calibration, StepTimes
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweep.devices import Device

CPU = Device(name="some CPU", part=1)


def times(make_trial, c: int, *seconds: float) -> StepTimes:
    config = make_trial(network=NetworkConfig(n=1, c=c)).config
    return StepTimes(config=to_dict(config), step=seconds, epoch=0.5, evaluation=2.0)


def made(*shapes: StepTimes, time: str = "2026-01-01T00:00:00", torch: str = "1") -> Calibration:
    return Calibration(device=CPU, on={"torch": torch}, host="here", code="abc", time=time, shapes=shapes)


def test_a_step_has_its_share_of_epochs_and_evaluations(make_trial) -> None:
    config = make_trial().config  # two epochs of 22 steps
    known = times(make_trial, 2, 0.1, 0.2)
    assert known.of(config) == pytest.approx((0.1 + (2 * 0.5 + 2 * 2.0) / 44, 0.2 + (2 * 0.5 + 2 * 2.0) / 44))
    seldom = replace(config, training=replace(config.training, evaluations=1))
    assert known.of(seldom)[0] == pytest.approx(0.1 + (2 * 0.5 + 2.0) / 44)


def test_later_measurements_replace_those_of_the_same_shape_and_versions(make_trial, ledger: Ledger) -> None:
    calibrations.keep(ledger, made(times(make_trial, 2, 1.0), times(make_trial, 4, 1.0)))
    calibrations.keep(ledger, made(times(make_trial, 2, 3.0), time="2026-01-02T00:00:00"))
    (found,) = calibrations.read(ledger)
    assert {it.config["network"]["c"]: it.step for it in found.shapes} == {2: (3.0,), 4: (1.0,)}
    calibrations.keep(ledger, made(times(make_trial, 2, 5.0), time="2026-01-03T00:00:00", torch="2"))
    assert [it.on["torch"] for it in calibrations.read(ledger)] == ["1", "2"]


def test_another_storage_gives_what_is_newer(make_trial, ledger: Ledger, tmp_path: Path) -> None:
    theirs = Ledger(tmp_path / "theirs")
    theirs.make()
    calibrations.keep(theirs, made(times(make_trial, 2, 1.0)))
    source = source_at(theirs.storage, ledger)  # without a trial
    assert calibrations.bring(source, ledger) == 1
    assert calibrations.read(ledger) == calibrations.read(theirs)
    assert calibrations.bring(source, ledger) == 0
    calibrations.keep(ledger, made(times(make_trial, 4, 4.0), time="2026-02-01T00:00:00"))
    assert calibrations.bring(source, ledger) == 0  # ours is newer
    calibrations.keep(theirs, made(times(make_trial, 2, 2.0), time="2026-03-01T00:00:00"))
    assert calibrations.bring(source, ledger) == 1
    (found,) = calibrations.read(ledger)
    assert {it.config["network"]["c"]: it.step for it in found.shapes} == {2: (2.0,), 4: (4.0,)}


@pytest.mark.parametrize("damage", ["a digit", "a time", "a text", "a field", "no JSON", "a link"])
def test_what_is_damaged_is_named_and_left_out(make_trial, ledger: Ledger, caplog, damage: str, tmp_path: Path) -> None:
    calibrations.keep(ledger, made(times(make_trial, 2, 1.0)))
    (path,) = (ledger.local / calibrations.FOLDER).iterdir()
    content = checksummed.unpack(path.read_bytes())
    match damage:
        case "a digit":
            path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6"))
        case "a time":
            content["shapes"][0]["step"] = [-1.0]
            path.write_bytes(checksummed.pack(content))
        case "a text":
            path.write_bytes(checksummed.pack(content | {"host": "x" * 10_000}))
        case "a field":
            content["device"] = "some CPU"
            path.write_bytes(checksummed.pack(content))
        case "no JSON":
            path.write_bytes(b"{")
        case "a link":
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
    assert calibrations.read(ledger) == []
    assert f"{path.name} is damaged: " in caplog.text
