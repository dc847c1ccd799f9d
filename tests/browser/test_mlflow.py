"""A sweep's runs in MLflow's own UI, as `orchestrate ui` serves it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from orchestrator.execution.worker import WorkerContext, run_trial
from orchestrator.ledger.ledger import Ledger
from orchestrator.report import publish
from orchestrator.report.losses import Losses
from orchestrator.sweepfile.load import load
from orchestrator.tracking.delivered import run_links
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.uris import default_uri

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]  # MLflow's own are not ours to mend

TEXT = """
name: small
networks: [{n: 2, c: 2}]
datasets: [digits]
methods:
  ann: {}
  aann: {strategy: aann}
  opt: {regime: opt, at: [1]}
training: {steps: 66, batch_size: 64, learning_rate: {0: 0.1}}
"""
SECONDS = 60
Links = dict[str, str]


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Links]:
    """What `orchestrate ui` prints of three trials that were trained, while it serves."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "small.yaml").write_text(TEXT)
    _train(folder)
    command = [
        *(str(Path(sys.executable).with_name("orchestrate")), "ui", "small.yaml", "--host", "::1"),
        *("--port", str(_free_port())),
    ]
    # In pytest's own process group, so that whatever ends that ends it too.
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, preexec_fn=_heed_ctrl_c)
    try:
        assert server.stdout
        lines = [server.stdout.readline() for _ in range(4)]
        assert lines[-1] == "ctrl-C ends it\n"
        yield {found[1]: found[2] for line in lines if (found := re.fullmatch(r"small (\w+): (\S+)\n", line))}
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)
    assert server.returncode == 0


def _train(folder: Path) -> None:
    sweep, ledger = load(folder / "small.yaml"), Ledger(folder / "runs")
    ledger.make()
    report, uri = ledger.sweep_folder("small") / "report", default_uri(folder / "runs")
    report.mkdir(parents=True)
    where = WorkerContext(storage=ledger.local, data_root=folder / "data", code_version="0123456789ab")
    for trial in sweep.trials:
        run_trial(trial, where, lambda epochs: None)
    with Tracker(uri, sweep, ledger, print) as tracker:
        pass
    tables = publish.write(sweep, ledger, report, run_links(ledger, "small"), losses=Losses())
    tracker.summarise(report, publish.headline(tables))
    assert not tracker.outage


def _free_port() -> int:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return int(probe.getsockname()[1])


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def browser(desktop: Chrome) -> Chrome:
    desktop.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", WIDE)
    return desktop


WIDE = {"width": 1600, "height": 1000, "deviceScaleFactor": 1, "mobile": False}


def until(browser: Chrome, found: Callable[[], object]) -> None:
    def now(_: Chrome) -> bool:
        return bool(found())

    WebDriverWait(browser, SECONDS, ignored_exceptions=(Exception,)).until(now)


def shown(browser: Chrome, css: str) -> list[WebElement]:
    return [element for element in browser.find_elements(By.CSS_SELECTOR, css) if element.is_displayed()]


def runs(browser: Chrome) -> dict[str, str]:
    """The addresses of the runs in the list, by name, from top to bottom."""
    cells = sorted(shown(browser, "a[href*='/runs/']:not([href*='/artifacts'])"), key=lambda link: link.rect["y"])
    return {link.text: str(link.get_attribute("href")) for link in cells if link.text}


def words(browser: Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


NAMES = ["aann (2,2) digits s0", "ann (2,2) digits s0", "opt (2,2) digits u6 s0"]


def test_the_list_shows_names_and_errors_and_the_summary_first(browser: Chrome, links: Links) -> None:
    browser.get(links["errors"])
    until(browser, lambda: list(runs(browser)) == ["summary", *NAMES])
    heads = dict.fromkeys(head.text for head in shown(browser, "[role=columnheader]"))
    errors = ["error/at_0.25", "error/at_0.50", "error/at_0.75", "error/at_1.00", "error/average"]
    assert [head for head in heads if head.startswith("error/")] == errors
    assert "Model training" in browser.page_source


def test_the_charts_open_on_curves_of_all_methods(browser: Chrome, links: Links) -> None:
    browser.get(links["curves"])
    until(browser, lambda: list(runs(browser)) == NAMES)
    until(browser, lambda: len(shown(browser, ".js-plotly-plot .scatterlayer path.js-line")) >= 3)
    lines = words(browser).splitlines()
    sections = [name for name, count in pairwise(lines) if re.fullmatch(r"\(\d+\)", count)]
    assert sections[:3] == ["error", "loss", "train_error"]
    assert "error/at_1.00" in lines
    assert "prediction_01" not in lines  # folded away


def test_two_runs_are_compared_by_their_errors(browser: Chrome, links: Links) -> None:
    browser.get(links["errors"])
    until(browser, lambda: len(runs(browser)) == 4)
    ids = [runs(browser)[name].rsplit("/", 1)[1].partition("?")[0] for name in NAMES[:2]]
    address = links["errors"].partition("#")[0]
    experiment = re.search(r"experiments/(\d+)", links["errors"])
    assert experiment
    browser.get("about:blank")
    browser.get(f'{address}#/compare-runs?runs=["{ids[0]}","{ids[1]}"]&experiments=["{experiment[1]}"]')
    until(browser, lambda: all(name in words(browser) for name in NAMES[:2]))
    text = words(browser)
    assert "Comparing 2 Runs from 1 Experiment" in text
    assert text.count("error/at_0.25") == 1  # in the table of metrics
    until(browser, lambda: "error/average" in [title.text for title in shown(browser, "svg .axis-title")])


def test_the_report_is_one_click_away(browser: Chrome, links: Links) -> None:
    browser.get(links["report"])
    until(browser, lambda: shown(browser, "iframe"))
    assert {"figures", "report.html", "errors.csv"} <= set(words(browser).split())
    browser.switch_to.frame(shown(browser, "iframe")[0])
    try:
        until(browser, lambda: "at fractions of the cost" in words(browser))
    finally:
        browser.switch_to.default_content()


def test_a_run_shows_where_it_comes_from(browser: Chrome, links: Links) -> None:
    browser.get(links["errors"])
    until(browser, lambda: len(runs(browser)) == 4)
    browser.get(runs(browser)[NAMES[0]])
    until(browser, lambda: "About this run" in words(browser))
    until(browser, lambda: "Training" in words(browser))
    text = words(browser)
    for part in ("small.yaml", "0123456", "digits (", "pyfunc", "images_per_second", "cpu_percent", "prediction_03"):
        assert part in text


def test_the_views_are_in_the_menu(browser: Chrome, links: Links) -> None:
    browser.get(re.sub(r"&viewStateShareKey=\w+", "", links["errors"]))
    until(browser, lambda: shown(browser, "[data-testid=saved-views-trigger]"))
    shown(browser, "[data-testid=saved-views-trigger]")[0].click()
    until(browser, lambda: {"errors", "curves"} <= set(words(browser).split()))
