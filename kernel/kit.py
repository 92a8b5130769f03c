"""The Orchestra Kit: the installed extensions, their manifests and what they were granted.

Extensions come from three places: attached by hand to this kernel, installed in the home, bundled
with the product. An extension of a nearer place replaces one of the same name, and is preferred as
a player; within a place the higher version, then the lower cost per call, then the name decides.
One broken manifest hides nothing but itself.
"""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from .errors import Problem, Problems
from .events import SandboxLevel
from .grants import Grant, load_grants
from .manifest import FILE_NAME, Manifest, Permissions, Provides, load_manifest, manifest_path
from .syntax import version_key

Origin = Literal["attached", "installed", "bundled"]
_NEARNESS: Final[dict[Origin, int]] = {"attached": 0, "installed": 1, "bundled": 2}


@dataclass(frozen=True)
class Installed:
    """A usable extension. `granted` is never more than its manifest asks for."""

    manifest: Manifest
    folder: Path
    origin: Origin
    granted: Permissions
    sandbox: SandboxLevel

    @property
    def name(self) -> str:
        """Its name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Its version."""
        return self.manifest.version

    @property
    def bundled(self) -> bool:
        """True if it came with the product."""
        return self.origin == "bundled"

    @property
    def missing(self) -> list[str]:
        """What it asks for and was not granted, in words."""
        granted = set(self.granted.words())
        wanted = [word for word in self.manifest.permissions.words() if word not in granted]
        level = self.manifest.extension.sandbox
        return wanted if level == self.sandbox else [*wanted, f"sandbox {level}"]


@dataclass(frozen=True)
class Broken:
    """A folder with a manifest that is not valid; `capabilities` is what it seems to promise."""

    folder: Path
    name: str
    capabilities: frozenset[str]
    error: Problems


class Kit:
    """The extensions that a kernel can summon."""

    def __init__(
        self,
        installed: Iterable[Installed] = (),
        broken: Iterable[Broken] = (),
        problems: Iterable[Problem] = (),
    ) -> None:
        self.broken = list(broken)
        self.problems = list(problems)  # of the kit itself: grants, unreadable folders, doubles
        self._candidates = list(installed)
        self._index()

    @property
    def extensions(self) -> list[Installed]:
        """The usable extensions, by name."""
        return list(self._by_name.values())

    def get(self, name: str) -> Installed | None:
        """The extension of that name, or None."""
        return self._by_name.get(name)

    def players(self, capability: str) -> list[Installed]:
        """Who provides `capability`, preferred first; empty if nobody does."""
        return list(self._players.get(capability, ()))

    def capability(self, name: str) -> Provides | None:
        """The declaration of a capability by its preferred player, or None."""
        players = self._players.get(name)
        return players[0].manifest.provided(name) if players else None

    def capabilities(self) -> list[str]:
        """All that is provided, sorted."""
        return sorted(self._players)

    def promised(self, capability: str) -> Broken | None:
        """A broken extension that would provide `capability`."""
        return next((entry for entry in self.broken if capability in entry.capabilities), None)

    def attach(self, folder: Path, grant: Grant | None = None) -> Installed:
        """Adds the extension in `folder` for the life of this kit. Raises `Problems`.

        Attaching is an explicit act of the user: without `grant` it gets what it asks for. A
        sandbox weaker than strict is only given by `grant`.
        """
        manifest = load_manifest(folder)
        home = manifest_path(folder).resolve().parent
        given = grant or Grant(manifest.permissions)
        extension = _install(manifest, home, "attached", given)
        self._candidates.append(extension)
        self._index()
        return extension

    def detach(self, attached: Installed) -> None:
        """Takes back what `attach` gave; what it replaced is there again. Idempotent."""
        self._candidates = [c for c in self._candidates if c is not attached]
        self._index()

    def _index(self) -> None:
        """Of several with one name the nearest counts, and of those the one that came last."""
        self._by_name: dict[str, Installed] = {}
        for extension in sorted(self._candidates, key=lambda c: _NEARNESS[c.origin], reverse=True):
            self._by_name[extension.name] = extension
        self._by_name = dict(sorted(self._by_name.items()))
        self._players: dict[str, list[Installed]] = {}
        for extension in self._by_name.values():
            for provides in extension.manifest.provides:
                self._players.setdefault(provides.capability, []).append(extension)
        for capability, players in self._players.items():
            if len(players) > 1:
                _prefer(players, capability)


def load_kit(
    home: Path | None, *, attached: Iterable[Path] = (), bundled: Path | None = None
) -> Kit:
    """Finds the extensions bundled with the product, in `home`/extensions, and in `attached`.

    Never raises for a broken extension or a bad grants file: they are in `broken` and `problems`.
    Raises `Problems` for a broken `attached` folder, which the user named.
    """
    installed: list[Installed] = []
    broken: list[Broken] = []
    problems: list[Problem] = []
    grants = load_grants(home, problems) if home else {}
    places: list[tuple[Path | None, Origin]] = [
        (bundled or bundled_folder(), "bundled"),
        (home / "extensions" if home else None, "installed"),
    ]
    for root, origin in places:
        seen: dict[str, Installed] = {}
        for folder in _folders(root, problems):
            try:
                manifest = load_manifest(folder)
            except Problems as error:
                broken.append(_broken(folder, error))
                continue
            own = Grant(manifest.permissions, manifest.extension.sandbox)
            grant = own if origin == "bundled" else grants.get(manifest.name, Grant())
            extension = _install(manifest, folder, origin, grant)
            other = seen.setdefault(manifest.name, extension)
            if other is not extension:
                pair = sorted((other, extension), key=lambda e: version_key(e.version))
                seen[manifest.name] = pair[1]
                message = f'"{manifest.name}" is installed twice; {pair[1].folder} is used'
                problems.append(Problem(message, str(pair[0].folder), "remove one of them"))
        installed += seen.values()
    kit = Kit(installed, broken, problems)
    for folder in attached:
        kit.attach(folder)
    return kit


def bundled_folder() -> Path | None:
    """The folder of the extensions that come with the product, or None if they are left out."""
    spec = importlib.util.find_spec("symphony.extensions")
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) if locations else None


def _install(manifest: Manifest, folder: Path, origin: Origin, grant: Grant) -> Installed:
    asked = manifest.extension.sandbox
    level: SandboxLevel = asked if grant.sandbox == asked else "strict"
    return Installed(manifest, folder, origin, manifest.permissions & grant.permissions, level)


def _prefer(players: list[Installed], capability: str) -> None:
    """Sorts by place, higher version, lower cost; names are in order already."""

    def cost(player: Installed) -> float:
        provides = player.manifest.provided(capability)
        return provides.cost.per_call if provides else 0.0

    players.sort(key=cost)
    players.sort(key=lambda player: version_key(player.version), reverse=True)
    players.sort(key=lambda player: _NEARNESS[player.origin])


def _folders(root: Path | None, problems: list[Problem]) -> Iterator[Path]:
    if root is None:
        return
    try:
        yield from sorted(folder for folder in root.iterdir() if (folder / FILE_NAME).is_file())
    except FileNotFoundError:
        return
    except OSError as error:
        problems.append(Problem(f"cannot list the extensions: {error.strerror}", str(root)))


def _broken(folder: Path, error: Problems) -> Broken:
    """What can still be told of a folder whose manifest is not valid."""
    try:
        data = tomllib.loads((folder / FILE_NAME).read_text("utf-8"))
        promised = [entry["capability"] for entry in data["provides"]]
        names = frozenset(name for name in promised if isinstance(name, str))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        names = frozenset()
    return Broken(folder, folder.name, names, error)
