"""No text that is shown or stored holds a secret, and what holds none stays as it is."""

from __future__ import annotations

import os
import string
import sys
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.redaction import redacted, without_credentials
from orchestrator.tracking.uris import safe_uri

SECRET = "q7/W?x#Y@z"
AROUND = "Cannot connect to {}: Connection refused, (Background on this error at: https://sqlalche.me/e/20/e3q8)"
URIS = (
    "http://me:{}@host:5000/path",
    "https://me:{}@host",
    "https://{}@host/path",
    "s3://me:{}@bucket/prefix?region=eu",
    "gs://me:{}@bucket",
    "postgresql://me:{}@host:5432/db",
    "postgresql+psycopg2://me:{}@host/db?sslmode=require",
    "mysql+pymysql://me:{}@host/db",
    "mssql+pyodbc://me:{}@host/db?driver=ODBC+Driver+18",
    "redis://:{}@host:6379/0",
    "ray://me:{}@host:10001",
)
PARAMETERS = (
    "s3://bucket/prefix?secret_key={}&region=eu",
    "postgresql://host/db?sslmode=require&sslpassword={}",
    "mysql://host/db?user=me&password={}",
    "http://host/x?token={}",
    "http://host/x?api_key={}#top",
    "https://bucket.s3.amazonaws.com/x?X-Amz-Credential={}&X-Amz-Date=20260101T000000Z",
    "https://bucket.s3.amazonaws.com/x?X-Amz-Date=20260101T000000Z&X-Amz-Signature={}",
    "https://me.blob.core.windows.net/x?sv=2024&sig={}",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3DODBC%3BUID%3Dme%3BPWD%3D{}",
)
anything = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=6, max_size=30)
any_visible = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=4, max_size=30)
encoded = any_visible.map(lambda text: quote(text, safe=""))
fast = settings(max_examples=40)


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests holds secrets of its own."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "argv", ["orchestrate"])


@pytest.mark.parametrize("uri", URIS)
@given(password=any_visible | encoded)
@example(SECRET)
@example("12/34@56")
@example("://a:b@c")
@fast
def test_no_password_of_a_uri_is_left(uri: str, password: str) -> None:
    if "https://{}" in uri and set("/:?#") & set(password):
        return  # no program takes such a token unless these characters are encoded
    message = AROUND.format(uri.format(password))
    assert redacted(message) == AROUND.format(uri.format("***"))
    assert safe_uri(uri.format(password)) == uri.format("***")
    assert redacted(redacted(message)) == redacted(message)


@pytest.mark.parametrize("uri", PARAMETERS)
@given(password=any_visible.filter(lambda text: "&" not in text) | encoded)
@fast
def test_no_secret_parameter_of_a_uri_is_left(uri: str, password: str) -> None:
    before, _, after = uri.partition("{}")
    before = before.replace("DRIVER%3DODBC%3BUID%3Dme%3BPWD%3D", "")
    end = after if after.startswith("&") else ""
    shown = redacted(f"at {uri.format(password)} it failed")
    assert shown == f"at {before}***{end} it failed"
    assert redacted(shown) == shown


