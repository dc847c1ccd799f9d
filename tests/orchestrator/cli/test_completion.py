"""Shells complete commands, options and data sets, with the scripts that the program itself prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
IN_BASH = """
eval "$(_ORCHESTRATE_COMPLETE=bash_source orchestrate)"
COMP_WORDS=(orchestrate data fetch ci) COMP_CWORD=3
_orchestrate_completion orchestrate
echo "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(("shell", "registers"), [("bash", "complete -o nosort -F"), ("zsh", "compdef")])
def test_a_script_for_each_shell_is_printed(orchestrate, shell, registers) -> None:
    done = orchestrate(_ORCHESTRATE_COMPLETE=f"{shell}_source")
    assert (done.code, done.err) == (0, "")
    assert f"{registers} _orchestrate_completion orchestrate" in done.out
    assert f"_ORCHESTRATE_COMPLETE={shell}_complete" in done.out
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=done.out, text=True, check=True)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("orchestrate pl", ["plain,plan"]),
        ("orchestrate data fetch ci", ["plain,cifar10", "plain,cifar100"]),
        ("orchestrate plan x.yaml --address nowhere --fo", ["plain,--format"]),  # mistakes are told later
        ("orchestrate plan --format c", ["plain,csv"]),
        ("orchestrate plan swee", ["file,swee"]),
        ("orchestrate plan --storage ru", ["file,ru"]),  # a folder, or a bundle
        ("orchestrate sweep --storage ru", ["dir,ru"]),
    ],
)
def test_words_are_completed(orchestrate, words, completed) -> None:
    place = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = orchestrate(_ORCHESTRATE_COMPLETE="bash_complete", **place)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == completed


def test_bash_completes_with_the_line_of_the_documentation(environment) -> None:
    found = environment | {"PATH": f"{BIN}{os.pathsep}{environment['PATH']}"}
    done = subprocess.run(["bash", "-c", IN_BASH], env=found, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("cifar10 cifar100\n", "")
    assert IN_BASH.splitlines()[1] in (Path(__file__).parents[3] / "docs" / "commands.md").read_text()
