"""The JSON schema that editors use is that of this version, takes every sweep file here, and finds slips."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from orchestrator.sweepfile.json_schema import json_schema

REPOSITORY = Path(__file__).parents[3]
FILE = REPOSITORY / "sweeps" / "sweep.schema.json"
SWEEPS = sorted(FILE.parent.glob("*.yaml"))
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)
    if "name: " in block[:200]
]


def check(text: str) -> None:
    jsonschema.validate(json.loads(json.dumps(yaml.safe_load(text))), json.loads(FILE.read_text()))


def test_the_file_is_that_of_this_version() -> None:
    """`orchestrate sweeps --schema > sweeps/sweep.schema.json` writes it anew."""
    assert FILE.read_text() == json.dumps(json_schema(), indent=1) + "\n"


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_it_takes_every_sweep_and_each_names_it(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=sweep.schema.json\n")
    check(text)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_it_takes_the_sweeps_of_the_documentation(block: str) -> None:
    if re.search(r"^name: ", block, re.M):
        check(block)


SOUND = """\
name: mine
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: ann, aann: {strategy: aann, gamma: 2}}
"""


@pytest.mark.parametrize(
    "slip",
    [
        "sedes: [1]",
        "seeds: 3",
        "training: {stepps: 3}",
        "training: {steps: many}",
        "order: shortest",
        "report: {scale: point}",
        "retries: {memory: often}",
        "decide: {compare: [a > b at 1], at_most: {sedes: 3}}",
    ],
)
def test_it_finds_slips(slip: str) -> None:
    check(SOUND)
    with pytest.raises(jsonschema.ValidationError):
        check(f"{SOUND}{slip}\n")
