"""The page of a report keeps in a real browser what it promises: no network, sorted, filtered, fit to read anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from browsing import CONTRASTS, PHONE, check_silence, dark, open_all
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from orchestrator.report.pages.page import PageContent
from orchestrator.table import Column, Entry, Table

pytestmark = pytest.mark.browser

Show = Callable[[PageContent], Chrome]


def grid(browser: Chrome, name: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, f".box[aria-labelledby='table-{name}']")


def heading(table: WebElement, name: str) -> WebElement:
    return table.find_element(By.CSS_SELECTOR, f"thead th[data-name='{name}']")


def column(browser: Chrome, table: WebElement, name: str) -> list[str]:
    """What is seen of a column, without spreads and marks."""
    script = """
        const index = arguments[0].querySelector(`th[data-name="${arguments[1]}"]`).cellIndex;
        const rows = [...arguments[0].querySelectorAll("tbody tr")].filter((row) => row.checkVisibility());
        return rows.map((row) => row.cells[index].innerText.split("±")[0].trim());
    """
    return browser.execute_script(script, table, name)


def numbers(texts: list[str]) -> list[float]:
    """NaN for what is missing."""
    return [float(text) if text[0].isdigit() else math.nan for text in texts]


def background(browser: Chrome) -> str:
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def test_the_page_needs_no_network_and_complains_of_nothing(show: Show, content: PageContent) -> None:
    browser = show(content)
    assert browser.title.startswith("table6")
    check_silence(browser)


def test_the_page_is_well_formed(show: Show, content: PageContent) -> None:
    """No id twice, no link into nothing, no figure without its picture; not in the browser's quirks mode."""
    browser = show(replace(content, statistics=(*content.statistics, *content.tables)))
    assert browser.execute_script("return document.compatMode") == "CSS1Compat"
    ids = browser.execute_script("return [...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))
    script = "return [...document.querySelectorAll('a[href^=\"#\"]')].map((link) => link.getAttribute('href').slice(1))"
    links = browser.execute_script(script)
    assert links
    assert set(links) <= set(ids)
    labelled = browser.find_elements(By.CSS_SELECTOR, "[aria-labelledby]")
    assert {element.get_attribute("aria-labelledby") for element in labelled} <= set(ids)
    widths = browser.execute_script("return [...document.querySelectorAll('img')].map((image) => image.naturalWidth)")
    assert len(widths) == 3
    assert min(widths) > 0


@pytest.mark.parametrize("key", [None, Keys.ENTER, Keys.SPACE])
def test_numbers_sort_both_ways_with_the_missing_last(show: Show, content: PageContent, key: str | None) -> None:
    browser = show(content)
    table = grid(browser, "errors")
    before = column(browser, table, "cifar10 AE")
    missing = sum(math.isnan(number) for number in numbers(before))
    assert 0 < missing < len(before)
    for direction in ("ascending", "descending"):
        button = heading(table, "cifar10 AE").find_element(By.TAG_NAME, "button")
        button.click() if key is None else button.send_keys(key)
        assert heading(table, "cifar10 AE").get_attribute("aria-sort") == direction
        shown = numbers(column(browser, table, "cifar10 AE"))
        assert all(map(math.isnan, shown[-missing:]))
        assert shown[:-missing] == sorted(shown[:-missing], reverse=direction == "descending")
    heading(table, "cifar10 AE").find_element(By.TAG_NAME, "button").click()
    assert column(browser, table, "cifar10 AE") == before


def test_rows_are_sorted_whole_and_by_one_column_alone(show: Show, content: PageContent) -> None:
    browser = show(content)
    table = grid(browser, "errors")
    names = ("network", "method", "svhn 1")
    before = list(zip(*(column(browser, table, name) for name in names), strict=True))
    for name in ("svhn 1", "network"):
        heading(table, name).find_element(By.TAG_NAME, "button").click()
    after = list(zip(*(column(browser, table, name) for name in names), strict=True))
    assert sorted(after) == sorted(before)
    assert [row[0] for row in after] == [row[0] for row in before]  # (7,16) comes before (13,16)
    assert len(table.find_elements(By.CSS_SELECTOR, "[aria-sort=ascending], [aria-sort=descending]")) == 1


def test_values_in_words_sort_among_numbers(show: Show) -> None:
    values = (0.5, "<0.001", None, 0.0125, math.nan, -3, 12000)
    rows = tuple((Entry(value=str(index)), Entry(value=value)) for index, value in enumerate(values))
    columns = (Column(name="row", numeric=False), Column(name="p"))
    content = PageContent(
        title="p", tables=(Table(name="p", title="p", columns=columns, rows=rows),), made="", command=""
    )
    browser = show(content)
    table = grid(browser, "p")
    heading(table, "p").find_element(By.TAG_NAME, "button").click()
    assert column(browser, table, "row") == ["5", "1", "3", "0", "6", "2", "4"]


def test_the_filter_finds_whole_beginnings_of_words(show: Show, content: PageContent) -> None:
    browser = show(content)
    open_all(browser)
    table = grid(browser, "trials")
    assert len(column(browser, table, "trial")) == 390
    box = browser.find_element(By.CSS_SELECTOR, "#trials input")
    box.send_keys("ann (7,16)")
    wanted = [trial.cell for trial in content.trials if trial.cell.startswith("ann (7,16)")]
    assert column(browser, table, "trial") == wanted
    assert wanted
    count = browser.find_element(By.CSS_SELECTOR, "#trials .count")
    assert count.text == f"{len(wanted)} of 390 rows"
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys("FAIL")
    assert column(browser, table, "state") == ["failed"] * 3
    heading(table, "trial").find_element(By.TAG_NAME, "button").click()
    assert len(column(browser, table, "trial")) == 3
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(Keys.BACKSPACE)
    assert count.text == "390 rows"


def test_a_link_to_the_trials_unfolds_them(show: Show, content: PageContent) -> None:
    browser = show(content)
    assert column(browser, grid(browser, "trials"), "trial") == []
    browser.find_element(By.CSS_SELECTOR, "nav a[href='#trials']").click()
    assert len(column(browser, grid(browser, "trials"), "trial")) == 390
    run = grid(browser, "trials").find_element(By.LINK_TEXT, "run")
    assert run.get_attribute("href") == content.trials[0].url


def test_a_table_is_copied_as_csv(show: Show, content: PageContent) -> None:
    browser = show(content)
    allowed = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.execute_cdp_cmd("Browser.grantPermissions", {"permissions": allowed})
    open_all(browser)
    browser.find_element(By.CSS_SELECTOR, ".copy").click()
    text = browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    lines = text.splitlines()
    assert len(lines) == 92
    assert lines[0].startswith("network,method,svhn 1/4,svhn 1/4 ±,svhn 1/2,")
    assert lines[1].startswith('"(7,16)",opt,4.48,0.11,2.59,')


def test_a_phone_scrolls_tables_but_never_the_page_sideways(show: Show, content: PageContent) -> None:
    browser = show(content)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    browser.refresh()
    open_all(browser)
    widths = "return [innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert browser.execute_script(widths) == [360, 360, 360]
    box = grid(browser, "errors")
    assert browser.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth", box)
    browser.execute_script("arguments[0].scrollTo(400, 300)", box)
    names = [box.find_element(By.CSS_SELECTOR, "tbody th"), heading(box, "network")]
    assert [name.rect["x"] for name in names] == [box.rect["x"] + 1] * 2  # the border
    assert heading(box, "svhn 1").rect["y"] < box.rect["y"] + 60


@pytest.mark.parametrize("by", ["media", "toggle"])
def test_all_text_can_be_read_in_light_and_dark(show: Show, content: PageContent, by: str) -> None:
    browser = show(content)
    dark(browser, on=False)
    open_all(browser)
    colors = set()
    for on in (False, True):
        if on:
            dark(browser) if by == "media" else browser.find_element(By.ID, "theme").click()
        colors.add(background(browser))
        contrasts = browser.execute_script(CONTRASTS)
        assert len(contrasts) > 5000
        assert [element for ratio, element in contrasts if ratio < 4.5] == []
    assert len(colors) == 2


def test_the_toggle_overrules_the_system_both_ways(show: Show, content: PageContent) -> None:
    browser = show(content)
    dark(browser)
    seen = [background(browser)]
    for _ in range(2):
        browser.find_element(By.ID, "theme").click()
        seen.append(background(browser))
    dark(browser, on=False)
    assert seen[0] == seen[2] != seen[1]
    assert background(browser) == seen[2]


def test_names_cannot_do_harm(show: Show, content: PageContent) -> None:
    """Neither where they are shown nor where they stand in an attribute; a link cannot be a script."""
    evil = "\"><script>document.title = 'harm'</script><img src=x onerror=\"document.title = 'harm'\">"
    columns = (Column(name=evil, group=evil, numeric=False),)
    table = Table(name=evil, title=evil, columns=columns, rows=((Entry(value=evil, mark=evil),),), notes=(evil,))
    link = "javascript:document.title='harm'"
    trial = replace(content.trials[0], id=evil, cell=evil, state=evil, url=link, failure=evil)
    svg = "<svg xmlns='http://www.w3.org/2000/svg'><script>parent.document.title = 'harm'</script></svg>"
    browser = show(
        PageContent(
            title=evil,
            description=evil,
            tables=(table,),
            figures={evil: svg},
            provenance=((evil, evil),),
            trials=(trial,),
            notes=(evil,),
            made=evil,
            command=evil,
        )
    )
    assert browser.title.startswith(evil)
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 1
    assert len(browser.find_elements(By.TAG_NAME, "img")) == 1
    assert browser.find_elements(By.CSS_SELECTOR, "[href^='javascript']") == []
    assert browser.get_log("browser") == []


def test_no_script_but_the_pages_own_is_run(show: Show, content: PageContent) -> None:
    browser = show(content)
    script = "const own = document.createElement('script'); own.text = 'document.title = 1'; document.body.append(own)"
    browser.execute_script(script)
    assert browser.title.startswith("table6")


def test_a_page_of_nothing_is_a_page(show: Show) -> None:
    browser = show(PageContent(title="nothing yet", made="now", command="orchestrate report"))
    assert browser.find_element(By.TAG_NAME, "h1").text == "nothing yet"
    assert browser.find_elements(By.TAG_NAME, "table") == []
    assert browser.get_log("browser") == []
