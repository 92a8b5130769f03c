"""What `symphony-ext test` does: contract suites against one extension."""

from __future__ import annotations

import tempfile
from contextlib import aclosing
from pathlib import Path

from ..contracts import suite_of, suites
from ..contracts.answers import ContractTest, Result
from ..contracts.stage import open_stage
from ..contracts.suite import Suite
from ..contracts.trial import results
from ..errors import ExitCode, SymphonyError
from ..grants import Grant
from ..instances import SpawnError
from ..kit import Installed, Kit
from ..manifest import FILE_NAME, load_manifest
from ..syntax import hint
from .common import print_json, run_async
from .render import say, tell

COLUMN = 7  # the longest outcome


def check_contract(folder: Path, contract: str | None, as_json: bool, keep: bool) -> int:
    """Tests an extension and shows the results; the exit code."""
    if not folder.is_file() and not (folder / FILE_NAME).exists():
        raise SymphonyError(
            ExitCode.BAD_REQUEST,
            f"there is no extension in this folder: it has no {FILE_NAME}",
            where=str(folder),
            help="name the extension's folder: `symphony-ext test FOLDER`; one to try it on is"
            " examples/folder-store, which comes with the source",
        )
    manifest = load_manifest(folder)
    grant = Grant(manifest.permissions, manifest.extension.sandbox)
    installed = Kit().attach(folder, grant)  # its user tests it: it gets what it asks for
    chosen = _chosen(installed, contract)
    return run_async(_test(installed, chosen, as_json, keep))


async def _test(installed: Installed, chosen: list[Suite], as_json: bool, keep: bool) -> int:
    kept = Path(tempfile.mkdtemp(prefix="symphony-test-")) if keep else None
    found: list[Result] = []
    async with open_stage(kept and kept / "home") as stage:
        for number, suite in enumerate(chosen):
            place = stage.places.home / f"suite-{number}"
            try:
                async with aclosing(results(stage, installed, suite, place)) as following:
                    async for result in following:
                        found.append(result)
                        if not as_json:
                            _show(result)
            except SpawnError as error:
                raise _not_started(installed, error) from error
    failed, skipped = (
        sum(result.outcome == outcome for result in found) for outcome in ("failed", "skipped")
    )
    if as_json:
        print_json(
            ContractTest(
                ok=not failed,
                name=installed.name,
                version=installed.version,
                checks=found,
                failed=failed,
                skipped=skipped,
                kept=None if kept is None else str(kept),
            )
        )
    else:
        names = ", ".join(suite.capability for suite in chosen)
        counts = f"{len(found)} checks, {failed} failed, {skipped} skipped"
        say(f"{installed.name} {installed.version}, {names}: {counts}")
        if kept is not None:
            say(f"kept {kept}")
    return ExitCode.FAILED if failed else ExitCode.DONE


def _chosen(installed: Installed, contract: str | None) -> list[Suite]:
    """The suites to run. Raises `SymphonyError` where there is none."""
    provided = [provides.capability for provides in installed.manifest.provides]
    if contract is not None:
        if contract not in provided:
            raise SymphonyError(
                ExitCode.BAD_REQUEST,
                f"{installed.name} does not provide {contract}",
                where="--contract",
                help=hint(contract, provided, "capabilities of it"),
            )
        return [suite_of(contract)]
    known = suites()
    chosen = [known[capability] for capability in provided if capability in known]
    if not chosen:
        return [suite_of(provided[0])]  # says which suites there are
    for capability in provided:
        if capability not in known:
            tell(f"there is no contract suite for {capability}; it is not tested")
    return chosen


def _show(result: Result) -> None:
    line = f"{result.outcome:{COLUMN}}  {result.check}"
    say(line if result.outcome != "skipped" else f"{line}: {result.came}")
    if result.outcome == "failed":
        say(f"  expected: {result.expected}")
        say(f"  came:     {result.came}")
        say(f"  contract: {result.capability}: “{result.sentence}”")
        for said in result.log:
            say(f"  log:      {said}")


def _not_started(installed: Installed, error: SpawnError) -> SymphonyError:
    told = [line for line in error.last_lines if line.startswith("error: ")]
    said = f"; it said: {(told or error.last_lines)[-1]}" if error.last_lines else ""
    return SymphonyError(
        ExitCode.UNAVAILABLE,
        f"{installed.name} does not start: {error.text}{said}",
        where=str(installed.folder),
        help="it is started with the argument --store DIR, as a member of the Pit",
        fault="provider",
    )
