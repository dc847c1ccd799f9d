"""A sweep leaves no secret behind, whether in its storage, Ray's logs, MLflow, its words or arguments of processes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from cluster_user import User, free_port, wait_until
from s3_server import CREDENTIALS, s3_server
from test_elsewhere import mlflow_server
from test_nodes import Node, listens

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SWEEP = """
name: small
networks: [{n: 1, c: 2}]
datasets: [digits]
methods: {ann: {}, aann: {strategy: aann}}
training: {steps: 22, batch_size: 64, learning_rate: {0: 0.1}}
report: {figures: [cost]}
"""
VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING",
    "GITHUB_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "PGPASSWORD",
    "RAY_AUTH_TOKEN",
    "WANDB_API_KEY",
)
SECRETS = {name: f"planted{number}{name.lower().replace('_', '')}" for number, name in enumerate(VARIABLES)}
IN_WEBHOOK, IN_URI = "plantedwebhook", "planteduri"
PLANTED = {value.encode() for value in (*SECRETS.values(), IN_WEBHOOK, IN_URI)}


class Told(BaseHTTPRequestHandler):
    """A chat program's webhook."""

    bodies: list[dict[str, str]]

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def chat() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a webhook, and what it was told."""
    handler = type("Handler", (Told,), {"bodies": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/services/{IN_WEBHOOK}", handler.bodies
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def arguments_of_processes() -> Iterator[set[bytes]]:
    """The command lines of all processes of this machine while the block runs, which any of its users can read."""
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.add(path.read_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def found_in(folder: Path) -> set[tuple[str, bytes]]:
    """Each planted secret that a file below the folder holds."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {(str(path), secret) for path in files for content in [path.read_bytes()] for secret in held(content)}


def held(content: bytes) -> set[bytes]:
    return {secret for secret in PLANTED if secret in content}


def objects(url: str) -> bytes:
    """All of a bucket, names and contents."""
    keys = {"aws_access_key_id": "a key", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    bucket = boto3.resource("s3", endpoint_url=url, **keys).Bucket("bucket")
    return b"".join(part for item in bucket.objects.all() for part in (item.key.encode(), item.get()["Body"].read()))


def test_a_sweep_leaves_no_secret_behind(user: User) -> None:
    """The cluster is somebody else's, whose logs others read; its nodes have keys of their own to the bucket."""
    user.sweep_file.write_text(SWEEP)
    user.environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", **CREDENTIALS, **SECRETS}
    token = {"RAY_AUTH_TOKEN": SECRETS["RAY_AUTH_TOKEN"]}
    port = free_port()
    with s3_server() as where, chat() as (webhook, told), mlflow_server(user, free_port()) as server:
        head = Node(user, "127.0.0.1", port=port)
        with head, arguments_of_processes() as arguments:
            wait_until(lambda: listens(head.address), "the head listens")
            user.storage = f"s3://bucket/runs{where}"  # type: ignore[assignment]
            user.environment |= {"ORCHESTRATE_NOTIFY": webhook, **token}
            uri = server.replace("://", f"://me:{IN_URI}@")
            done = user.run("sweep", "--address", head.address, "--tracking-uri", uri)
            assert done.code == 0, done.stderr
            status = user.run("doctor", "--address", head.address, "--tracking-uri", uri)
            logs = Path(head._folder.name)
            assert any("runtime_env" in path.name for path in logs.rglob("*.log"))
            assert found_in(logs) == set()
        assert told[-1]["event"] == "finished"
        assert found_in(user.folder) == set()
        assert held(objects(where.partition("=")[2].partition("&")[0])) == set()
        others = (line for line in arguments if b"--tracking-uri" not in line)  # what the user typed is the user's
        assert {secret for line in others for secret in held(line)} == set()
        assert held((done.stdout + done.stderr + status.stdout + status.stderr + json.dumps(told)).encode()) == set()
