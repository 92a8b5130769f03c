"""The archive as the kernel starts it, and the bucket as its owner sees it."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

from symphony.kernel.contracts.stage import Subject, open_stage
from symphony.kernel.grants import Grant
from symphony.kernel.kit import Installed, Kit
from symphony.kernel.manifest import load_manifest

FOLDER = Path(__file__).parents[1]
CAPABILITY = "pit.archive/1"
SECRET = "a-secret/that+nobody=sees"  # noqa: S105 - of nothing
MIB = 1 << 20
RUNNING = re.compile(r"Running on http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Bucket:
    """A bucket of the test's server, without anything between."""

    name: str
    port: int

    @cached_property
    def store(self) -> Any:
        return S3Store(
            self.name,
            endpoint=f"http://127.0.0.1:{self.port}",
            access_key_id="owner",
            secret_access_key="owner",  # noqa: S106 - the server of the test takes any
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def objects(self) -> list[str]:
        return [meta["path"] for batch in obstore.list(self.store) for meta in batch]

    def change(self, ref: str) -> None:
        """Flips a byte of an object where it lies."""
        path = f"old/blake3/{ref.removeprefix('blake3:')}"
        data = bytearray(obstore.get(self.store, path).bytes().to_bytes())
        data[len(data) // 2] ^= 1
        obstore.put(self.store, path, bytes(data))


@contextmanager
def s3_server() -> Iterator[int]:
    """The port of moto's server, a process of its own."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        lines = iter(server.stderr.readline, "")
        found = next(filter(None, map(RUNNING.search, lines)))
        drain = threading.Thread(target=lambda: [None for _ in lines], daemon=True)
        drain.start()  # a server whose log nobody reads would stop
        yield int(found[1])
    finally:
        server.kill()
        server.wait()
        drain.join()
        server.stderr.close()


def new_bucket(port: int, test: str) -> Bucket:
    """An empty bucket named for a test."""
    name = re.sub("[^a-z0-9]+", "-", test.lower()).strip("-")[:60].strip("-")
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    return Bucket(name, port)


def configure(
    folder: Path, bucket: Bucket, endpoint: str, *, name: str = "store", timeout_s: float = 20
) -> Path:
    """Writes configuration and keys beside `folder`/`name`, and gives that."""
    store = folder / name
    Path(f"{store}.toml").write_text(
        f"""
        url = "s3://{bucket.name}/old"
        timeout_s = {timeout_s}
        retries = 1
        [options]
        endpoint = "{endpoint}"
        region = "us-east-1"
        [credentials]
        access_key_id = "KEY_ID"
        secret_access_key = "KEY"
        """,
        encoding="utf-8",
    )
    keys = Path(f"{store}.keys")
    keys.write_text(f"# of the test\nKEY_ID=somebody\nKEY={SECRET}\n", encoding="utf-8")
    keys.chmod(0o600)
    return store


def installed() -> Installed:
    manifest = load_manifest(FOLDER)
    return Kit().attach(FOLDER, Grant(manifest.permissions, "none"))


@asynccontextmanager
async def archive(folder: Path, sockets: Path) -> AsyncIterator[Subject]:
    """The extension, with its configuration at `folder`/store.toml."""
    async with open_stage(sockets / "home") as stage:
        subject = Subject(stage, installed(), CAPABILITY, folder)
        await subject.start()
        try:
            yield subject
        finally:
            await subject.close()


async def put(subject: Subject, ref: str, data: bytes) -> Any:
    """begin, part …, commit."""
    upload = (await subject.ask("begin", ref=ref, bytes=len(data)))["upload"]
    for offset in range(0, len(data), MIB):
        part = data[offset : offset + MIB]
        await subject.ask("part", upload=upload, offset=offset, data=part)
    return await subject.ask("commit", upload=upload)


async def read(subject: Subject, ref: str) -> bytes:
    """All that the archive gives."""
    data = b""
    while True:
        reply = await subject.ask("get", ref=ref, offset=len(data))
        data += reply["data"]
        if not reply["more"]:
            return data
