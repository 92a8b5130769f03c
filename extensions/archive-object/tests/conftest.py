"""An S3 server, a way to it that can fail, and buckets; all ended with the test."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode puts no test folder on the path

from archive_stand import Bucket, new_bucket, s3_server
from between import Between


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """The port of an S3 server."""
    with s3_server() as port:
        yield port


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder whose name is short enough for socket paths."""
    with tempfile.TemporaryDirectory(prefix="archive-") as folder:
        yield Path(folder)


@pytest.fixture
def between(s3_port: int) -> Iterator[Between]:
    """The way to the S3 server."""
    with Between(s3_port) as server:
        yield server


@pytest.fixture
def bucket(s3_port: int, request: pytest.FixtureRequest) -> Bucket:
    """An empty bucket of this test."""
    return new_bucket(s3_port, request.node.name)
