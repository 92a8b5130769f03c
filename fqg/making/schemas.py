"""Levels grounded from random lifted schemas, some with things nested, some with things carried.

No domain is written down here: types, families, relations, schemas, their conditions and their
inverses are drawn for each level. `nested` starts from a family whose values are objects of its
own type; `carrying` from one whose things go from place to place by way of a constant, or a
carrier, of capacity 1.
"""

from dataclasses import replace
from random import Random

from .dials import Dials
from .lifted import Change, Domain, Family, Schema, Setting, Term, grounded, start
from .relations import SHAPES, density, related
from .world import World

MAX_PARAMETERS = 4


def schemas_world(rng: Random, dials: Dials) -> World:
    """1 to 3 types, 1 to 4 families, 2 to 5 schemas and their inverses."""
    draw = _Draw(rng, dials, rng.randint(1, 3))
    for _ in range(rng.randint(1, 4)):
        draw.family()
    for _ in range(rng.randint(2, 5)):
        draw.schema()
    return draw.world()


def nested_world(rng: Random, dials: Dials) -> World:
    """Objects that rest on, or lie in, objects of their own type or at constants."""
    draw = _Draw(rng, dials, rng.choice((1, 1, 2)))
    bases = tuple(f"base_{at}" for at in range(rng.choice((1, 1, 1, 2, 3))))
    limited = {base for base in bases[1:] if rng.random() < 0.4}
    hand = rng.random() < 0.4
    constants = (*bases, "held") if hand else bases
    single = {0} if rng.random() < 0.85 else set[str | int]()
    rests = draw.add(Family("on", 0, 0, constants, frozenset(single | limited | {"held"})))
    if rng.random() < 0.35:
        draw.relation(0)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        draw.family()
    top = bool(single) and rng.random() < 0.9
    places: list[Term] = [1, *bases]
    moves: list[tuple[Term, Term]]
    if hand:
        moves = [(place, "held") for place in places]
        if rng.random() < 0.2:
            moves.append((1, bases[0]))
    else:
        moves = [(1, 2), *((1, base) for base in bases)]
        moves += [(a, b) for a in bases for b in bases if a < b]
    for before, after in moves:
        if rng.random() < 0.92:
            draw.move(rests, before, after, top=top, always_back=True)
    for _ in range(rng.choice((0, 0, 1, 2))):
        draw.schema()
    return draw.world()


def carrying_world(rng: Random, dials: Dials) -> World:
    """Things that are taken and put down, by carriers that may have to go where they are."""
    draw = _Draw(rng, dials, 3)  # 0 things, 1 places, 2 carriers
    per_carrier = rng.random() < 0.3
    hands = tuple(f"hand_{at}" for at in range(rng.choice((1, 1, 2, 2, 3))))
    crowded = rng.random() < 0.2
    walks = rng.random() < 0.85
    owner = 2 if per_carrier else None
    at = draw.add(Family("at", 0, 1, hands, frozenset({*hands, 1} if crowded else hands)))
    if walks:
        draw.relation(1, rng.random() < 0.75)
        where = draw.add(Family("where", owner, 1, (), frozenset()))
        draw.move_among(where, 1)
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        draw.family()
    for hand in hands:
        types, conditions = [0, 1], list[Setting]()
        if walks:
            if owner is not None:
                types.append(2)
            conditions.append(Setting(where, None if owner is None else 2, 1))
        take = Schema(f"take_{hand}", tuple(types), (Change(at, 0, 1, hand),), tuple(conditions))
        draw.keep(draw.varied(take), always_back=True)
    for _ in range(rng.choice((0, 0, 1, 2))):
        draw.schema()
    return draw.world()


