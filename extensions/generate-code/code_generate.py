"""A backlog in, the files of an installable package out: the whole player as one pure function."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import code_checks
import code_rules
import code_values
import code_words
from plan_make import plan as make_plan
from plan_model import Feature, Plan, Thing

TEMPLATES = Path(__file__).with_name("templates")


def generate(backlog: str, prompt: str = "") -> dict[str, str]:
    """Relative path → text of every file. Raises plan_read.UnreadableBacklog."""
    plan = make_plan(backlog, prompt)
    env = _environment(plan)
    facts = _facts(plan)

    def render(name: str, **more: Any) -> str:
        text: str = env.get_template(name + ".j2").render(plan=plan, **facts, **more)
        text = re.sub(r"[ \t]+\n", "\n", text)
        return re.sub(r"\n{4,}", "\n\n\n", text).strip("\n") + "\n"

    source = f"src/{plan.package}"
    cli = render("cli.py", **_cli_facts(env, plan))
    cli = _compact(_trim_imports(cli))
    body = env.get_template("test_body.py.j2").render(plan=plan, **facts)
    left = untested(plan, body)
    body += env.get_template("test_missing.py.j2").render(untested=left)
    body = _compact(re.sub(r"\n{4,}", "\n\n\n", body).strip("\n"))
    if "EVERY_DAY" in body:
        body = _EVERY_DAY + "\n\n\n" + body
    if "ids(" in body:
        body = _IDS + "\n\n\n" + body
    tests = render(
        "test_features.py",
        body="\n\n" + body,
        test_uses=lambda word: word in body,
        test_dates=_dates(body),
    )
    helpers = [name for name in ("text", "write_file") if re.search(rf"\b{name}\(", body)]
    if helpers:
        before = f"from {plan.package}.repository"
        tests = tests.replace(
            before, f"from {plan.package}.output import {', '.join(helpers)}\n{before}", 1
        )
    files = {
        "pyproject.toml": render("pyproject.toml"),
        "README.md": render("README.md", untested=left),
        "UNRECOGNISED.md": render("UNRECOGNISED.md"),
        f"{source}/__init__.py": f'"""{code_words.wrapped(plan.title)}"""\n',
        f"{source}/__main__.py": render("main_module.py"),
        f"{source}/cli.py": cli,
        f"{source}/models.py": render("models.py"),
        f"{source}/output.py": render("output.py"),
        f"{source}/repository.py": render("repository.py"),
        f"{source}/storage.py": render("storage.py"),
        "tests/conftest.py": render("conftest.py"),
        "tests/test_features.py": tests,
    }
    if plan.things:
        files["tests/sample_data.py"] = render("sample_data.py")
    else:
        del files[f"{source}/models.py"]
    return dict(sorted(files.items()))


_EVERY_DAY = 'EVERY_DAY = ("--from", "2000-01-01", "--to", "2099-12-31")'
_IDS = '''def ids(output: str) -> list[int]:
    """The numbers in the first column of a table."""
    return [int(line.split()[0]) for line in output.splitlines()[1:]]'''


def _compact(text: str) -> str:
    """Functions without blank lines: templates leave some where a part is absent."""
    return re.sub(
        r"(?<=[^)\n])\n+(def |@pytest)", r"\n\n\n\1", re.sub(r"\n\n+(?=    )", "\n", text)
    )


def _environment(plan: Plan) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - what is rendered is Python, not HTML
    )
    env.filters |= code_words.FILTERS | code_values.FILTERS
    env.filters |= {
        "list_checks": code_checks.list_checks,
        "figure_checks": code_checks.figure_checks,
        "sample": lambda a, thing: code_values.sample(a, thing, _lower(plan, thing)),
        "check_name": code_rules.check_name,
        "check_fixtures": code_rules.check_fixtures,
        "check_code": lambda f: code_rules.check_code(f, plan),
    }
    return env


def _dates(text: str, extra: str = "") -> str:
    """Which names of datetime a text uses."""
    names = [
        n
        for n in ("date", "datetime", "time", "timedelta")
        if re.search(rf"(?<![\w.]){n}(?:\(|\.|\b \||\])", text)
    ]
    return ", ".join(n for n in names if n not in extra)


def _facts(plan: Plan) -> dict[str, Any]:
    kinds = {a.kind for t in plan.things for a in t.attributes}
    aliases = {"date": "date as Date", "datetime": "datetime as DateTime"}
    sample = [n for n in ("date", "datetime") if n in kinds]
    return {
        "rules": _rules(plan),
        "periods": any(f.option("range") and f.period for f in plan.commands),
        "datetime_names": ", ".join(aliases[n] for n in sample),
        "sample_dates": ", ".join([*sample, "timedelta"] if sample else []),
    }


def _rules(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """Rules between rows, for each entity."""
    found: dict[str, list[dict[str, Any]]] = {t.name: [] for t in plan.things}
    for f in plan.commands:
        if f.verb == "lend":
            one = {"kind": "exclusive", "column": f"{f.noun}_id", "label": code_words.say(f.noun)}
            found["loan"] += [one] if one not in found["loan"] else []
    for f in plan.checks:
        if f.verb != "rule" or f.thing is None:
            continue
        key, _, value = f.tokens[0].lstrip("@").partition("=")
        names = re.split(r"[<>]", value)[0].split(",")
        columns = [a.column for n in names if (a := f.thing.get(n))]
        rule: dict[str, Any] = {
            "kind": key,
            "column": columns[0] if columns else "",
            "columns": columns,
            "label": " and ".join(map(code_words.say, names)),
            "number": value.rpartition("=")[2],
        }
        if key in ("capacity", "ordered", "kept"):
            rule |= _rule_parts(key, value, f, plan)
        if rule["kind"] in ("limit", "distinct", "capacity", "ordered", "kept"):
            found[f.thing.name].append(rule)
    return found


def _rule_parts(key: str, value: str, f: Feature, plan: Plan) -> dict[str, Any]:
    thing = f.thing
    assert thing is not None  # noqa: S101 - a rule has a thing; for the type checker
    if key == "kept":
        name, _, state = value.partition(":")
        held = thing.get(name)
        return (
            {
                "test": f"item.{held.column} {code_values.equals(held, state)}",
                "state": state.replace("true", name),
            }
            if held
            else {"kind": "none"}
        )
    first, _, second = value.partition("<=")
    if key == "ordered":
        low, high = thing.get(first), thing.get(second)
        assert low is not None and high is not None  # noqa: S101, PT018 - plan_make has looked
        return {"low": low, "high": high}
    ref = thing.get(first)
    place = plan.thing(ref.argument) if ref else None
    size = place.get(second) if place else None
    return {"place": place, "size": size}


def _lower(plan: Plan, thing: Thing) -> frozenset[str]:
    """The fields that a rule wants to be no more than another."""
    values = (
        c.tokens[0].partition("=")[2]
        for c in plan.checks
        if c.thing is thing and c.tokens and c.tokens[0].startswith("@ordered=")
    )
    return frozenset(v.partition("<=")[0] for v in values)


def untested(plan: Plan, body: str) -> list[tuple[Feature, int, str]]:
    """The criteria that no generated test carries out, with their 1-based number."""
    features = [*plan.commands, *plan.checks]
    every = [(f, n, text) for f in features for n, text in enumerate(f.acceptance, 1)]
    return [(f, n, text) for f, n, text in every if code_words.wrapped(text) not in body]


def _cli_facts(env: Any, plan: Plan) -> dict[str, Any]:
    """Everything that may be imported; what the text does not use is dropped again."""
    del env
    return {
        "uses_counter": True,
        "uses_replace": True,
        "cli_dates": "date, datetime, timedelta",
        "uses_decimal": True,
        "parses_decimal": plan.uses("decimal"),
        "models": sorted(t.cls for t in plan.things),
        "output_names": ["one", "order", "period", "read_file", "table", "text", "write_file"],
    }


def _trim_imports(text: str) -> str:
    """Drops imported names that the module does not use."""
    head, mark, rest = text.partition("\napp = typer.Typer(")
    code = re.sub(r'"""(?s:.*?)"""', "", rest)
    out: list[str] = []
    for line in head.split("\n"):
        match = re.match(r"^from (\S+) import (.+)$", line)
        if match and match[1] != "__future__":
            # what comes from .output are functions, some named like words that texts have
            end = r"\(" if match[1] == ".output" else "\\b(?!['\"])"
            names = [n for n in match[2].split(", ") if re.search(rf"(?<![\w.\"'-]){n}{end}", code)]
            line = f"from {match[1]} import {', '.join(names)}" if names else ""
            if not names:
                continue
        out.append(line)
    return "\n".join(out) + mark + rest
