"""Which archive, and with which credentials: read once at start, from files and the environment.

The configuration names credentials; their values come from a file that is its owner's alone, or
from the environment, and are taken out of the environment when they are read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Meta, Struct

CONFIG_VARIABLE: Final = "SYMPHONY_ARCHIVE_CONFIG"
KEYS_VARIABLE: Final = "SYMPHONY_ARCHIVE_KEYS"
CREDENTIALS: Final = (  # of the environment, as the manifest asks for them
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
)
SCHEMES: Final = ("s3", "gs", "az", "file")
SECRETS: Final = frozenset(  # options whose values stand in no configuration
    {
        "secret_access_key",
        "session_token",
        "token",
        "sse_customer_key_base64",
        "account_key",
        "access_key",
        "master_key",
        "sas_key",
        "sas_token",
        "client_secret",
        "bearer_token",
        "service_account_key",
    }
)
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class ConfigError(Exception):
    """The configuration cannot be used; `remedy` says what helps."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class File(Struct, frozen=True, forbid_unknown_fields=True):
    """The configuration's file."""

    url: str
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    retries: Annotated[int, Meta(ge=0, le=20)] = 3
    options: dict[str, str | bool | int] = {}
    credentials: dict[str, str] = {}


@dataclass(frozen=True)
class Settings:
    """One archive. `secrets` are the values of its credentials, which nobody is to see."""

    url: str
    timeout_s: float
    retries: int
    options: dict[str, Any] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    @property
    def scheme(self) -> str:
        """s3, gs, az or file."""
        return urlsplit(self.url).scheme

    def hidden(self, text: str) -> str:
        """The text without any secret in it."""
        for secret in self.secrets:
            for form in (secret, quote(secret, safe="")):
                text = text.replace(form, "…")
        return text


def load(store: Path, environ: MutableMapping[str, str]) -> Settings:
    """The archive of an extension whose store is `store`. Raises ConfigError, OSError."""
    path = Path(environ.get(CONFIG_VARIABLE) or f"{store}.toml")
    keys = Path(environ.get(KEYS_VARIABLE) or f"{store}.keys")
    found = {name: environ.pop(name) for name in CREDENTIALS if name in environ}
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {path}", 'write where the archive is: url = "s3://BUCKET/PREFIX"'
        ) from None
    try:
        file = msgspec.toml.decode(text, type=File)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path} cannot be used: {error}", "correct what is named") from None
    _check(file, path)
    values = {**found, **_read_keys(keys)} if file.credentials else {}
    given = {}
    for option, name in file.credentials.items():
        if name not in values:
            raise ConfigError(
                f"there is no value for {name}, the {option} that {path} names",
                f"write {name}=VALUE into {keys} (mode 0600)"
                + (", or set it in the kernel's environment" if name in CREDENTIALS else ""),
            )
        given[option] = values[name]
    secrets = tuple(value for value in given.values() if value)
    return Settings(file.url, file.timeout_s, file.retries, {**file.options, **given}, secrets)


def _check(file: File, path: Path) -> None:
    parts = urlsplit(file.url)
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ConfigError(f"{path}: {parts.scheme}:// is no archive", f"known ones: {known}")
    if parts.username or parts.password or parts.query:
        raise ConfigError(
            f"{path}: the url holds more than a place", "name credentials in [credentials]"
        )
    if parts.scheme == "file" and (parts.netloc or parts.path.strip("/") == ""):
        raise ConfigError(f"{path}: the url names no folder", 'write url = "file:///FOLDER"')
    if parts.scheme != "file" and not parts.netloc:
        raise ConfigError(f"{path}: the url names no bucket", "write it behind ://")
    if parts.scheme == "file" and (file.options or file.credentials):
        raise ConfigError(f"{path}: a folder has no options", "remove them")
    for option in file.options:
        if option.lower().removeprefix("aws_").removeprefix("azure_storage_") in SECRETS:
            raise ConfigError(
                f"{path}: {option} stands in the configuration",
                f'write {option} = "NAME" into [credentials], and its value into the keys',
            )


def _read_keys(path: Path) -> dict[str, str]:
    """NAME=VALUE lines of a file that nobody else can read; nothing without one."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_IMODE(found.st_mode) & OTHERS or found.st_uid != os.geteuid():
                raise ConfigError(
                    f"{path} holds secrets, and others may have read it",
                    f"chmod 600 {path}; if somebody did, have new ones made",
                )
            text = file.read().decode()
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8", "write NAME=VALUE lines") from None
    values = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not (word := line.strip()) or word.startswith("#"):
            continue
        name, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{path}:{number} is no NAME=VALUE", "correct that line")
        values[name.strip()] = value.strip()
    return values
