"""The configuration of the archive: what is refused, and where secrets may come from."""

from __future__ import annotations

from pathlib import Path

import archive_config
import pytest
from archive_place import Place

from symphony.bus.errors import BusError

SECRET = "a-secret/that+nobody=sees"  # noqa: S105 - of nothing
S3 = """
url = "s3://bucket/old"
[options]
region = "us-east-1"
[credentials]
access_key_id = "KEY_ID"
secret_access_key = "AWS_SECRET_ACCESS_KEY"
"""


def write(folder: Path, text: str, keys: str | None = None, mode: int = 0o600) -> Path:
    store = folder / "archive-object"
    Path(f"{store}.toml").write_text(text, encoding="utf-8")
    if keys is not None:
        path = Path(f"{store}.keys")
        path.write_text(keys, encoding="utf-8")
        path.chmod(mode)
    return store


def fault(store: Path, environ: dict[str, str]) -> archive_config.ConfigError:
    with pytest.raises(archive_config.ConfigError) as caught:
        archive_config.load(store, environ)
    return caught.value


def test_a_credential_comes_from_the_file_first_and_leaves_the_environment(tmp_path: Path) -> None:
    store = write(tmp_path, S3, f"# mine\nKEY_ID = me\n\nAWS_SECRET_ACCESS_KEY={SECRET}\n")
    environ = {"AWS_SECRET_ACCESS_KEY": "another", "AWS_SESSION_TOKEN": "t", "HOME": "/"}
    settings = archive_config.load(store, environ)
    assert environ == {"HOME": "/"}
    assert settings.options == {
        "region": "us-east-1",
        "access_key_id": "me",
        "secret_access_key": SECRET,
    }
    assert SECRET not in repr(settings)
    assert settings.hidden(f"?sig=a-secret%2Fthat%2Bnobody%3Dsees of {SECRET}") == "?sig=… of …"


def test_a_credential_that_the_manifest_asks_for_may_be_in_the_environment(tmp_path: Path) -> None:
    store = write(tmp_path, S3, "KEY_ID=me\n")
    settings = archive_config.load(store, {"AWS_SECRET_ACCESS_KEY": SECRET})
    assert settings.options["secret_access_key"] == SECRET


def test_a_credential_without_a_value_is_named(tmp_path: Path) -> None:
    store = write(tmp_path, S3, "KEY_ID=me\n")
    error = fault(store, {})
    assert "AWS_SECRET_ACCESS_KEY" in str(error)
    assert f"{store}.keys" in error.remedy


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_of_keys_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    store = write(tmp_path, S3, "KEY_ID=me\n", mode)
    assert "chmod 600" in fault(store, {}).remedy


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('url = "ftp://x/y"', "ftp://"),
        ('url = "s3://me:secret@bucket"', "more than a place"),
        ('url = "az://container?sig=1"', "more than a place"),
        ('url = "s3:///prefix"', "no bucket"),
        ('url = "file://host/folder"', "no folder"),
        ('url = "file:///f"\n[options]\nregion = "x"', "no options"),
        ('url = "s3://b"\n[options]\nsecret_access_key = "x"', "secret_access_key"),
        ('url = "az://c"\n[options]\nazure_storage_account_key = "x"', "account_key"),
        ('url = "s3://b"\nregoin = "x"', "regoin"),
        ("timeout_s = 1", "url"),
        ("no toml", "cannot be used"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_remedy(
    tmp_path: Path, text: str, told: str
) -> None:
    error = fault(write(tmp_path, text), {})
    assert told in str(error)
    assert error.remedy


def test_without_a_configuration_it_says_what_to_write(tmp_path: Path) -> None:
    error = fault(tmp_path / "archive-object", {})
    assert "url =" in error.remedy


def test_an_option_that_the_place_does_not_know_is_told_without_a_traceback(tmp_path: Path) -> None:
    text = S3.replace('region = "us-east-1"', 'region = "us-east-1"\nallow_http = "true"')
    store = write(tmp_path, text, f"KEY_ID=me\nAWS_SECRET_ACCESS_KEY={SECRET}\n")
    with pytest.raises(BusError) as caught:
        Place(archive_config.load(store, {}))
    assert caught.value.code == "io"
    assert "an option is not known" in caught.value.message
    assert SECRET not in str(caught.value)
