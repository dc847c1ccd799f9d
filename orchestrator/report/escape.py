"""Text as Markdown and LaTeX show it: what means something to them is escaped."""

from __future__ import annotations

import re

LATEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "†": r"\textdagger{}",
}


def escaped_markdown(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)


def escaped_latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
