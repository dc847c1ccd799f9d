"""Whatever a terminal lacks, a command says what it can, loses nothing else, and its exit code says what was lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ORCHESTRATE = str(Path(sys.executable).with_name("orchestrate"))
QUICKSTART = str(Path(__file__).parents[3] / "sweeps" / "quickstart.yaml")
ENCODINGS: dict[str, dict[str, str]] = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp1252": {"PYTHONIOENCODING": "cp1252:strict"},
    "cp437": {"PYTHONIOENCODING": "cp437"},
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
PRINTS = """
import sys
from orchestrator.cli import streams
streams.prepare()
print("± s.d. \\u2212 3 … → │─┼ é Ω \\udcff")
"""


def words(text: str) -> list[str]:
    """Without lines, which an encoding may have."""
    return (
        text.replace("±", "+/-").replace("†", "+").replace("…", "...").translate(dict.fromkeys(map(ord, "─-"))).split()
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", ["plan", "status", "report", "paper"])
def test_what_the_encoding_of_a_terminal_lacks_is_replaced(
    command, encoding, tmp_path, environment, one_finished, programs
) -> None:
    one_finished(tmp_path / "runs")
    arguments = [command] if command == "paper" else [command, QUICKSTART]
    whole, done = (
        programs(own).run(arguments, tmp_path, own)
        for own in (environment | {"PYTHONIOENCODING": "utf-8"}, environment | ENCODINGS[encoding])
    )
    assert (done.code, done.err) == (whole.code, b"") == (0, b"")
    text, expected = done.out.decode(encoding), whole.out.decode()
    assert "?" not in text
    assert words(text) == words(expected)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", b"+/- s.d. - 3 ... -> |-- e ? \xff"),
        ("latin-1", "± s.d. - 3 ... -> |-- é ? \udcff".encode("latin-1", "surrogateescape")),
        ("utf-8", "± s.d. \u2212 3 … → │─┼ é Ω \udcff".encode("utf-8", "surrogateescape")),
    ],
)
def test_characters_have_lookalikes_and_bytes_of_names_stay_as_they_are(encoding, shown, environment) -> None:
    command = [sys.executable, "-c", PRINTS]
    done = subprocess.run(command, env=environment | {"PYTHONIOENCODING": encoding}, capture_output=True, check=True)
    assert done.stdout == shown + b"\n"


@pytest.mark.parametrize("arguments", [["report", QUICKSTART], ["paper", "--format", "json"], ["--help"]])
@pytest.mark.parametrize(("to", "reason"), [("/dev/full", "No space left on device"), ("&-", "Bad file descriptor")])
def test_a_standard_output_that_cannot_be_written_is_named(to, reason, arguments, tmp_path, environment) -> None:
    shell = ["sh", "-c", f'"$@" >{to}', "sh", ORCHESTRATE, *arguments]
    done = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: standard output: {reason}; not all that there is was printed\n"


def test_a_standard_error_that_cannot_be_written_costs_nothing(tmp_path, environment) -> None:
    (tmp_path / "noted.yaml").write_text("name: [\n")
    for to in ("/dev/full", "&-"):
        shell = ["sh", "-c", f'"$@" 2>{to}', "sh", ORCHESTRATE]
        where = {"cwd": tmp_path, "env": environment, "capture_output": True, "timeout": 60, "check": False}
        done = subprocess.run([*shell, "paper"], **where)
        assert (done.returncode, done.stdout[:9]) == (0, b"Tables 2a")
        assert subprocess.run([*shell, "plan", "noted.yaml"], **where).returncode == 2
