"""The documentation as a site: it builds without a warning, and a browser finds, reads and darkens it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browsing import PHONE, dark
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.browser, pytest.mark.slow]
REPOSITORY = Path(__file__).parents[2]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address: a server on loopback."""
    folder = tmp_path_factory.mktemp("site")
    mkdocs = [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--quiet", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(mkdocs, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_search_finds_a_page(desktop: Chrome, site: str) -> None:
    desktop.get(f"{site}/")
    assert desktop.title == "Anytime orchestrator"
    field = desktop.find_element(By.CSS_SELECTOR, "input.md-search__input")
    desktop.execute_script("arguments[0].focus()", field)
    field.send_keys("e-value")
    found = WebDriverWait(desktop, 20).until(
        lambda it: it.find_elements(By.CSS_SELECTOR, ".md-search-result__link[href*='deciding']")
    )
    assert found


def test_it_is_dark_where_the_reader_wants_it(desktop: Chrome, site: str) -> None:
    schemes = []
    for on in (False, True):
        dark(desktop, on)
        desktop.get(f"{site}/glossary/")
        desktop.execute_script("localStorage.clear()")  # as on a first visit: the site remembers what was shown
        desktop.refresh()
        schemes.append(desktop.execute_script("return document.body.getAttribute('data-md-color-scheme')"))
    dark(desktop, False)
    assert schemes == ["default", "slate"]


def test_a_phone_scrolls_one_way_alone(desktop: Chrome, site: str) -> None:
    desktop.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        for page in ("", "deciding/", "sweep-file/", "reference/"):
            desktop.get(f"{site}/{page}")
            wide = desktop.execute_script("return document.documentElement.scrollWidth")
            assert wide <= PHONE["width"], page
    finally:
        desktop.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_page_asks_another_host(desktop: Chrome, site: str) -> None:
    for page in ("", "deciding/", "reference/"):
        desktop.get(f"{site}/{page}")
        names = desktop.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)")
        assert [name for name in names if not name.startswith((site, "data:"))] == [], page


def test_the_reference_has_what_docstrings_say(desktop: Chrome, site: str) -> None:
    desktop.get(f"{site}/reference/")
    text = desktop.find_element(By.TAG_NAME, "body").text
    assert "AnytimePredictor" in text
    assert "Sweeps in Python" in text
