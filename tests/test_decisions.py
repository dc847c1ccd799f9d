"""Each choice in ``docs/decisions/`` has its five paragraphs, names files that exist, and is in the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
FOLDER = REPOSITORY / "docs" / "decisions"
INDEX = (FOLDER / "README.md").read_text()
LABELS = ["Choice", "Why", "Measured", "Where", "Would be wrong if"]
PAGES = sorted(path.name for path in FOLDER.glob("*.md") if path.name != "README.md")
TOPICS = [page for page in PAGES if page != "house.md"]


def choices(page: str) -> dict[str, list[str]]:
    """The paragraphs of each choice on a page, by its heading."""
    sections = (FOLDER / page).read_text().split("\n## ")[1:]
    return {heading: text.strip().split("\n\n") for heading, _, text in (part.partition("\n") for part in sections)}


@pytest.mark.parametrize("page", TOPICS)
def test_every_choice_has_its_five_paragraphs_in_order(page: str) -> None:
    labels = {
        heading: re.findall(r"^\*\*(.+?):\*\* \S", "\n".join(text), re.M) for heading, text in choices(page).items()
    }
    assert labels == dict.fromkeys(choices(page), LABELS)
    assert {len(text) for text in choices(page).values()} == {len(LABELS)}


@pytest.mark.parametrize("page", TOPICS)
def test_the_files_that_a_choice_names_exist(page: str) -> None:
    named = [
        path for text in choices(page).values() for path in re.findall(r"`([^`]+\.py)`", text[LABELS.index("Where")])
    ]
    assert named
    assert [path for path in named if not (REPOSITORY / path).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_index_links_every_page(page: str) -> None:
    assert f"]({page})" in INDEX


@pytest.mark.parametrize("page", TOPICS)
def test_the_index_links_every_choice(page: str) -> None:
    anchors = {heading: re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in choices(page)}
    assert [heading for heading, anchor in anchors.items() if f"[{heading}]({page}#{anchor})" not in INDEX] == []
