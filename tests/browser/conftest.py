"""A real browser without a window, and a report such as the paper's grid would give."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from orchestrator.report.pages.page import PageContent, TrialRow, page
from orchestrator.table import Column, Entry, Table

PROGRAMS = ("chromium", "chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --force-prefers-reduced-motion "
    "--window-size=1440,1000"
)
METRICS = ("1/4", "1/2", "3/4", "1", "AE")
DATASETS = ("svhn", "cifar10", "cifar100")
Errors = dict[tuple[str, str, str, str], float]


@pytest.fixture(scope="session")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chromium, driver = map(shutil.which, PROGRAMS)
    if not chromium or not driver:
        reason = "no browser: install chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_OFFLINE", "true")  # selenium never fetches a browser or a driver
        with Chrome(options=options, service=ChromeService(executable_path=driver)) as started:
            yield started


@pytest.fixture
def desktop(chrome: Chrome) -> Chrome:
    """The browser as if nothing had been shown before."""
    chrome.get("about:blank")
    chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    for kind in ("browser", "performance"):
        chrome.get_log(kind)
    return chrome


@pytest.fixture
def show(desktop: Chrome, tmp_path: Path) -> Callable[[PageContent], Chrome]:
    def shown(content: PageContent) -> Chrome:
        path = tmp_path / "report.html"
        path.write_text(page(content), encoding="utf-8")
        desktop.get(path.as_uri())
        return desktop

    return shown


@pytest.fixture(scope="session")
def errors() -> Errors:
    """The paper's Table 6 by network, method, data set and metric."""
    path = files("orchestrator.paper.reference") / "table6.csv"
    with path.open(newline="") as lines:
        return {
            (f"({row['n']},{row['c']})", row["method"], row["dataset"], row["metric"]): float(row["error_pct"])
            for row in csv.DictReader(lines)
        }


@pytest.fixture(scope="session")
def content(errors: Errors) -> PageContent:
    """As large as the paper's: 91 rows of 17 columns, 390 trials, three figures."""
    return PageContent(
        title="table6",
        description="Thirteen networks on three data sets, trained by six ways of weighting the losses, and for each "
        "depth alone.",
        tables=(_error_table(errors), _increase_table()),
        figures={
            "2a: error by depth, (5,16) on CIFAR-100": _curves("AANN", "ANN", "OPT"),
            "3: error by cost, sequences of networks on CIFAR-100": _curves("EANN", "AANN (25,32)"),
            "4: two networks of one cost": _curves("(9,32)", "(25,16)"),
        },
        statistics=(_win_table(),),
        provenance=(
            ("Sweep file", "sweeps/table6.yaml, sha256 5f0c2a9be14d"),
            ("Code", "git 93b1c7e2, clean: 380 trials; git 1f20aa41, dirty: 4 trials"),
            ("Data", "cifar10 sha256 c58f30108f71; cifar100 sha256 85cd44d02ba6; svhn sha256 435e94d69a87"),
            ("Devices", "NVIDIA H100 80GB HBM3: 384 trials"),
            ("Training time", "212.4 GPU hours"),
            ("Packages", "torch 2.13.0, ray 2.60.0, mlflow 3.17.2, numpy 2.4.6"),
        ),
        trials=_trials(errors),
        notes=(
            "Not in the tables: 3 failed, 1 diverged and 2 pending of 390 trials; a pair that lacks one is dropped.",
            "Mixed code versions: 380 trials of 93b1c7e2, 4 of 1f20aa41 with uncommitted changes.",
            "Experiments are not independent: 39 pairs share 3 data sets and 1 seed, so p-values are too low.",
        ),
        made="2026-11-24 18:40 UTC",
        command="orchestrate report sweeps/table6.yaml --html report.html",
    )


def _error_table(errors: Errors) -> Table:
    """Table 6, some of it with spreads and marks."""
    places = dict.fromkeys((network, method) for network, method, _, _ in errors)
    networks, methods = (list(dict.fromkeys(names)) for names in zip(*places, strict=True))
    return Table(
        name="errors",
        title="Error in % at fractions of the cost; AE is the mean of all predictions",
        columns=(
            Column(name="network", numeric=False),
            Column(name="method", numeric=False),
            *(Column(name=metric, group=dataset) for dataset in DATASETS for metric in METRICS),
        ),
        rows=tuple(
            (
                Entry(value=network),
                Entry(value=method),
                *(_error(errors, network, method, dataset, metric) for dataset in DATASETS for metric in METRICS),
            )
            for network in sorted(networks, key=lambda name: tuple(map(int, name[1:-1].split(","))))
            for method in methods
        ),
        notes=(
            "*: the best of those trained for all depths.",
            "opt: each network is trained for one depth alone; at a fraction stands the depth nearest to it.",
            "Mean ± standard deviation of 3 seeds.",
            "†: mean of fewer seeds: aann (7,16) svhn 1 failed.",
        ),
    )


