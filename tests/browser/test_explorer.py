"""The page's explorer in a real browser: what it shows is what the page holds, by mouse and by keys, anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from browsing import CONTRASTS, PHONE, check_silence, dark, open_all
from explored import explored
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from orchestrator.report.pages.page import PageContent

pytestmark = pytest.mark.browser

Line = Mapping[str, Any]
Show = Callable[[PageContent], Chrome]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Seven lines of two data sets, two networks and two methods."""
    return explored(tmp_path_factory.mktemp("explored"))


@pytest.fixture
def browser(show: Show, data: dict[str, Any]) -> Chrome:
    return show(PageContent(title="small", explorer=data, made="now", command="it"))


def choose(browser: Chrome, name: str, value: str) -> None:
    Select(browser.find_element(By.NAME, name)).select_by_value(value)


def offered(browser: Chrome, name: str) -> list[str]:
    return [option.text for option in Select(browser.find_element(By.NAME, name)).options]


def chosen(browser: Chrome, data: Mapping[str, Any]) -> Line:
    """The line that the three choices stand for."""
    names = ("dataset", "network", "method")
    place = {name: browser.find_element(By.NAME, name).get_attribute("value") for name in names}
    (line,) = (line for line in data["lines"] if place.items() <= line.items())
    return line


def slider(browser: Chrome) -> WebElement:
    return browser.find_element(By.ID, "explorer-budget")


def budget(browser: Chrome) -> int:
    return int(slider(browser).get_attribute("value"))


def text(browser: Chrome, selector: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, f"#explorer {selector}").text


def rows(browser: Chrome, table: str) -> list[list[str]]:
    script = """
        const texts = (row) => [...row.cells].map((cell) => cell.textContent);
        return [...document.querySelector(arguments[0]).tBodies[0].rows].map(texts);
    """
    return browser.execute_script(script, f"#explorer {table}")


def heights(browser: Chrome) -> list[float]:
    """Of the bars, in parts of the axis."""
    script = """
        const bars = document.querySelector("#explorer .bars");
        return [...bars.children].map((bar) => bar.offsetHeight / bars.clientHeight);
    """
    return browser.execute_script(script)


def check_shown(browser: Chrome, data: Mapping[str, Any]) -> None:
    """All that is shown, from what the page holds."""
    line = chosen(browser, data)
    cost = max(budget(browser), line["costs"][0])
    error, spread = (np.interp(cost, line["costs"], line[name]) for name in ("errors", "spreads"))
    leave = [np.interp(cost, line["costs"], column) / 10 for column in zip(*line["left"], strict=True)]
    left = np.cumsum(leave)
    half = next(k for k, share in enumerate(left) if share >= 50)
    said = text(browser, ".summary")
    words = [f"error {error:.2f} %", f"±{spread:.2f}", f"{left[half]:.1f} % of images leave at or before"]
    assert [word for word in [*words, f"prediction {half + 1} of {len(left)}."] if word not in said] == []
    assert said.startswith(f"At {text(browser, 'output')} of the cost")
    shown = [[float(cell) for cell in row[1:]] for row in rows(browser, ".predictions")]
    assert shown == [pytest.approx(row, abs=0.051) for row in zip(line["at"], leave, left, strict=True)]
    axis = float(browser.find_element(By.CSS_SELECTOR, ".leaving .scale span").text)
    assert heights(browser) == pytest.approx([share / axis for share in leave], abs=0.02)
    check_mistakes(browser, data, line, cost)


def check_mistakes(browser: Chrome, data: Mapping[str, Any], line: Line, cost: float) -> None:
    names = data["classes"][line["dataset"]]
    nearest = min(abs(np.array(line["costs"]) - cost))
    expected = [
        [[names[truth], names[answer], str(count)] for truth, answer, count in mistakes]
        for mistakes, at in zip(line["mistakes"], line["costs"], strict=True)
        if abs(at - cost) <= nearest + 1e-9
    ]
    assert rows(browser, ".mistakes table") in expected


