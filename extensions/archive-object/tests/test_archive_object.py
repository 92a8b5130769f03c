"""The archive in a real S3 server: through the contract, and while the server fails and lies."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from archive_stand import FOLDER, MIB, SECRET, Bucket, archive, configure, put, read
from between import Between, Manner
from blake3 import blake3

from symphony.kernel.contracts.contents import HELLO, large, noise
from symphony.kernel.contracts.suite import UnfulfilledError

LARGE = large()


def contract_suite(environment: dict[str, str]) -> dict[str, Any]:
    """What `symphony-ext test` finds."""
    done = subprocess.run(
        [sys.executable, "-m", "symphony.kernel.cli.ext", "test", FOLDER, "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def failures(found: dict[str, Any]) -> list[str]:
    return [f"{c['check']}: {c.get('came')}" for c in found["checks"] if c["outcome"] != "passed"]


def test_it_passes_the_contract_suite_in_a_bucket(
    tmp_path: Path, bucket: Bucket, between: Between
) -> None:
    store = configure(tmp_path, bucket, between.endpoint)
    environment = {
        "SYMPHONY_ARCHIVE_CONFIG": f"{store}.toml",
        "SYMPHONY_ARCHIVE_KEYS": f"{store}.keys",
    }
    found = contract_suite(environment)
    assert failures(found) == []
    assert found["ok"]
    assert between.requests > 100
    assert bucket.objects() == []


def test_it_passes_the_contract_suite_in_a_folder(tmp_path: Path) -> None:
    config = tmp_path / "archive.toml"
    config.write_text(f'url = "file://{tmp_path}/cold"\n', encoding="utf-8")
    found = contract_suite({"SYMPHONY_ARCHIVE_CONFIG": str(config)})
    assert failures(found) == []
    assert [path for path in (tmp_path / "cold").rglob("*") if path.is_file()] == []


def test_a_server_that_fails_says_so_and_loses_nothing(
    tmp_path: Path, bucket: Bucket, between: Between, sockets: Path
) -> None:
    configure(tmp_path, bucket, between.endpoint)

    async def play() -> None:
        async with archive(tmp_path, sockets) as subject:
            await put(subject, HELLO.ref, HELLO.data)
            upload = (await subject.ask("begin", ref=LARGE.ref, bytes=len(LARGE.data)))["upload"]
            for offset in range(0, len(LARGE.data), MIB):
                data = LARGE.data[offset : offset + (MIB)]
                await subject.ask("part", upload=upload, offset=offset, data=data)
            for manner, code in (
                (Manner.FAILING, "io"),
                (Manner.REFUSING, "io"),
                (Manner.BUSY, "overloaded"),
            ):
                between.manner = manner
                for method in ("stat", "get"):
                    error = await subject.refused(code, method, ref=HELLO.ref)
                    assert error.fault == "environment"
                assert (error.retry_after_ms is not None) == (code == "overloaded")
                await subject.refused(code, "list")
                await subject.refused(code, "begin", ref=LARGE.ref, bytes=1)
            between.manner = Manner.FAILING
            await subject.refused("io", "commit", upload=upload)
            between.manner = Manner.WELL
            await subject.refused("not-found", "stat", ref=LARGE.ref)
            await put(subject, LARGE.ref, LARGE.data)
            assert await read(subject, LARGE.ref) == LARGE.data
            assert await read(subject, HELLO.ref) == HELLO.data

    asyncio.run(play())


def test_a_long_upload_goes_in_several_requests_and_is_begun_again_when_one_fails(
    tmp_path: Path, bucket: Bucket, between: Between, sockets: Path
) -> None:
    configure(tmp_path, bucket, between.endpoint)
    data = noise("long", 20 * MIB + 3)
    ref = f"blake3:{blake3(data).hexdigest()}"

    async def play() -> None:
        async with archive(tmp_path, sockets) as subject:
            upload = (await subject.ask("begin", ref=ref, bytes=len(data)))["upload"]
            between.manner = Manner.FAILING
            error = None
            for offset in range(0, len(data), MIB):
                part = {"upload": upload, "offset": offset, "data": data[offset : offset + MIB]}
                try:
                    await subject.ask("part", **part)
                except UnfulfilledError as refused:
                    error = refused
                    break
            assert error is not None
            assert error.came.startswith("io")
            between.manner = Manner.WELL
            await subject.refused("not-found", "commit", upload=upload)
            assert bucket.objects() == []
            before = between.requests
            await put(subject, ref, data)
            assert between.requests - before >= 5  # begun, three parts, completed
            assert await read(subject, ref) == data
            assert len(bucket.objects()) == 1

    asyncio.run(play())


def test_a_server_that_says_nothing_is_given_up_in_time(
    tmp_path: Path, bucket: Bucket, between: Between, sockets: Path
) -> None:
    configure(tmp_path, bucket, between.endpoint, timeout_s=0.5)

    async def play() -> None:
        async with archive(tmp_path, sockets) as subject:
            await put(subject, HELLO.ref, HELLO.data)
            between.manner = Manner.SILENT
            for method in ("stat", "get"):
                error = await subject.refused("io", method, ref=HELLO.ref)
                assert error.fault == "environment"
            between.manner = Manner.WELL
            assert await read(subject, HELLO.ref) == HELLO.data

    asyncio.run(play())


def test_a_byte_that_was_changed_is_seen_by_whoever_reads_back(
    tmp_path: Path, bucket: Bucket, between: Between, sockets: Path
) -> None:
    configure(tmp_path, bucket, between.endpoint)

    async def play() -> None:
        async with archive(tmp_path, sockets) as subject:
            await put(subject, LARGE.ref, LARGE.data)
            between.manner = Manner.LYING  # on the way
            assert f"blake3:{blake3(await read(subject, LARGE.ref)).hexdigest()}" != LARGE.ref
            between.manner = Manner.LOSING
            await subject.refused("io", "get", ref=LARGE.ref)
            between.manner = Manner.WELL
            bucket.change(LARGE.ref)  # where it lies
            assert f"blake3:{blake3(await read(subject, LARGE.ref)).hexdigest()}" != LARGE.ref
            await put(subject, LARGE.ref, LARGE.data)
            assert await read(subject, LARGE.ref) == LARGE.data

    asyncio.run(play())


def test_no_secret_is_in_arguments_environment_or_log(
    tmp_path: Path, bucket: Bucket, between: Between, sockets: Path
) -> None:
    store = configure(tmp_path, bucket, between.endpoint)
    Path(f"{store}.toml").write_text(
        Path(f"{store}.toml").read_text("utf-8").replace('"KEY"', '"AWS_SECRET_ACCESS_KEY"'),
        encoding="utf-8",
    )

    async def play() -> None:
        async with archive(tmp_path, sockets) as subject:
            await put(subject, HELLO.ref, HELLO.data)
            between.manner = Manner.REFUSING
            error = await subject.refused("io", "stat", ref=HELLO.ref)
            assert SECRET not in f"{error} {error.help}"
            assert SECRET not in psutil.Process(subject.pid).cmdline()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        asyncio.run(play())
    logs = [path.read_text("utf-8") for path in sockets.rglob("*.log")]
    assert logs
    assert not any(SECRET in log for log in logs)
