"""Texts as the languages of documents take them: what would be a command there is shown instead."""

from __future__ import annotations

import re

from orchestrator.text import one_line

LATEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "†": r"\textdagger{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    **{character: f"{{{character}}}" for character in "[]*"},  # after a line's end they would be its options
}


def escaped_markdown(text: str) -> str:
    return re.sub(r"([\\`*_~$|<>\[\]]|&(?=#?\w+;))", r"\\\1", one_line(text))


def markdown_paragraph(text: str) -> str:
    """A paragraph begins no heading and no list."""
    return re.sub(r"^(\d*)([-+#=.)])", r"\1\\\2", escaped_markdown(text))


def escaped_latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in one_line(text))
