"""An S3-compatible server in a process of its own, on loopback: moto's, with one bucket."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster_user import ended_with_block, free_port, wait_until

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "a key",
    "AWS_SECRET_ACCESS_KEY": "a secret that nobody may see",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def s3_server(port: int = 0) -> Iterator[str]:
    """Yields what follows ``s3://bucket/PREFIX`` to reach it. What it holds goes with it."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    with ended_with_block(server):
        wait_until(lambda: _made(f"{url}/bucket"), "the S3 server answers")
        yield f"?endpoint_override={url}&region=us-east-1"


def _made(bucket: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(bucket, method="PUT"), timeout=5).close()
    except (urllib.error.URLError, OSError):
        return False
    return True
