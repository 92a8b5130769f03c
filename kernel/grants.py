"""What the user allows each extension: `grants.json` in the home, the user's alone (0600)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from .document import load_document
from .errors import Problem, Problems
from .events import SandboxLevel
from .manifest import Permissions
from .space import naming
from .structure import Report, decode
from .syntax import ExtensionName

GRANTS: Final = "grants.json"


class Grant(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the user allows one extension."""

    permissions: Permissions = Permissions()
    sandbox: SandboxLevel = "strict"


Grants = dict[ExtensionName, Grant]


def load_grants(home: Path, problems: list[Problem]) -> Grants:
    """The user's grants by extension; a file that others could have written grants nothing."""
    path = home / GRANTS
    try:
        status = path.stat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        problems.append(Problem(f"cannot read the grants: {error.strerror}", str(path)))
        return {}
    if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid():
        message = "the grants are ignored: the file must be yours alone"
        problems.append(Problem(message, str(path), f"check it, then chmod 600 {path}"))
        return {}
    try:
        document = load_document(path)
        report = Report(document)
        grants = decode(document, Grants, report)
        report.raise_if_any()
    except Problems as error:
        problems.extend(error.problems)
        return {}
    return grants or {}


def save_grant(home: Path, name: str, grant: Grant | None) -> None:
    """Records (or with None removes) the grant of one extension; atomic. Raises `Problems`."""
    problems: list[Problem] = []
    grants = load_grants(home, problems)
    if problems:
        raise Problems(problems)
    grants.pop(name, None)
    if grant is not None:
        grants[name] = grant
    path = home / GRANTS
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    content = msgspec.json.format(msgspec.json.encode(grants, order="sorted"), indent=2)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with naming(temporary), os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
