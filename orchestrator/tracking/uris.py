"""Where MLflow is: its addresses, and the files and proxies that they stand for. Imports no MLflow."""

from __future__ import annotations

import http.client
import re
import socket
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

from orchestrator.errors import UsageError
from orchestrator.ledger.storage import Location, local_folder
from orchestrator.redaction import without_password
from orchestrator.text import FromEnvironment, named

SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")
SQLITE = "sqlite:///"
"""Before the path of a database."""
PORTS = {"http": 80, "https": 443}
BAD_PORT = "its port is no number up to 65535, or its password has / ? or # in it: write %2F %3F %23 there"
FOLDER, ARTIFACTS = "mlflow", "artifacts"
"""Of the storage folder, the one with MLflow's database; below that, the one with the files of runs."""


def default_uri(storage: Location) -> str:
    """A SQLite file in the storage folder; for a bucket on this machine, as a database must be a file."""
    return sqlite_uri(local_folder(storage).absolute() / FOLDER / "mlflow.db")


def sqlite_uri(database: Path) -> str:
    """The address of a SQLite store, as SQLAlchemy reads it: what follows ``?`` would be its options, and ``%20`` a
    blank."""
    return SQLITE + str(database).replace("%", "%25").replace("?", "%3F")


def check_uri(uri: str) -> str:
    """Raises UsageError for a URI that no MLflow store answers to."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise UsageError(f"{_named(uri)}: {error}") from error
    try:
        scheme, port, fault = parts.scheme.partition("+")[0], parts.port, None
    except ValueError:  # whose text would show a part of the password
        raise UsageError(f"{_named(uri)}: {BAD_PORT}") from None
    if scheme not in SCHEMES:
        fault = f"must begin with one of {', '.join(f'{name}://' for name in SCHEMES)}"
    elif scheme == "sqlite" and not parts.path.strip("/"):
        fault = "must name a file, such as sqlite:////folder/mlflow.db"
    elif scheme == "sqlite" and "?" in uri:
        fault = "a SQLite store has no options; a ? in its path is written %3F"
    elif scheme != "sqlite" and (not parts.hostname or port == 0):
        fault = "must name a host"
    if fault:
        raise UsageError(f"{_named(uri)}: {fault}")
    return uri


def _named(uri: str) -> str:
    return named(uri, "tracking URI", safe_uri(uri) if isinstance(uri, FromEnvironment) else repr(safe_uri(uri)))


def safe_uri(text: str) -> str:
    """A URI, or a text that holds some, without passwords and tokens: fit to be shown, stored and compared."""
    return without_password(text)


def is_server(uri: str) -> bool:
    """Whether MLflow's own server answers there, and not a database."""
    return urlsplit(uri).scheme in PORTS


def public_address(uri: str) -> str:
    """A server's address for a browser, which asks for the name and the password that the URI may hold."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def database_file(uri: str) -> Path | None:
    """The file of a SQLite store."""
    return Path(unquote(uri.removeprefix(SQLITE))) if uri.startswith(SQLITE) else None


def artifact_root(uri: str) -> str | None:
    """Beside a SQLite file; a server has a place of its own. MLflow's default would be the working folder."""
    database = database_file(uri)
    return (database.absolute().parent / ARTIFACTS).as_uri() if database else None


def movable(place: str, uri: str) -> str:
    """A place beside a SQLite file as it is called from there, so that it is the same after both were moved."""
    return place.removeprefix(artifact_root(uri) or "")


def check_listening(uri: str) -> None:
    """Tells of a closed port at once, before the seconds that MLflow's import takes. A server behind a proxy is the
    proxy's to find: its name may mean nothing here. Raises OSError."""
    parts = urlsplit(uri)
    if is_server(uri) and parts.hostname and not _proxy(uri):
        socket.create_connection((parts.hostname, parts.port or PORTS[parts.scheme]), timeout=5).close()


def server_version(uri: str) -> tuple[int, ...]:
    """Which MLflow a server says it is; empty where it does not, or is not asked as MLflow's client would ask."""
    if not is_server(uri):
        return ()
    try:
        with urllib.request.urlopen(f"{public_address(uri)}/version", timeout=5) as answer:
            said = answer.read(100).decode(errors="replace")
    except (OSError, ValueError, http.client.HTTPException):
        return ()
    match = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?\S*\s*", said)
    return tuple(int(part) for part in match.groups() if part) if match else ()


def _proxy(uri: str) -> str:
    """The proxy that requests to a server go through, by http_proxy, all_proxy and no_proxy; empty for none."""
    parts, proxies = urlsplit(uri), urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    host = parts.hostname or ""
    return "" if urllib.request.proxy_bypass(f"{host}:{parts.port}" if parts.port else host) else proxy
