"""A sweep made in Python is the one of the file, and is refused in the same words; what both share with a shell."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from written import RAMP, REPORTS

from orchestrator import api
from orchestrator.cli import cli
from orchestrator.errors import GoneError, RunError, SweepError, UsageError
from orchestrator.ledger import last_run
from orchestrator.ledger.ledger import Ledger
from orchestrator.sweepfile.load import activate, load

REPOSITORY = Path(__file__).parents[3]
LEAST = {"networks": [{"n": 1, "c": 2}], "datasets": ["digits"], "methods": {"ann": {}}}


def ids(sweep: api.Sweep) -> list[str]:
    return sweep.plan().frame["id"].tolist()


@pytest.mark.parametrize("name", ["quickstart", "table6", "select_gamma", "msdnet", "field_digits"])
def test_what_a_file_says_can_be_said_in_python_and_saved_as_a_file(name) -> None:
    path = REPOSITORY / "sweeps" / f"{name}.yaml"
    sweep = api.Sweep(**yaml.safe_load(path.read_text()))
    sweep.save("again.yaml")
    trials = [trial.id for trial in load(path).trials]
    assert [trial.id for trial in load(Path("again.yaml")).trials] == trials
    assert sorted(ids(sweep)) == sorted(trials)
    with pytest.raises(UsageError, match=r"again\.yaml: cannot be written: File exists"):
        sweep.save("again.yaml")


def test_values_of_python_are_those_that_a_file_would_have(tmp_path) -> None:
    seeds = iter((2, 0))
    networks = ({"n": np.int64(n), "c": 2} for n in (1, 2))
    methods = {"ann": {}, "opt": {"regime": "opt", "at": (Fraction(1, 2), 1)}}
    made = api.Sweep(networks=networks, datasets=("digits",), methods=methods, seeds=seeds, name="a")
    methods["opt"] = {}  # changes nothing any more
    made.save(tmp_path / "a.yaml")
    assert yaml.safe_load((tmp_path / "a.yaml").read_text()) == {
        "name": "a",
        "networks": [{"n": 1, "c": 2}, {"n": 2, "c": 2}],
        "datasets": ["digits"],
        "methods": {"ann": {}, "opt": {"regime": "opt", "at": ["1/2", 1]}},
        "seeds": [2, 0],
    }
    assert len(ids(api.Sweep(**LEAST, seeds=np.arange(3)))) == len(ids(api.Sweep(**LEAST, seeds=range(3)))) == 3


def test_all_faults_are_told_at_once_as_of_a_file_but_for_lines(tmp_path) -> None:
    content = {**LEAST, "networks": [{"n": 0, "c": 2}], "training": {"step": 3}, "sead": 1}
    with pytest.raises(SweepError) as made:
        api.Sweep(**content)
    head, *faults = str(made.value).splitlines()
    assert head == "api.Sweep: 3 faults"
    (tmp_path / "file.yaml").write_text(json.dumps({"name": "sweep", **content}))
    with pytest.raises(SweepError) as loaded:
        api.load("file.yaml")
    assert sorted(faults) == sorted(line.replace("line 1: ", "") for line in str(loaded.value).splitlines()[1:])
    assert any("sead: unknown key; allowed: " in fault and "did you mean seeds?" in fault for fault in faults)


def test_a_file_that_is_not_there_and_settings_that_cannot_be_are_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read: No such file"):
        api.load("none.yaml")
    sweep = api.Sweep(**LEAST)
    with pytest.raises(UsageError) as refused:
        sweep.plan(cpus=0, gpus=2, slots=True)
    assert str(refused.value).splitlines() == [
        "cpus: given 0; must be a whole number of at least 1",
        "slots: given True; must be a whole number of at least 1",
        "gpus: given 2; must be from 0 to 1, or auto",
    ]
    with pytest.raises(UsageError, match="--address nowhere: allowed: local"):
        sweep.run(address="nowhere")
    with pytest.raises(UsageError, match="storage 'gs://x': allowed: a folder"):
        api.Sweep(**LEAST, storage="gs://x")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file: is a file; must be a folder"):
        api.Sweep(**LEAST, storage="file")


@pytest.mark.parametrize(
    ("given", "variable", "seconds"),
    [(None, None, 30), (None, "2m", 120), ("8m", "2m", 480), (timedelta(0), "2m", 0), (timedelta(hours=1), None, 3600)],
)
def test_a_run_takes_the_grace_that_the_command_takes(monkeypatch, given, variable, seconds) -> None:
    def run(sweep, settings, console):
        assert (settings.grace, settings.wait_for_nodes) == (seconds, True)
        raise RunError("reached")

    monkeypatch.setattr("orchestrator.execution.driver.run", run)
    monkeypatch.setenv("ORCHESTRATE_GRACE", variable) if variable else monkeypatch.delenv("ORCHESTRATE_GRACE", False)
    with pytest.raises(RunError, match="reached"):
        api.Sweep(**LEAST).run(grace=given, wait_for_nodes=True)


def test_a_grace_that_is_no_span_is_refused_and_its_variable_named(monkeypatch) -> None:
    with pytest.raises(UsageError, match="grace: given 'soon'; allowed: a number with s, m, h, d or w"):
        api.Sweep(**LEAST).run(grace="soon")
    monkeypatch.setenv("ORCHESTRATE_GRACE", "later")
    with pytest.raises(UsageError, match=r"grace: given 'later'; .* \(given by ORCHESTRATE_GRACE\)"):
        api.Sweep(**LEAST).run()


def test_a_sweep_runs_in_the_main_thread_alone() -> None:
    said: list[str] = []

    def run() -> None:
        try:
            api.Sweep(**LEAST).run()
        except UsageError as error:
            said.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert said == ["run: must be called in the main thread, which alone hears ctrl-C"]
    assert not Path("runs").exists()


def test_the_storage_is_that_of_the_commands_and_stays_where_it_is(tmp_path, monkeypatch) -> None:
    assert api.Sweep(**LEAST).storage == tmp_path / "runs"
    monkeypatch.setenv("ORCHESTRATE_STORAGE", "elsewhere")
    sweep = api.Sweep(**LEAST)
    monkeypatch.chdir("/")
    assert sweep.storage == tmp_path / "elsewhere"
    assert repr(sweep) == f"Sweep sweep: 1 trial; storage: {tmp_path / 'elsewhere'}"
    assert api.Sweep(**LEAST, storage="s3://bucket/runs").storage == "s3://bucket/runs"


@pytest.mark.parametrize("command", ["plan", "status"])
def test_frames_have_the_rows_that_the_commands_print(ended, command) -> None:
    done = CliRunner().invoke(cli, [command, "small.yaml", "--format", "json"], catch_exceptions=False)
    frame = getattr(api.load("small.yaml"), command)().frame
    assert json.loads(frame.to_json(orient="records", double_precision=15)) == json.loads(done.stdout)


@pytest.mark.parametrize("name", ["errors", "wins", "increases", "verdicts", "ranking"])
def test_tables_have_the_rows_that_report_prints(ended, name) -> None:
    done = CliRunner().invoke(cli, ["report", "small.yaml", "--format", "json"], catch_exceptions=False)
    rows = json.loads(api.load("small.yaml").table(name).to_json(orient="records", double_precision=15))
    for row, said in zip(rows, json.loads(done.stdout)[name], strict=True):
        assert row == {key: pytest.approx(value, abs=1e-12) for key, value in said.items()}


def test_views_say_what_the_commands_print(ended) -> None:
    sweep = api.load("small.yaml")
    for command, view in ((["report"], sweep.report()), (["status", "--wide"], sweep.status())):
        done = CliRunner().invoke(cli, [*command, "small.yaml"], catch_exceptions=False)
        assert str(view).split() == done.stdout.split()
    said = CliRunner().invoke(cli, ["report", "small.yaml", "--verdict"], catch_exceptions=False)
    assert str(sweep.verdicts()).strip() == said.stdout.strip()
    planned = CliRunner().invoke(cli, ["plan", "--wide", "small.yaml"], catch_exceptions=False)
    assert str(sweep.plan()).split()[1:] == planned.stdout.split()[1:]  # a name in the place of a file
    with pytest.raises(UsageError, match=r"no table is named 'win'; allowed: errors, .*did you mean wins"):
        sweep.table("win")


# Extensions


@pytest.fixture
def ramp(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "ramp.py").write_text(RAMP)
    (tmp_path / "reports.py").write_text(REPORTS)
    yield tmp_path / "ramp.py"
    activate([])


def test_extensions_are_trusted_by_whoever_says_so_and_for_that_sweep_alone(ramp) -> None:
    content = LEAST | {"methods": {"ann": {}, "ramp": {"weights": "ramp"}}, "extensions": ["ramp.py"]}
    with pytest.raises(UsageError, match=r"api\.Sweep would import ramp\.py, which is new here"):
        api.Sweep(**content)
    assert len(ids(api.Sweep(**content, trust=True))) == 2
    with pytest.raises(UsageError, match=r"would import reports\.py"):
        api.Sweep(**LEAST, extensions=["reports.py"])


def test_what_a_sweep_would_do_besides_training_must_be_trusted(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with pytest.raises(UsageError, match=r"api\.Sweep would run mail-me when the sweep ends"):
        api.Sweep(**LEAST, notify={"command": ["mail-me"]}).run()
    with pytest.raises(UsageError, match="--notify: "):
        api.Sweep(**LEAST).run(notify="$no hook")
    assert not Path("runs").exists()


def test_sweeps_with_other_extensions_do_not_disturb_each_other(ramp) -> None:
    own = {"extensions": ["ramp.py", "reports.py"], "report": {"tables": ["counts"], "p_value": "cautious"}}
    one = api.Sweep(**LEAST | {"methods": {"ann": {}, "ramp": {"weights": "ramp"}}}, **own, trust=True)
    other = api.Sweep(**LEAST)
    assert "cautious" not in str(other.report())
    assert "Lines" in str(one.report())
    assert len(ids(other)) == 1
    assert len(ids(one)) == 2


def test_a_sweep_whose_extension_is_gone_is_read_and_not_run(ramp, tmp_path) -> None:
    content = {"name": "gone", **LEAST, "methods": {"ann": {}, "ramp": {"weights": "ramp"}}, "extensions": ["ramp.py"]}
    Path("gone.yaml").write_text(json.dumps(content))
    api.load("gone.yaml", trust=True)
    ledger = Ledger(tmp_path / "runs")
    ledger.make()
    last_run.remember(load(Path("gone.yaml")), ledger)
    ramp.unlink()
    with pytest.warns(UserWarning, match="shown is the sweep as it was last run"):
        shown = api.load("gone.yaml")
    assert shown.status().frame["method"].tolist() == ["ann", "ramp"]
    for refused in (shown.plan, shown.run):
        with pytest.raises(GoneError, match=r"ramp\.py"):
            refused()


# What people say of it


def test_notes_are_written_and_listed_and_a_log_is_read(ended, tmp_path, monkeypatch) -> None:
    copytree(ended.path.parent, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    sweep, trial = api.load("small.yaml"), next(it for it in ended.sweep.trials if "aann (1,2)" in it.cell.label)
    assert sweep.notes().columns.tolist() == ["id", "time", "who", "about", "trial", "note"]
    ids = [sweep.note("of the sweep"), sweep.note("of a trial", "aann (1,2)", seed=trial.config.seed)]
    noted = sweep.notes().set_index("id").loc[ids]
    assert noted["about"].tolist() == ["sweep small", trial.cell.label]
    assert noted["note"].tolist() == ["of the sweep", "of a trial"]
    assert noted["trial"].tolist()[1] == trial.id
    assert sweep.log("aann (1,2)", seed=trial.config.seed) == ""
    Path("runs", "trials", trial.id, "log.txt").write_text("a\nb\nc\n")
    assert sweep.log(trial.id, tail=2) == "b\nc\n"
    for call in (lambda: sweep.note("x", "nobody"), lambda: sweep.log("ann"), lambda: sweep.note(" ")):
        with pytest.raises(UsageError):
            call()


def test_a_bundle_is_that_of_the_command_and_needs_a_file_of_the_sweep(ended, tmp_path) -> None:
    sweep = api.load("small.yaml")
    made = sweep.bundle(tmp_path / "mine.zip")
    done = CliRunner().invoke(cli, ["bundle", "small.yaml", "--output", str(tmp_path / "theirs.zip")])
    assert done.exit_code == 0
    assert made.read_bytes() == (tmp_path / "theirs.zip").read_bytes()
    for path, of in ((tmp_path / "mine.tar", sweep), (tmp_path / "none.zip", api.Sweep(**LEAST))):
        with pytest.raises(UsageError):
            of.bundle(path)
        assert not path.exists()


def test_only_what_has_ended_is_trained_again(ended) -> None:
    sweep = api.load("small.yaml")
    with pytest.raises(UsageError) as refused:
        sweep.run(rerun=["aann (2,2)/2 seed 1", "nobody"])
    assert "aann (2,2)/2 digits seed 1 has not ended" in str(refused.value)
    assert "nobody" in str(refused.value)


# What is imported

READS = """
import sys
from orchestrator import api
sweep = api.load("small.yaml")
sweep.plan(), sweep.status(), sweep.report()._repr_html_(), sweep.verdicts()
assert "pandas" not in sys.modules
sweep.errors(), sweep.epochs(), sweep.outcomes("aann", "(1,2)"), sweep.table("wins")
sweep.notes(), sweep.log("aann (1,2) seed 0")
print(sorted({"torch", "ray", "mlflow", "IPython", "matplotlib"} & set(sys.modules)))
"""


def test_reading_imports_neither_torch_nor_ray_nor_mlflow(ended) -> None:
    done = subprocess.run([sys.executable, "-c", READS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