def _error(errors: Errors, network: str, method: str, dataset: str, metric: str) -> Entry:
    value = errors.get((network, method, dataset, metric))
    if value is None:
        return Entry(mark="" if method == "opt" else "diverged")
    rivals = [
        error
        for (other, rival, *place), error in errors.items()
        if (other, *place) == (network, dataset, metric) and rival != "opt"
    ]
    best = method != "opt" and value == min(rivals)
    if (network, dataset) == ("(7,16)", "svhn"):
        mark = {"aann": "†", "exp3": "2 of 3 seeds, 1 failed", "rwm": "mixed code versions"}.get(method, "")
        return Entry(value=value, best=best, spread=value / 40, mark=mark)
    return Entry(value=value, best=best)


def _increase_table() -> Table:
    return Table(
        name="increases",
        title="Mean relative increase in error over the optimum, in %",
        columns=(*(Column(name=name, numeric=False) for name in ("method", "optimum")), *map(_column, METRICS)),
        rows=(
            (Entry(value="ann"), Entry(value="opt"), *map(_number, (18.28, 9.62, 9.97, 6.40, None))),
            (Entry(value="aann"), Entry(value="opt"), *map(_number, (-17.91, 8.24, 6.65, 7.91, None))),
        ),
    )


def _win_table() -> Table:
    lines: dict[str, tuple[Any, ...]] = {
        "wins %": (66.67, 67.95, 80.77, 51.28, 64.10),
        "p": (0.114, 0.081, 0.0035, 0.81, 0.158),
        "p Holm": (0.8, 0.73, "<0.001", 1.0, 0.91),
        "95 %": ("51-82", "53-82", "68-92", "36-67", "49-78"),
        "pairs": ("39", "39", "39 (-3)", "39", "39"),
    }
    return Table(
        name="wins",
        title="Wins over ann in %, ties counting half; one-sided p-values by hoeffding",
        columns=(Column(name="method", numeric=False), Column(name="", numeric=False), *map(_column, METRICS)),
        rows=tuple(
            (
                Entry(value=method),
                Entry(value=line),
                *(_number(value, 3 if line[0] == "p" else 2) for value in values),
            )
            for method in ("aann", "exp3", "avgl", "milestone", "rwm")
            for line, values in lines.items()
        ),
        notes=("p Holm: corrected for all places of the table. 95 %: of resamples of the experiments.",),
    )


def _column(name: str) -> Column:
    return Column(name=name)


def _number(value: float | str | None, digits: int = 2) -> Entry:
    return Entry(value=value, digits=digits)


def _trials(errors: Errors) -> tuple[TrialRow, ...]:
    places = list(dict.fromkeys((network, method, dataset) for network, method, dataset, _ in errors))
    places += [(network, method, f"{dataset} seed 1") for network, method, dataset in places]
    return tuple(_trial(errors, index, *place) for index, place in enumerate(places[:390]))


def _trial(errors: Errors, index: int, network: str, method: str, dataset: str) -> TrialRow:
    state = {7: "failed", 50: "failed", 211: "failed", 90: "diverged", 388: "pending", 389: "pending"}.get(index)
    failure = 'Traceback (most recent call last):\n  File "trainer.py"\nOutOfMemoryError: CUDA out of memory'
    found = {} if state else {m: errors.get((network, method, dataset.split()[0], m)) for m in METRICS}
    return TrialRow(
        id=f"{index * 2654435761 % 2**64:016x}",
        cell=f"{method} {network} {dataset}",
        state=state or "finished",
        errors=found,
        code="93b1c7e2",
        device="NVIDIA H100 80GB HBM3",
        seconds=None if state else 900.5 + index * 37 % 411,
        attempts=0 if state == "pending" else 1 + (index % 40 == 7),
        url=None if state else f"http://mlflow.example:5000/#/experiments/1/runs/{index:032x}",
        failure=failure if state == "failed" else None,
    )


def _curves(*names: str) -> str:
    """A figure as the paper's, with ids that all figures of matplotlib share."""
    with rc_context({"svg.hashsalt": "the same"}):
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        axes = figure.subplots()
        for index, name in enumerate(names):
            costs = [step / 15 for step in range(1, 16)]
            axes.plot(costs, [30 + index + 25 / (1 + 6 * cost) for cost in costs], marker="o", ms=3, label=name)
        axes.set(xlabel="multiply-adds, relative to the whole network", ylabel="error in %")
        axes.legend(frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg")
    return text.getvalue()