class _Draw:
    """A domain as it is drawn, piece by piece."""

    def __init__(self, rng: Random, dials: Dials, types: int) -> None:
        self._rng = rng
        self._dials = dials
        self._types = types
        self._families: list[Family] = []
        self._relations: list[tuple[int, str]] = []
        self._schemas: list[Schema] = []
        self._inverse = 0.0

    def add(self, family: Family) -> int:
        self._families.append(family)
        return len(self._families) - 1

    def family(self) -> int:
        """A family of random form, at times with a relation over its values."""
        rng, name = self._rng, f"is_{len(self._families)}"
        of = rng.choice((*range(self._types), *range(self._types), None))
        values = rng.choice((None, *range(self._types)))
        if values is not None and values == of:
            values = None
        few = 2 if rng.random() < 0.6 else rng.randint(3, 4)
        count = few if values is None else rng.choice((0, 0, 1, 2))
        constants = tuple(f"{name}_{at}" for at in range(count))
        single: set[str | int] = {constant for constant in constants[1:] if rng.random() < 0.2}
        if values is not None and rng.random() < 0.35:
            single.add(values)
        if values is not None and rng.random() < 0.5:
            self.relation(values)
        return self.add(Family(name, of, values, constants, frozenset(single)))

    def relation(self, over: int, wanted: bool = True) -> None:
        """A relation of random shape over a type."""
        if wanted:
            self._relations.append((over, self._rng.choice(SHAPES)))

    def schema(self) -> None:
        """A schema that changes one to three variables under up to three conditions."""
        rng = self._rng
        first = self._change([], rng.randrange(len(self._families)))
        if first is None:
            return
        types, change = first
        changes = [change]
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
            more = self._change(types, rng.randrange(len(self._families)))
            if more and (more[1].family, more[1].owner) not in {
                (known.family, known.owner) for known in changes
            }:
                types = more[0]
                changes.append(more[1])
        name = f"do_{len(self._schemas)}"
        self.keep(self.varied(Schema(name, tuple(types), tuple(changes))))

    def move(
        self, family: int, before: Term, after: Term, *, top: bool, always_back: bool = False
    ) -> None:
        """A schema that moves an object of type 0 among others of its type."""
        highest = max((term for term in (before, after) if isinstance(term, int)), default=0)
        related = tuple(
            (at, 0, term)
            for at, (over, _) in enumerate(self._relations)
            for term in (before, after)
            if over == 0 and isinstance(term, int) and self._rng.random() < 0.9
        )
        schema = Schema(
            f"move_{len(self._schemas)}",
            (0,) * (highest + 1),
            (Change(family, 0, before, after),),
            vacant=((family, 0),) if top else (),
            related=related,
        )
        self.keep(self.varied(schema), always_back=always_back)

    def move_among(self, family: int, places: int) -> None:
        """A schema by which the variables of a family go from place to related place."""
        of = self._families[family].of
        types = (places, places) if of is None else (places, places, of)
        related = tuple(
            (at, 0, 1) for at, (over, _) in enumerate(self._relations) if over == places
        )[:1]
        change = Change(family, None if of is None else 2, 0, 1)
        self.keep(self.varied(Schema("go", types, (change,), related=related), few=True))

    def varied(self, schema: Schema, few: bool = False) -> Schema:
        """The schema with further conditions, drawn at random."""
        rng, types = self._rng, list(schema.types)
        taken = {(change.family, change.owner) for change in schema.changes}
        conditions = list(schema.conditions)
        taken |= {(setting.family, setting.owner) for setting in conditions}
        vacant, related_to = list(schema.vacant), list(schema.related)
        for _ in range(rng.choice((0, 0, 0, 1) if few else (0, 0, 1, 1, 2, 3))):
            at = rng.randrange(len(self._families))
            drawn = self._setting(types, at)
            if drawn and (drawn[1].family, drawn[1].owner) not in taken:
                types = drawn[0]
                conditions.append(drawn[1])
                taken.add((drawn[1].family, drawn[1].owner))
        if rng.random() < 0.15:
            at = rng.randrange(len(self._families))
            kind = self._families[at].values
            if kind in self._families[at].single and kind in types:
                vacant.append((at, types.index(kind)))
        for at, (over, _) in enumerate(self._relations):
            fitting = [place for place, kind in enumerate(types) if kind == over]
            if not schema.related and len(fitting) >= 2 and rng.random() < 0.7:
                a, b = rng.sample(fitting, 2)
                related_to.append((at, a, b))
        return replace(
            schema, types=tuple(types), conditions=tuple(conditions),
            vacant=tuple(vacant), related=tuple(related_to),
        )  # fmt: skip

    def keep(self, schema: Schema, always_back: bool = False) -> None:
        """Takes a schema in, and for the share that is asked for its inverse too."""
        if not self._schemas:
            self._inverse = self._rng.uniform(*self._dials.inverse)
        self._schemas.append(schema)
        if self._rng.random() < (0.97 if always_back else self._inverse):
            self._schemas.append(schema.inverse())

    def world(self) -> World:
        """The domain with as many objects as give the number of functions that is asked for."""
        rng = self._rng
        domain = Domain(
            self._types, tuple(self._families), tuple(self._relations), tuple(self._schemas)
        )
        sizes = _sizes(rng, domain, 1.4 * rng.randint(*self._dials.functions))
        objects = [
            [f"{kind}_{at}" for at in range(size)] for kind, size in zip("xyz", sizes, strict=False)
        ]
        relations = [related(rng, shape, objects[over]) for over, shape in domain.relations]
        init = start(rng, domain, objects)
        return World(init, tuple(grounded(domain, objects, relations)))

    def _change(self, types: list[int], at: int) -> tuple[list[int], Change] | None:
        """A change of a family's variable, and the parameters with those that it needs more."""
        family, types = self._families[at], list(types)
        owner = None if family.of is None else self._parameter(types, family.of, fresh=0.3)
        before, after = self._value(types, family, owner), self._value(types, family, owner)
        if before is None or after is None or before == after or len(types) > MAX_PARAMETERS:
            return None
        return types, Change(at, owner, before, after)

    def _setting(self, types: list[int], at: int) -> tuple[list[int], Setting] | None:
        family, types = self._families[at], list(types)
        owner = None if family.of is None else self._parameter(types, family.of, fresh=0.15)
        value = self._value(types, family, owner, fresh=0.3)
        if value is None or len(types) > MAX_PARAMETERS:
            return None
        return types, Setting(at, owner, value)

    def _parameter(self, types: list[int], kind: int, fresh: float) -> int:
        fitting = [at for at, known in enumerate(types) if known == kind]
        if fitting and self._rng.random() >= fresh:
            return self._rng.choice(fitting)
        types.append(kind)
        return len(types) - 1

    def _value(
        self, types: list[int], family: Family, owner: int | None, fresh: float = 0.5
    ) -> Term | None:
        objects = family.values is not None and (not family.constants or self._rng.random() < 0.7)
        if family.values is not None and objects:
            place = self._parameter(types, family.values, fresh)
            return None if place == owner else place
        return self._rng.choice(family.constants) if family.constants else None


def _sizes(rng: Random, domain: Domain, target: float) -> list[int]:
    """Objects per type so that about `target` calls can be grounded, not more."""
    sizes = [2] * domain.types
    growing = set(range(domain.types))
    while growing:
        kind = rng.choice(sorted(growing))
        sizes[kind] += 1
        if sizes[kind] > 12 or _estimate(domain, sizes) > target:
            sizes[kind] -= 1
            growing.remove(kind)
    return sizes


def _estimate(domain: Domain, sizes: list[int]) -> float:
    total = 0.0
    for schema in domain.schemas:
        count, used = 1.0, [0] * domain.types
        for kind in schema.types:
            count *= max(0, sizes[kind] - used[kind])
            used[kind] += 1
        for at, _, _ in schema.related:
            over, shape = domain.relations[at]
            count *= density(shape, sizes[over])
        total += count
    return total
