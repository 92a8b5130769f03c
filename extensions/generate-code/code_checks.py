"""The parts of the generated tests that depend on the details of a feature: filters, figures,
rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from textwrap import dedent, indent

from code_values import figure, group_key, literal, other_state
from plan_make import period_name
from plan_model import Attribute, Feature, repr_str


@dataclass(frozen=True)
class Check:
    suffix: str
    criterion: str
    code: str


def dedented(text: str) -> str:
    return indent(dedent(text).strip("\n"), "    ")


def _ids(f: Feature, arguments: str = "") -> str:
    return f'ids(run("{f.command}"{arguments or _always(f)}).output)'


def _always(f: Feature) -> str:
    """The arguments with which a list shows every day although it names a period of its own."""
    return ", *EVERY_DAY" if f.period else ""


def list_checks(f: Feature) -> list[Check]:
    """One test for each filter of a list command; a plain list has one for itself."""
    thing = f.thing
    assert thing is not None  # noqa: S101 - a command has a thing; for the type checker
    fixed = dict(f.settings)
    keep = "".join(f", {a.column}={literal(a, v)}" for a, v in fixed.items())
    make = f"sample_data.{thing.name}"
    said = list(f.acceptance) or [f.text]
    checks: list[Check] = []

    def add(suffix: str, code: str) -> None:
        checks.append(Check(suffix, said[min(len(checks), len(said) - 1)], dedented(code)))

    below = f.below
    overdue = below is not None and below[1] == "today"
    for token in f.tokens:
        name, _, value = token.partition("=")
        one = thing.get(name)
        if overdue and below and "<" in token:
            named, late, due = below[0].column, _date(below[0], 1), _date(below[0], 20)
            add(
                "shows_only_what_is_late",
                f"""
                late = {make}(db, 1, {named}={late}{keep})
                {make}(db, 2, {named}={due}{keep})
                assert {_ids(f, ', "--today", "2030-01-10"')} == [late.id]
            """,
            )
        elif below and "<" in token:
            column = below[0].column
            add(
                "shows_only_what_is_low",
                f"""
                low = {make}(db, 1, {column}={_number(below[0], int(below[1]) - 1)}{keep})
                {make}(db, 2, {column}={_number(below[0], int(below[1]))}{keep})
                assert {_ids(f)} == [low.id]
            """,
            )
        elif f.window and "<" in token:
            dated, sign, days = f.window
            today = date(2030, 1, 1)
            edge = timedelta(days=days + (sign == "-"))
            hit = today + edge if sign == "+" else today - edge
            miss = hit + timedelta(days=1)
            add(
                "shows_only_what_is_within_the_days",
                f"""
                hit = {make}(db, 1, {dated.column}={_day(dated, hit)}{keep})
                {make}(db, 2, {dated.column}={_day(dated, miss)}{keep})
                assert {_ids(f, ', "--today", "2030-01-01"')} == [hit.id]
            """,
            )
        elif name == "@sort" and f.sort:
            key, falling = f.sort
            values = two_values(key)
            if values and overdue and below and below[0].name == key.name:
                values = ("date(2020, 1, 1)", "date(2020, 1, 2)")
            if values:
                add(
                    f"sorts_by_{key.name}",
                    f"""
                    second = {make}(db, 1, {key.column}={values[not falling]}{keep}{_now(f, key)})
                    first = {make}(db, 2, {key.column}={values[falling]}{keep}{_now(f, key)})
                    assert {_ids(f)} == [first.id, second.id]
                """,
                )
        elif name == "@range" and (by := thing.get(value)):
            add(
                f"shows_a_period_by_{by.name}",
                f"""
                inside = {make}(db, 1, {by.column}={_date(by, 5)}{keep})
                {make}(db, 2, {by.column}={_date(by, 9)}{keep})
                found = run("{f.command}", "--from", "2030-01-05", "--to", "2030-01-08").output
                assert ids(found) == [inside.id]
            """,
            )
        elif name == "@period" and f.period and (by := thing.get(f.option("range"))):
            edges = _period(*f.period)
            edges += [(3, edges[0][1] - _ONE_DAY), (4, edges[1][1] + _ONE_DAY)]
            made = [f"{make}(db, {n}, {by.column}={_day(by, d)}{keep})" for n, d in edges]
            add(
                "shows_" + period_name(*f.period).replace("-", "_"),
                f"""
                early = {made[0]}
                late = {made[1]}
                {made[2]}
                {made[3]}
                found = run("{f.command}", "--today", "2030-01-10").output
                assert ids(found) == [early.id, late.id]
            """,
            )
        elif name == "@available":
            expected = "free" if value == "true" else "lent"
            add(
                "tells_lent_ones_apart",
                f"""
                loan = sample_data.loan(db, 1)
                lent = db.{thing.plural}.get(loan.{thing.name}_id)
                free = {make}(db, 3)
                assert {expected} in (lent, free)
                assert {_ids(f)} == [{expected}.id]
            """,
            )
        elif one and "=" in token:
            rest = "".join(
                f", {a.column}={literal(a, v)}" for a, v in fixed.items() if a is not one
            )
            late = f", {below[0].column}={_date(below[0], 1)}" if overdue and below else ""
            add(
                f"shows_only_{re.sub('[^a-z0-9]+', '_', value)}",
                f"""
                match = {make}(db, 1, {one.column}={literal(one, value)}{rest}{late})
                {make}(db, 2, {one.column}={other_state(one, value)}{rest}{late})
                assert {_ids(f)} == [match.id]
            """,
            )
        elif one and token == one.name:
            changes = two_values(one)
            own = (
                f", {one.column}={changes[0]}"
                if changes and one.kind in ("choice", "boolean")
                else ""
            )
            other = (
                f", {one.column}={changes[1]}"
                if changes and one.kind in ("choice", "boolean")
                else ""
            )
            given = f"match.{one.column}[0]" if one.kind == "list" else f"match.{one.column}"
            given = (
                f"str({given})"
                if one.kind in ("date",)
                else f"{given}.isoformat()"
                if one.kind == "datetime"
                else given
            )
            argument = (
                f', "{one.option}", {given}'
                if one.kind != "boolean"
                else f', "--no-{one.option[2:]}"'
            )
            if one.kind == "datetime" and one.optional:
                argument = f', "{one.option}", str({given.removesuffix(".isoformat()")})'
            add(
                f"filters_by_{one.name}",
                f"""
                match = {make}(db, 1{own}{keep})
                {make}(db, 2{other}{keep})
                result = run("{f.command}"{argument}{_always(f)})
                assert ids(result.output) == [match.id]
            """,
            )
    if not checks:
        add(
            "shows_each",
            f"""
            items = [{make}(db, 1), {make}(db, 2)]
            assert {_ids(f)} == [item.id for item in items]
        """,
        )
    return checks


_ONE_DAY = timedelta(days=1)


def _period(unit: str, number: int) -> list[tuple[int, date]]:
    """The first and the last day of a period, numbered, where today is Thursday, 2030-01-10."""
    years = {-1: 2029, 0: 2030, 1: 2031}
    months = {-1: ((2029, 12, 1), (2029, 12, 31)), 0: ((2030, 1, 1), (2030, 1, 31))} | {
        1: ((2030, 2, 1), (2030, 2, 28))
    }
    today = date(2030, 1, 10)
    if unit == "week":
        monday = date(2030, 1, 7) + timedelta(days=7 * number)
        pair = (monday, monday + timedelta(days=6))
    elif unit == "month":
        pair = (date(*months[number][0]), date(*months[number][1]))
    elif unit == "year":
        pair = (date(years[number], 1, 1), date(years[number], 12, 31))
    else:
        away = today + timedelta(days=number)
        pair = (min(today, away), max(today, away)) if unit == "days" else (away, away)
    return [(1, pair[0]), (2, pair[1])]


def _now(f: Feature, by: Attribute) -> str:
    below = f.below
    return (
        f", {below[0].column}=date(2020, 1, 1)"
        if below and below[1] == "today" and below[0] is not by
        else ""
    )


def _date(a: Attribute, day: int) -> str:
    return f"datetime(2030, 1, {day}, 9)" if a.kind == "datetime" else f"date(2030, 1, {day})"


def _day(a: Attribute, day: date) -> str:
    numbers = f"{day.year}, {day.month}, {day.day}"
    return f"datetime({numbers}, 9)" if a.kind == "datetime" else f"date({numbers})"


def _number(a: Attribute, value: int) -> str:
    return f"Decimal({value})" if a.kind == "decimal" else str(value)


def two_values(a: Attribute) -> tuple[str, str] | None:
    """Two values in ascending order."""
    low = (a.minimum or 0) - (a.maximum is not None)
    if a.kind == "choice":
        first, second = sorted((a.choices[0], a.choices[-1]))
        return (repr_str(first), repr_str(second)) if first != second else None
    if a.kind == "list" or a.kind == "ref":
        return ('["a"]', '["b"]') if a.kind == "list" else None
    return {
        "text": ('"aaa"', '"bbb"'),
        "integer": (str(low + 1), str(low + 2)),
        "decimal": (f"Decimal({low + 1})", f"Decimal({low + 2})"),
        "boolean": ("False", "True"),
        "date": (_date(a, 1), _date(a, 2)),
        "datetime": (_date(a, 1), _date(a, 2)),
    }[a.kind]


def figure_checks(f: Feature) -> list[Check]:
    """The right number for three objects, whether counted, added up or grouped."""
    thing = f.thing
    assert thing is not None  # noqa: S101 - as above
    keep = "".join(f", {a.column}={literal(a, v)}" for a, v in f.settings)
    lines = [f"items = [sample_data.{thing.name}(db, n{keep}) for n in (1, 2, 3)]"]
    for a, value in f.settings:
        lines.append(f"sample_data.{thing.name}(db, 4, {a.column}={other_state(a, value)})")
    group = group_key(f, "    ", testing=True)
    value = "1" if f.verb == "count" else figure(f)
    if group and f.verb in ("count", "sum"):
        worked_out = "sum(values) / len(values)" if f.option("average") else "sum(values)"
        lines += [
            "groups: dict[str, list[Any]] = {}",
            "for item in items:",
            f"    key = {group}",
            f"    groups.setdefault(text(key), []).append({value})",
            f'lines = run("{f.command}").output.splitlines()',
            f'wanted = {{f"{{key}}: {{{worked_out}}}" for key, values in groups.items()}}',
            "assert wanted <= set(lines)",
        ]
    else:
        total = "len(items)" if f.verb == "count" else f"sum({value} for item in items)"
        lines.append(f"expected = {total}" + (" / 3" if f.option("average") else ""))
        lines.append(f'assert run("{f.command}").output.strip() == str(expected)')
    return [Check("gives_the_right_figure", f.text, dedented("\n".join(lines)))]
