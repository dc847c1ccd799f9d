"""What tests of pages do to a browser, and ask of it."""

from __future__ import annotations

import json

from selenium.webdriver import Chrome

PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}

# Contrast (WCAG 2.2) of each text that is seen, on the first background below it that is not transparent.
CONTRASTS = """
const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgba = (color) => {
  context.clearRect(0, 0, 1, 1);
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data];
};
const linear = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const below = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const color = rgba(getComputedStyle(at).backgroundColor);
    if (color[3] === 255) return color;
  }
  return rgba("white");
};
const words = (node) => node.nodeType === Node.TEXT_NODE && node.data.trim();
const all = [...document.body.querySelectorAll("*")].filter((element) => element.checkVisibility());
const seen = all.filter((element) => element.placeholder || [...element.childNodes].some(words));
return seen.map((element) => {
  const color = getComputedStyle(element, element.placeholder ? "::placeholder" : null).color;
  const [low, high] = [light(rgba(color)), light(below(element))].sort((a, b) => a - b);
  return [(high + 0.05) / (low + 0.05), element.outerHTML.slice(0, 80)];
});
"""


def dark(browser: Chrome, on: bool = True) -> None:
    features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def open_all(browser: Chrome) -> None:
    browser.execute_script("document.querySelectorAll('details').forEach((part) => (part.open = true))")


def check_silence(browser: Chrome) -> None:
    """The page has asked the network for nothing, and the browser complains of nothing."""
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert browser.current_url in urls
    assert [url for url in urls if not url.startswith("data:") and url != browser.current_url] == []
    assert browser.get_log("browser") == []