def test_what_is_chosen_is_shown_and_nothing_else_can_be_chosen(browser: Chrome, data: dict[str, Any]) -> None:
    check_shown(browser, data)
    seen = set()
    for dataset in offered(browser, "dataset"):
        choose(browser, "dataset", dataset)
        for network in offered(browser, "network"):
            choose(browser, "network", network)
            for method in offered(browser, "method"):
                choose(browser, "method", method)
                check_shown(browser, data)
                seen.add((dataset, network, method))
    assert seen == {(line["dataset"], line["network"], line["method"]) for line in data["lines"]}
    assert len(seen) == 7
    check_silence(browser)


def test_a_choice_stays_where_it_is_offered(browser: Chrome) -> None:
    choose(browser, "network", "(2,2)")
    choose(browser, "method", "aann")
    choose(browser, "dataset", "cifar10")
    values = [browser.find_element(By.NAME, name).get_attribute("value") for name in ("network", "method")]
    assert values == ["(2,2)", "ann"]
    assert offered(browser, "method") == ["ann"]
    assert budget(browser) == 50


def test_keys_move_the_budget(browser: Chrome, data: dict[str, Any]) -> None:
    for key, to in ((Keys.ARROW_RIGHT, 51), (Keys.ARROW_UP, 52), (Keys.ARROW_LEFT, 51), (Keys.END, 100)):
        slider(browser).send_keys(key)
        assert budget(browser) == to
        assert text(browser, "output") == f"{to} %"
        assert slider(browser).get_attribute("aria-valuetext") == f"{to} % of the cost"
        check_shown(browser, data)
    slider(browser).send_keys(Keys.HOME)
    least = chosen(browser, data)["costs"][0]
    assert text(browser, "output") == f"{least:.1f} %"
    check_shown(browser, data)


def test_keys_reach_and_change_every_choice(browser: Chrome, data: dict[str, Any]) -> None:
    browser.find_element(By.NAME, "dataset").send_keys(Keys.ARROW_DOWN)
    assert chosen(browser, data)["dataset"] == "cifar10"
    reached = []
    for _ in range(3):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.append(browser.switch_to.active_element.get_attribute("name") or "budget")
    assert reached == ["network", "method", "budget"]
    check_shown(browser, data)


def test_the_budget_is_dragged(browser: Chrome, data: dict[str, Any]) -> None:
    width = slider(browser).size["width"]
    ActionChains(browser).move_to_element(slider(browser)).click_and_hold().move_by_offset(
        width // 4, 0
    ).release().perform()
    assert 70 < budget(browser) < 95
    check_shown(browser, data)


def test_the_curve_is_drawn_through_the_settings(browser: Chrome, data: dict[str, Any]) -> None:
    line = chosen(browser, data)
    axis = float(text(browser, ".curve .scale span"))
    drawn = browser.find_element(By.CSS_SELECTOR, ".curve .drawn").get_attribute("d")
    points = [tuple(map(float, point.split())) for point in drawn.removeprefix("M").split("L")]
    expected = zip(line["costs"], (100 - 100 * error / axis for error in line["errors"]), strict=True)
    assert points == [pytest.approx(point) for point in expected]
    assert axis >= max(line["errors"])
    assert len(rows(browser, ".settings")) == len(line["costs"])
    assert {50, 75, 100} <= {*line["costs"]}


def test_curves_of_other_methods_have_names(browser: Chrome) -> None:
    names = """return [...document.querySelectorAll(".curve .others path")].map((path) => path.textContent)"""
    assert browser.execute_script(names) == ["aann"]
    choose(browser, "method", "aann")
    assert browser.execute_script(names) == ["ann"]


@pytest.mark.parametrize("on", [False, True])
def test_it_can_be_read_in_light_and_dark(browser: Chrome, on: bool) -> None:
    dark(browser, on)
    open_all(browser)
    contrasts = browser.execute_script(CONTRASTS)
    assert len(contrasts) > 140
    assert [element for ratio, element in contrasts if ratio < 4.5] == []


