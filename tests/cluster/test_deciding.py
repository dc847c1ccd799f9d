"""One command adds seeds until each comparison is decided, and no more; after a kill it decides the same."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from cluster_user import ONE_FIGURE, Finished, User, wait_until

from orchestrator.ledger.choices import chosen
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile.load import load

pytestmark = pytest.mark.cluster

DECIDES = f"""
name: decides
networks: [{{n: 1, c: 2}}]
datasets: [digits]
methods:
  ann: {{}}
  aann: {{strategy: {{name: aann, gamma: 4}}}}
  same: {{strategy: ann}}
training: {{steps: 22, batch_size: 64, learning_rate: {{0: 0.1}}}}
decide: {{compare: [ann > aann at AE, same > ann at AE], at_most: {{seeds: 20}}, first: 2, rope: 0}}
{ONE_FIGURE}
"""


TELL = ("--notify", "sh -c 'cat >> told; echo >> told'")


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> tuple[User, Finished]:
    """Killed in one of its rounds, then run to its end."""
    user = User(tmp_path_factory.mktemp("decides"), DECIDES)
    process = user.start("sweep", *TELL)
    wait_until(lambda: len(user.results()) >= 5, "a second round has begun")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return user, user.run("sweep", *TELL)


def test_it_trains_what_its_results_ask_for_and_nothing_else(decided: tuple[User, Finished]) -> None:
    user, done = decided
    assert done.code == 0, done.stderr
    now = chosen(load(user.sweep_file), Ledger(user.storage))
    assert set(user.results()) == {trial.id for trial in now.trials}
    assert now.deciding is not None
    assert now.deciding.is_over
    assert len(now.trials) < 20 * 2, "less than all seeds of the two methods that differ"
    won, same = now.deciding.standings
    assert str(same.decision) == "no better"
    assert same.seeds == 7, "2^8 / 8 is the first of these above 20"
    assert won.wins + won.losses + won.ties == won.seeds, "a pair for each seed"


def test_people_see_it_in_the_terminal_in_status_and_in_the_report(decided: tuple[User, Finished]) -> None:
    user, done = decided
    line = "same > ann at AE   no better: most pairs gain at most 0 points, after 7 of at most 20 seeds"
    assert line in done.stdout
    assert line in user.run("status").stdout
    assert line in user.run("plan").stdout
    assert "same > ann at AE: no better" in done.stderr
    report = user.storage / "sweeps" / "decides" / "report"
    assert "Decisions by e-values" in (report / "report.txt").read_text()
    assert "Results chose the number of seeds" in (report / "report.html").read_text()


def test_who_is_to_be_notified_hears_of_each_decision(decided: tuple[User, Finished]) -> None:
    user, _ = decided
    told = [json.loads(line) for line in Path(user.folder, "told").read_text().splitlines() if line]
    assert {each["text"].split(":")[1].strip() for each in told if each["event"] == "decided"} >= {"same > ann at AE"}


def test_mlflow_has_each_e_value(decided: tuple[User, Finished]) -> None:
    user, _ = decided
    keys = {key for (key,) in user.database().execute("SELECT DISTINCT key FROM latest_metrics")}
    assert {"e_value/ann _ aann at AE", "e_value/same _ ann at AE"} <= keys


def test_the_same_command_again_trains_nothing(decided: tuple[User, Finished]) -> None:
    user, _ = decided
    before = len(user.results())
    again = user.run("sweep")
    assert again.code == 0
    assert len(user.results()) == before
