"""The tests of rules and qualities: what must be refused, and what holds of the whole program."""

from __future__ import annotations

import re

from code_checks import dedented, two_values
from code_values import literal
from plan_model import Feature, Plan, repr_str


def check_name(f: Feature) -> str:
    if f.verb == "quality":
        return {
            "offline": "uses_no_network",
            "command-line": "lists_every_command",
            "persistence": "keeps_data",
            "python": "runs_as_a_module",
        }[f.noun]
    return "refuses_" + re.split(r"[=]", f.tokens[0])[0].lstrip("@")


def check_fixtures(f: Feature) -> str:
    if f.verb == "quality":
        return {
            "offline": "",
            "command-line": "run: Run",
            "persistence": "path: Path",
            "python": "",
        }[f.noun]
    return "" if f.tokens[0] == "@kept=always" else "db: Database"


def check_code(f: Feature, plan: Plan) -> str:
    """The test of a rule or a quality."""
    if f.verb == "quality":
        return dedented(_quality(f, plan))
    thing = f.thing
    assert thing is not None  # noqa: S101 - as above
    key, _, value = f.tokens[0].lstrip("@").partition("=")
    names = re.split(r"[<>]", value)[0].split(",")
    found = [a for n in names if (a := thing.get(n))]
    make, rows = f"sample_data.{thing.name}", f"db.{thing.plural}"
    if key in ("unique", "distinct"):
        same = ",\n                ".join(f"{a.column}=item.{a.column}" for a in found)
        return dedented(f"""
            item = {make}(db, 1)
            same: dict[str, object] = dict(
                {same}
            )
            with pytest.raises(Refused):
                {make}(db, 2, **same)
            assert {rows}.all() == [item]
        """)
    if key in ("minimum", "required"):
        a = found[0]
        bad = {"text": '""', "decimal": "Decimal(-1)", "integer": "-1"}.get(a.kind, "None")
        return dedented(f"""
            with pytest.raises(Refused):
                {make}(db, 1, {a.column}={bad})
            assert {rows}.all() == []
        """)
    if key == "exclusive":
        return dedented(f"""
            loan = {make}(db, 1)
            with pytest.raises(Refused, match="already"):
                {make}(db, 2, {found[0].column}=loan.{found[0].column})
            assert {rows}.all() == [loan]
        """)
    if key in ("capacity", "referred", "kept", "ordered"):
        return dedented(_relation(f, plan, key, value))
    limit = value.rpartition("=")[2]
    column = found[0].column
    return dedented(f"""
        first = {make}(db, 1)
        for n in range(2, {int(limit) + 1}):
            {make}(db, n, {column}=first.{column})
        with pytest.raises(Refused, match="{limit}"):
            {make}(db, 99, {column}=first.{column})
        assert len({rows}.all()) == {limit}
    """)


def _relation(f: Feature, plan: Plan, key: str, value: str) -> str:
    """The test of a rule that holds between two fields or two things, or for deleting."""
    thing = f.thing
    assert thing is not None  # noqa: S101 - as above
    make, rows = f"sample_data.{thing.name}", f"db.{thing.plural}"
    if key == "referred":
        holder = plan.thing(value)
        ref = (
            next(a.column for a in holder.references if a.argument == thing.name) if holder else ""
        )
        return f"""
            holder = sample_data.{value}(db, 1)
            before = {rows}.all()
            with pytest.raises(Refused):
                {rows}.remove(holder.{ref} or 0)
            assert {rows}.all() == before
        """
    if key == "kept" and value == "always":
        words = ", ".join(
            f'"{word}-{thing.name.replace("_", "-")}"' for word in ("delete", "remove", "erase")
        )
        return f"""
            listed = [command.name or "" for command in app.registered_commands]
            forbidden = ({words})
            assert not [name for name in listed if name.startswith(forbidden)]
        """
    if key == "kept":
        name, _, state = value.partition(":")
        a = thing.get(name)
        assert a is not None  # noqa: S101 - plan_make has looked
        return f"""
            item = {make}(db, 1, {a.column}={literal(a, state)})
            with pytest.raises(Refused, match="cannot be deleted"):
                {rows}.remove(item.id or 0)
            assert {rows}.all() == [item]
        """
    first, _, second = value.partition("<=")
    low, high = thing.get(first), thing.get(second)
    assert low is not None  # noqa: S101 - as above
    if key == "ordered":
        assert high is not None  # noqa: S101 - as above
        values = two_values(low) or ("0", "1")
        return f"""
            with pytest.raises(Refused):
                {make}(db, 1, {low.column}={values[1]}, {high.column}={values[0]})
            assert {rows}.all() == []
        """
    place = plan.thing(low.argument)
    size = place.get(second) if place else None
    return f"""
        place = sample_data.{low.argument}(db, 1, {size.column if size else second}=1)
        first = {make}(db, 1, {low.column}=place.id)
        with pytest.raises(Refused, match="full"):
            {make}(db, 2, {low.column}=place.id)
        assert {rows}.all() == [first]
    """


def _quality(f: Feature, plan: Plan) -> str:
    if f.noun == "offline":
        return """
            network = {"socket", "urllib", "http", "requests", "httpx"}
            for module in sorted(PACKAGE.glob("*.py")):
                for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
                    names = [getattr(node, "module", None) or ""]
                    names += [a.name for a in getattr(node, "names", []) if isinstance(a,
                    ast.alias)]
                    assert not network & {name.split(".")[0] for name in names}
        """
    if f.noun == "command-line":
        names = ",\n                ".join(repr_str(c.command) for c in plan.commands)
        return (
            f"""
            result = run("--help")
            assert result.exit_code == 0
            listed = {{command.name for command in app.registered_commands}}
            for name in (
                {names},
            ):
                assert name in listed
        """
            if plan.commands
            else 'assert run("--help").exit_code == 0'
        )
    if f.noun == "persistence" and plan.things:
        t = plan.things[0]
        return f"""
            first = Database(path)
            item = sample_data.{t.name}(first, 1)
            first.close()
            second = Database(path)
            assert item in second.{t.plural}.all()
            second.close()
        """
    if f.noun == "persistence":
        return """
            Database(path).close()
            assert path.exists()
        """
    return f"""
        command = [sys.executable, "-m", "{plan.package}", "--help"]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    """