def test_it_fits_a_phone(browser: Chrome, data: dict[str, Any]) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    browser.refresh()
    open_all(browser)
    widths = "return [innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert browser.execute_script(widths) == [360, 360, 360]
    controls = browser.find_elements(By.CSS_SELECTOR, "#explorer select, #explorer input")
    assert [control.tag_name for control in controls] == ["select", "select", "select", "input"]
    assert min(control.size["height"] for control in controls) >= 40  # a finger's
    check_shown(browser, data)


def test_every_control_has_a_name(browser: Chrome) -> None:
    controls = browser.find_elements(By.CSS_SELECTOR, "#explorer select, #explorer input")
    names = [control.accessible_name for control in controls]
    assert names[:3] == ["Data set", "Network", "Method"]
    assert names[3].startswith("Budget: the mean cost of an image")
    assert browser.find_element(By.CSS_SELECTOR, "#explorer .summary").get_attribute("aria-live") == "polite"


def test_print_shows_what_was_chosen(browser: Chrome) -> None:
    slider(browser).send_keys(Keys.END)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert text(browser, ".summary").startswith("At 100 % of the cost")
    assert browser.find_element(By.CSS_SELECTOR, "#explorer .drawn").is_displayed()


def test_without_scripts_it_says_so_and_shows_a_table(browser: Chrome, data: dict[str, Any]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.refresh()
        assert "needs JavaScript" in browser.find_element(By.ID, "explorer").text
        assert not browser.find_element(By.CSS_SELECTOR, "#explorer select").is_displayed()
        shown = browser.find_elements(By.CSS_SELECTOR, "#explorer noscript tbody tr")
        assert all(row.is_displayed() for row in shown)
        for row, line in zip(shown, data["lines"], strict=True):
            assert row.text.startswith(" ".join(line[name] for name in ("dataset", "network", "method")))
            assert row.text.endswith(f"{line['errors'][-1]:.2f} ±{line['spreads'][-1]:.2f}")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_names_cannot_do_harm(show: Show, data: dict[str, Any]) -> None:
    evil = "</script><script>document.title = 'harm'</script><img src=x onerror=\"document.title = 'harm'\">"
    changed = json.loads(json.dumps(data))
    for line in changed["lines"]:
        line["method"] += evil
    changed["classes"] = {name: [f"{one}{evil}" for one in names] for name, names in data["classes"].items()}
    changed["notes"] = [evil]
    browser = show(PageContent(title="small", explorer=changed, made="now", command="it"))
    assert browser.title.startswith("small")
    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 2
    assert offered(browser, "method") == [f"ann{evil}", f"aann{evil}"]
    check_shown(browser, changed)
    check_silence(browser)


def test_a_network_without_a_mistake_is_shown(show: Show) -> None:
    line = {
        "dataset": "d", "network": "n", "method": "m", "seeds": 1, "of": 2, "images": 1500, "at": [40.0, 100.0],
        "costs": [40.0, 100.0], "errors": [0.0, 0.0], "spreads": None,
        "left": [[1000, 0], [0, 1000]], "mistakes": [[], []],
    }  # fmt: skip
    content = {"lines": [line], "classes": {"d": ["a", "b"]}, "notes": []}
    browser = show(PageContent(title="small", explorer=content, made="now", command="it"))
    slider(browser).send_keys(Keys.END)
    said = "At 100 % of the cost: error 0.00 %; 100.0 % of images leave at or before prediction 2 of 2."
    assert text(browser, ".summary") == said
    assert text(browser, ".mistakes h3") == "No mistakes at 100.0 %"
    assert not browser.find_element(By.CSS_SELECTOR, ".mistakes table").is_displayed()
    assert text(browser, ".about").startswith("1,500 test images. 1 of 2 seeds. Between")
    check_silence(browser)