@pytest.mark.parametrize("uri", [*URIS, *PARAMETERS[:2]])
@given(password=anything, data=st.data())
@fast
def test_a_password_with_spaces_that_the_program_was_given_is_left_nowhere(uri: str, password: str, data) -> None:
    """However it is written then, and wherever."""
    if "https://{}" in uri or ("?" in uri.partition("{}")[0] and "&" in password):
        return
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans()):
            patch.setenv("MLFLOW_TRACKING_URI", uri.format(password))
        else:
            patch.setattr(sys, "argv", ["orchestrate", "ui", f"--tracking-uri={uri.format(password)}"])
        for written in (uri.format(password), repr(uri.format(password)), quote(uri.format(password))):
            shown = redacted(f"at {written} it failed")
            rest = shown.replace(uri.format("***"), "")
            assert [form for form in (password, repr(password)[1:-1], quote(password)) if form in rest] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{'Authorization': 'Bearer hunter'}", "{'Authorization': 'Bearer ***"),
        ("Authorization: Basic bWU6aHVudGVy", "Authorization: Basic ***"),
        ("sent Bearer hunter2hunter", "sent Bearer ***"),
        ("X-Api-Key: hunter", "X-Api-Key: ***"),
        ('{"secret_key": "hun\\"ter", "region": "eu"}', '{"secret_key": "***", "region": "eu"}'),
        ("connect(host='h', password='hun ter')", "connect(host='h', password=***"),
        ("host=h password=hunter user=me", "host=h password=*** user=me"),
        ("Server=h;UID=me;PWD={hun;ter};Encrypt=yes", "Server=h;UID=me;PWD=***"),
        ("https://hooks.slack.com/services/T0/B0/hunter", "https://hooks.slack.com/services/***"),
        ("https://discord.com/api/webhooks/1/hunter", "https://discord.com/api/webhooks/***"),
        ("https://chat.example/hooks/hunter", "https://chat.example/hooks/***"),
        ("https://api.telegram.org/bot1:hunter/sendMessage", "https://api.telegram.org/bot***/sendMessage"),
        ("the AWS Access Key Id AKIAIOSFODNN7EXAMPLE does not exist", "the AWS Access Key Id *** does not exist"),
        ("-----BEGIN RSA PRIVATE KEY-----\nhunter\n-----END RSA PRIVATE KEY-----\nx", "***\nx"),
    ],
)
def test_what_has_the_form_of_a_secret_is_left_out(text: str, shown: str) -> None:
    assert redacted(text) == shown == redacted(shown)


@pytest.mark.parametrize(
    "text",
    [
        "the password of bob@example.com at http://host:5000 is wrong",
        "http://mlflow:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=errors",
        'password authentication failed for user "me"; Basic authentication failed; Bearer realm="x"',
        "postgresql://me@host:5432/db and s3://bucket/prefix?region=eu&endpoint_override=http://127.0.0.1:9000",
        "max_tokens=7 tokenizer=fast key=3 author=me sig=1 bypass=2",
        "RAY_AUTH_MODE=token, the token must be the same everywhere",
        "if token == other: raise",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


@given(text=st.text(string.ascii_letters + string.digits + " .,;()[]{}%#?!+-*/\n", max_size=200))
@fast
def test_words_and_numbers_stay_as_they_are(text: str) -> None:
    assert redacted(text) == text


PARTS = [
    "://",
    "http",
    ":",
    "@",
    "a",
    "token",
    "=",
    "'",
    '"',
    " ",
    "&",
    "?",
    "***",
    "bearer ",
    "1",
    "{",
    "}",
    "/hooks/",
]


@given(text=st.lists(st.sampled_from(PARTS)).map("".join))
@settings(max_examples=300)
def test_twice_is_once(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "name",
    [
        *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("POSTGRES_PASSWORD", "RAY_AUTH_TOKEN", "wandb_api_key", "DB_PASSWD", "MY_CREDENTIAL", "SSH_PRIVATE_KEY"),
    ],
)
def test_the_value_of_a_variable_that_is_a_secret_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "hunt er+2")
    assert redacted("given hunt er+2, hunt%20er%2B2.") == "given ***, ***."
    monkeypatch.setenv(name, "short")
    assert redacted("a short text") == "a short text"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/run/token"),
        ("MAX_TOKENS", "/run/token"),
        ("TOKENIZERS_PARALLELISM", "/run/token"),
        ("CHAT_HOOK", "/run/token"),
    ],
)
def test_where_a_secret_is_kept_is_none(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert redacted(f"{value}: Permission denied") == f"{value}: Permission denied"


def test_a_word_that_is_a_password_is_left_alone_in_longer_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "postgres")
    assert redacted("postgresql://me@host knows postgres.") == "postgresql://me@host knows ***."


def test_the_webhook_of_a_variable_is_a_secret_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_HOOK", "https://chat.example/x/hunter")
    assert redacted("at https://chat.example/x/hunter") == "at ***"


def test_what_is_stored_to_be_compared_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "mlflow.example")
    assert safe_uri("http://me:mlflow.example@mlflow.example") == "http://me:***@mlflow.example"


HOSTILE = [
    "a",
    "token",
    "a.b/",
    "://",
    "://a/b/",
    "://a:b",
    "http://",
    "'",
    "bearer ",
    "x-",
    "eyJ",
    " ",
    "password='",
    "@",
]


@pytest.mark.parametrize("part", HOSTILE)
def test_no_text_takes_long(part: str) -> None:
    began = time.process_time()
    without_credentials(part * (60_000 // len(part)))
    assert time.process_time() - began < 1
