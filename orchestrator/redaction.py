"""Takes passwords, tokens and keys out of texts. Imports nothing of ours.

There are two ways to know a secret. One is by its form: the password of a URI, what follows ``token=``, the path of a
webhook. The other is by its value: what this process was given as a secret, in its environment or on its command line,
is one wherever it occurs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from urllib.parse import quote, unquote, unquote_plus

MASK = "***"
SHORTEST = 6
"""Letters of a value that is a secret wherever it occurs; a shorter one may be a word of any text."""
SHORTEST_ODD = 4
"""The same of a value with other characters in it than letters and digits, which are rare in texts."""

_NAMES = (
    r"pass(?:word|wd|phrase|code)|secret|token|credentials?|signature|odbc_connect"
    r"|(?:api|access|account|private|secret|signing)[_-]?key(?:[_-]?id)?|(?<![a-z0-9])(?:pass|pwd)"
)
"""How the name of a secret ends."""
_QUOTED = r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'"""
_VALUE = rf"(?=[^\s&])(?:{_QUOTED}|\{{[^}}\n]*\}})?[^\s&]*"
"""In quotes or braces, as databases take it, or up to a space or the next parameter of a URI."""


def _without_password(found: re.Match[str]) -> str:
    """A word with a URI in it, without what is between the user and the last @: people leave @, /, ? and # in
    passwords as they are."""
    head, at, tail = found[0].rpartition("@")
    user = re.search(r"://[^/:]*:", head)
    return f"{head[: user.end()]}{MASK}{at}{tail}" if user else found[0]


_ASSIGNED = re.compile(rf"((?:{_NAMES})=|(?:{_NAMES})\s*=\s*(?=[\"'])|[?&](?:sig|key|auth)=){_VALUE}", re.I)
PATTERNS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"(?<!\S)\S*?://\S+"), _without_password),
    # A token in place of a user. The user of a database alone is no secret.
    (re.compile(r"(https?://)[^\s/:?#]+@", re.I), rf"\1{MASK}@"),
    (_ASSIGNED, rf"\1{MASK}"),
    (re.compile(rf"([\"'][\w.-]*(?:{_NAMES})[\"']\s*:\s*)(?:{_QUOTED})", re.I), rf'\1"{MASK}"'),
    (re.compile(r"(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|digest|token)\s+)\S+", re.I), rf"\1{MASK}"),
    (re.compile(r"(authorization[\"']?\s*[:=]\s*[\"']?)(?=\S*\d)\S+", re.I), rf"\1{MASK}"),
    (re.compile(r"(\bbearer\s+)(?=\S*\d|\S{20})\S+", re.I), rf"\1{MASK}"),
    (
        re.compile(r"((?<![\w-])x-[\w-]{0,40}(?:token|key|secret|signature)[\"']?\s*:\s*[\"']?)[^\s\"']\S*", re.I),
        rf"\1{MASK}",
    ),
    # Webhooks, whose path is their secret.
    (re.compile(r"(\bhooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)\S+", re.I), rf"\1{MASK}"),
    (re.compile(r"(://[^\s/]+/(?:[\w.-]+/)*(?:web)?hooks?(?:b2)?/)\S+", re.I), rf"\1{MASK}"),
    (re.compile(r"(\bapi\.telegram\.org/(?:file/)?bot)[^\s/]+", re.I), rf"\1{MASK}"),
    # Keys that show what they are: of AWS, GitHub, GitLab, Slack, Hugging Face; signed tokens; private keys.
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MASK),
    (re.compile(r"\b(?:gh[opsur]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[a-z]-[\w-]{10,}|hf_\w{20,})"), MASK),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), MASK),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), MASK),
)
"""Each with what stands in its place. None takes longer than the text is long: others may have written it."""

SECRET_VARIABLE = re.compile(r"SECRET|TOKEN(?!S|IZ)|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|CREDENTIAL|PRIVATE_?KEY")
PLACE_VARIABLE = re.compile(r"(?:_FILE|_PATH|_DIR|_HELPER|GOOGLE_APPLICATION_CREDENTIALS)$")
"""These say where a secret is, which is none."""
WEBHOOK_VARIABLE = re.compile(r"HOOK|^ORCHESTRATE_NOTIFY$")

_PASSWORD = re.compile(r"://[^\s/:]*:(.+)@", re.S)
_PARAMETER = re.compile(rf"(?:{_NAMES}|[?&](?:sig|key|auth))=([^&]+)", re.I)
_OF_ODBC = re.compile(r"(?:pwd|password)=(\{[^}]*\}|[^;]*)", re.I)


def redacted(text: str) -> str:
    """The text without secrets: ``***`` stands in the place of each. A text without any comes through as it is."""
    for secret in sorted(set(_given()), key=len, reverse=True):
        if secret in text:
            text = _whole_word(secret).sub(MASK, text)
    return without_credentials(text)


def without_credentials(text: str) -> str:
    """The text without what looks like a secret: the same in every environment, and so fit to be compared."""
    for pattern, mask in PATTERNS:
        if pattern is not _ASSIGNED or "=" in text:  # it is the slowest by far, and tables have none
            text = pattern.sub(mask, text)
    return text


def without_password(uri: str) -> str:
    """The same of a text that begins as a URI, in whose password there may be spaces."""
    return without_credentials(re.sub(r"\A([a-z][\w+.-]*://[^/:]*:).*@", rf"\1{MASK}@", uri, flags=re.S | re.I))


def _whole_word(secret: str) -> re.Pattern[str]:
    """A secret that is a word, such as ``postgres``, is not meant in a longer one; after ``%3A`` it begins one."""
    pattern = re.escape(secret)
    begins = r"(?:(?<![^\W_])|(?<=%[0-9A-Fa-f]{2}))"
    return re.compile(rf"{begins}{pattern}(?![^\W_])" if secret.isalpha() else pattern)


def _given() -> Iterator[str]:
    """The secrets that this process was given, in the ways that they can be written."""
    for secret in _as_given():
        if len(secret) >= SHORTEST or (len(secret) >= SHORTEST_ODD and not secret.isalnum()):
            yield from (secret, repr(secret)[1:-1])
            yield from (quote(secret, safe, errors="surrogateescape") for safe in ("", "/"))


def _as_given() -> Iterator[str]:
    for name, value in os.environ.items():
        if SECRET_VARIABLE.search(name.upper()) and not PLACE_VARIABLE.search(name.upper()):
            yield value
        if WEBHOOK_VARIABLE.search(name.upper()) and value.startswith(("http://", "https://")):
            yield value
        if "://" in value:
            yield from _of_uri(value)
    for word in sys.argv[1:]:
        if "://" in word:
            yield from _of_uri(word)


def _of_uri(uri: str) -> Iterator[str]:
    """Its password, and the values of its parameters that are secrets."""
    for found in (*_PASSWORD.findall(uri), *_PARAMETER.findall(uri)):
        yield found
        yield unquote(found)
        yield unquote_plus(found)
        yield from (password.strip("{}") for password in _OF_ODBC.findall(unquote_plus(found)))
