"""Lifted domains: types, families of state variables, static relations and schemas; grounding them.

A variable of a family belongs to an object (or to nothing) and has one value: an object or a
constant. A value of capacity 1 is `free` as long as no variable has it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random

from .world import Call, DiscardError, Fact

Term = int | str
"""A parameter of a schema by its place, or a constant by its name."""
GROUNDINGS = 6_000
"""Assignments of objects to a domain's parameters that are looked at; more are too many."""


@dataclass(frozen=True)
class Family:
    """State variables of one sort: of each object of type `of` (None: a single one)."""

    name: str
    of: int | None
    values: int | None
    """The type whose objects are values, besides the constants."""
    constants: tuple[str, ...]
    single: frozenset[str | int]
    """Values of capacity 1: constants, and the type `values` for all of its objects."""

    def fact(self, owner: str | None, value: str) -> Fact:
        return (self.name, value) if owner is None else (self.name, owner, value)

    def free(self, value: str) -> Fact:
        return (f"free_{self.name}", value)

    def is_single(self, value: str) -> bool:
        kind = value if value in self.constants else self.values
        return kind in self.single


@dataclass(frozen=True)
class Setting:
    """That the variable of `owner` has a value."""

    family: int
    owner: int | None
    value: Term


@dataclass(frozen=True)
class Change:
    """That the variable of `owner` goes from one value to another."""

    family: int
    owner: int | None
    before: Term
    after: Term


@dataclass(frozen=True)
class Schema:
    """A function with parameters, all of them different objects."""

    name: str
    types: tuple[int, ...]
    changes: tuple[Change, ...]
    conditions: tuple[Setting, ...] = ()
    vacant: tuple[tuple[int, int], ...] = ()
    """Pairs (family, parameter): the parameter as a value is free."""
    related: tuple[tuple[int, int, int], ...] = ()
    """Triples (relation, parameter, parameter)."""

    def inverse(self) -> "Schema":
        """The same with its changes undone; what they need else stays."""
        back = tuple(Change(c.family, c.owner, c.after, c.before) for c in self.changes)
        related = tuple((relation, b, a) for relation, a, b in self.related)
        return Schema(f"{self.name}_back", self.types, back, self.conditions, self.vacant, related)


@dataclass(frozen=True)
class Domain:
    """What levels of one sort have in common."""

    types: int
    families: tuple[Family, ...]
    relations: tuple[tuple[int, str], ...]
    """Per relation the type that it is over, and its shape."""
    schemas: tuple[Schema, ...]


Pairs = frozenset[tuple[str, str]]


def grounded(
    domain: Domain, objects: Sequence[Sequence[str]], relations: Sequence[Pairs]
) -> Iterator[Call]:
    """The calls of all schemas with all objects that fit. Raises DiscardError for too many."""
    looked_at = 0
    for schema in domain.schemas:
        for args in product(*(objects[kind] for kind in schema.types)):
            looked_at += 1
            if looked_at > GROUNDINGS:
                raise DiscardError("too many functions")
            if len(set(args)) < len(args):
                continue
            if all((args[a], args[b]) in relations[at] for at, a, b in schema.related):
                call = _call(domain, schema, args)
                if call is not None:
                    yield call


def _call(domain: Domain, schema: Schema, args: tuple[str, ...]) -> Call | None:
    def named(term: Term) -> str:
        return args[term] if isinstance(term, int) else term

    pre, add, delete = set[Fact](), set[Fact](), set[Fact]()
    left, entered = set[Fact](), set[Fact]()
    for change in schema.changes:
        family = domain.families[change.family]
        owner = None if change.owner is None else args[change.owner]
        before, after = named(change.before), named(change.after)
        if before == after or owner in (before, after):
            return None
        pre.add(family.fact(owner, before))
        delete.add(family.fact(owner, before))
        add.add(family.fact(owner, after))
        if family.is_single(before):
            left.add(family.free(before))
        if family.is_single(after):
            entered.add(family.free(after))
    for setting in schema.conditions:
        owner = None if setting.owner is None else args[setting.owner]
        pre.add(domain.families[setting.family].fact(owner, named(setting.value)))
    for family_at, parameter in schema.vacant:
        pre.add(domain.families[family_at].free(args[parameter]))
    pre |= entered - left
    return Call(
        schema.name,
        args,
        frozenset(pre),
        frozenset(add | (left - entered)),
        frozenset(delete | (entered - left)),
    )


def start(rng: Random, domain: Domain, objects: Sequence[Sequence[str]]) -> frozenset[Fact]:
    """A random value for each variable; what holds one thing holds one, and nothing holds itself,
    not even through others. Raises DiscardError if no value is left."""
    facts = set[Fact]()
    for family in domain.families:
        own = (
            [None] if family.of is None else rng.sample(objects[family.of], len(objects[family.of]))
        )
        of_type = [] if family.values is None else list(objects[family.values])
        taken = set[str]()
        placed: list[str] = []
        for owner in own:
            # Objects that rest on others of their own type are put down in order: no cycles.
            among = placed if family.of == family.values else of_type
            options = [
                value
                for value in (*among, *family.constants, *family.constants[:1])
                if not (value in taken and family.is_single(value))
            ]
            if not options:
                raise DiscardError("no place for an object")
            value = rng.choice(options)
            taken.add(value)
            placed += [] if owner is None else [owner]
            facts.add(family.fact(owner, value))
        for value in (*of_type, *family.constants):
            if family.is_single(value) and value not in taken:
                facts.add(family.free(value))
    return frozenset(facts)
