"""What trials took, against sums by hand: what nobody measured, or stated, is never a number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.analysis.expense import expense, joules, numbers, sentences
from orchestrator.errors import SweepError
from orchestrator.sweep.carbon import Carbon
from orchestrator.sweep.grid import Sweep
from orchestrator.sweep.limits import Price
from orchestrator.sweep.trial import TrialRecord
from orchestrator.tracking import views

TEXT = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}}
seeds: [0, 1]
training: {steps: 44, batch_size: 64}
"""
STATED = TEXT + "price: 3 EUR\ncarbon: 250.5 g/kWh\n"


@pytest.fixture(scope="module")
def sweep(load_text) -> Sweep:
    return load_text(STATED)


@pytest.fixture
def record(sweep, make_record):
    """Of 1.5 hours, the training half of which."""
    made = make_record(sweep.trials[0], (1.0, 2.0, 3.0))
    made = replace(made, result=replace(made.result, seconds=2700.0))

    def of(**provenance: Any) -> TrialRecord:
        return replace(made, provenance={"preparation_seconds": 1800.0, "ending_seconds": 900.0} | provenance)

    return of


def test_a_trial_on_cores_takes_the_energy_of_its_process_and_the_money_of_its_cores(sweep, record) -> None:
    found = numbers(sweep, expense(record(threads=2, cpu_joules=7.2e6)))
    assert found == {"kwh": 2.0, "cpu_kwh": 2.0, "co2_grams": 501.0, "cost_EUR": 2 * 1.5 * 3}


def test_a_trial_on_a_part_of_a_gpu_takes_that_part_of_its_energy(sweep, record) -> None:
    found = numbers(sweep, expense(record(threads=8, gpu_share=0.25, cpu_joules=3.6e6, gpu_joules=7.2e6)))
    assert found == {"kwh": 1.5, "cpu_kwh": 1.0, "gpu_kwh": 0.5, "co2_grams": 375.75, "cost_EUR": 0.25 * 1.5 * 3}


@pytest.mark.parametrize("known", [{"cpu_joules": 3.6e6}, {"gpu_joules": 3.6e6}, {"cpu_joules": "1", "gpu_joules": -1}])
def test_half_of_the_energy_is_not_the_energy(sweep, record, known) -> None:
    found = numbers(sweep, expense(record(threads=8, gpu_share=1.0, **known)))
    assert (found["kwh"], found["co2_grams"]) == (None, None)
    assert found["cost_EUR"] == 4.5


def test_what_is_not_stated_is_not_worked_out(load_text, record) -> None:
    assert numbers(load_text(TEXT), expense(record(threads=1, cpu_joules=3.6e6))) == {"kwh": 1.0, "cpu_kwh": 1.0}
    assert numbers(load_text(STATED), expense(record()))["cost_EUR"] is None


def test_a_sum_of_epochs_wants_all_of_them(make_epochs) -> None:
    one, two = make_epochs(2, 3, cpu_joules=4.0, gpu_joules=1.0)
    assert joules([one, two]) == {"cpu_joules": 8.0, "gpu_joules": 2.0}
    assert joules([one, replace(two, cpu_joules=None)]) == {"gpu_joules": 2.0}
    assert joules([]) == {}


def test_a_sweep_says_of_how_many_trials_its_sums_are(sweep, load_text, record) -> None:
    measured, not_measured, old = record(threads=1, cpu_joules=3.6e6), record(threads=1), record()
    assert sentences(sweep, [measured, measured]) == {
        "energy": "2 kWh",
        "CO2": "501 g at 250.5 g/kWh",
        "cost": "9.00 EUR at 3.00 EUR an hour of a device",
    }
    assert sentences(sweep, [measured, not_measured, old]) == {
        "energy": "1 kWh in 1 of 3 trials; not measured in the others",
        "CO2": "250.5 g at 250.5 g/kWh in 1 of 3 trials; not measured in the others",
        "cost": "9.00 EUR at 3.00 EUR an hour of a device in 2 of 3 trials; not known in the others",
    }
    assert sentences(sweep, [old]) == sentences(load_text(TEXT), []) == {"energy": "not measured"}


def test_runs_in_mlflow_have_what_is_known(sweep, record) -> None:
    tags = views.expense_tags(sweep, record(threads=1, cpu_joules=3.6e6))
    assert tags == {"kwh": "1", "cpu_kwh": "1", "co2_grams": "250.5", "cost_EUR": "4.5"}
    assert views.expense_tags(sweep, record(threads=1)) == {"cost_EUR": "4.5"}


def test_price_and_carbon_change_no_id_and_are_checked(load_text) -> None:
    assert load_text(STATED).ids == load_text(TEXT).ids
    assert (load_text(STATED).carbon, load_text(STATED).price) == (Carbon(grams=250.5), Price(amount=3, currency="EUR"))
    with pytest.raises(
        SweepError, match=r"carbon: given '400'; allowed: grams of CO2 for a kilowatt-hour, such as 400 g"
    ):
        load_text(TEXT + "carbon: 400\n")
