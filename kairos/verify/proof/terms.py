"""The normal form: JSON Schemas as signed, interned terms.

A literal is an int: the number of a term, negated where the term must not hold.  So a set of
literals is a set of ints, the opposite of `x` is `-x`, and what is written twice, on either side,
is one number.  There is no "or": `a or b` is written `not (not a and not b)`.

A keyword such as `minimum` says nothing of values of other types.  So does its term: it holds for
these.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "FALSE",
    "FAMILY",
    "KINDS",
    "NUMBERS",
    "TRUE",
    "Items",
    "Lits",
    "Props",
    "Scalar",
    "Table",
    "Term",
    "exact",
    "scalar",
    "value_of",
]

KINDS = ("null", "boolean", "integer", "float", "string", "array", "object")
"""JSON's types, numbers taken apart: what a reader may take for an int, and what it may not."""

NUMBERS = frozenset({"integer", "float"})

Lits: TypeAlias = "frozenset[int]"
Scalar: TypeAlias = "tuple[str, Any]"

TRUE, FALSE = 1, -1

# which kinds the atoms of an operator speak of
FAMILY: dict[str, frozenset[str]] = {
    **dict.fromkeys(("lower", "upper", "multiple", "exactly"), NUMBERS),
    **dict.fromkeys(("longer", "pattern", "format"), frozenset({"string"})),
    **dict.fromkeys(("items", "size", "unique", "atleast"), frozenset({"array"})),
    **dict.fromkeys(("props", "required", "count", "names"), frozenset({"object"})),
}


class Props(NamedTuple):
    """What a schema says of properties: by name, by pattern, and of all the others."""

    named: tuple[tuple[str, int], ...]
    patterns: tuple[tuple[str, int], ...] = ()
    rest: int = TRUE


class Items(NamedTuple):
    """What a schema says of items: the first ones by position, then all the others."""

    prefix: tuple[int, ...]
    rest: int = TRUE

    def at(self, index: int) -> int:
        """Return the literal that the item at `index` must satisfy."""
        return self.prefix[index] if index < len(self.prefix) else self.rest


class Term(NamedTuple):
    """One predicate on a JSON value: an operator and what it is applied to."""

    op: str
    arg: Any


def exact(number: float) -> Fraction:
    """Return the number as it is written: 0.1 is a tenth."""
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def scalar(value: Any) -> Scalar:
    """Return a key for a null, boolean, number or string; equal numbers have equal keys."""
    if value is None:
        return ("null", None)
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, int | float):
        return ("number", exact(value))
    return ("string", value)


def value_of(key: Scalar, kind: str) -> Any:
    """Return the JSON value that a key stands for, as a value of `kind`."""
    if key[0] != "number":
        return key[1]
    return key[1].numerator if kind == "integer" else float(key[1])


class Table:
    """The terms of one or many comparisons.

    `whole_floats` says whether 1.0 is a float beside the int 1, as a strict reader sees it, or
    just another way to write that integer, as JSON Schema does.
    """

    def __init__(self, *, whole_floats: bool) -> None:
        self.whole_floats = whole_floats
        self._numbers: dict[Term, int] = {}
        self._terms: list[Term] = [Term("none", None), Term("and", ())]
        self._targets: dict[int, int] = {}
        self.outlines: dict[int, Any] = {}  # what `glance` found out about literals
        # schemas without references, by whether they are meant to the letter, and how written
        self.spelled: dict[tuple[bool, str], int] = {}

    def __len__(self) -> int:
        return len(self._terms)

    def __getitem__(self, lit: int) -> Term:
        return self._terms[abs(lit)]

    def atom(self, op: str, arg: Any) -> int:
        """Return the literal of this term."""
        term = Term(op, arg)
        found = self._numbers.get(term)
        if found is None:
            found = self._numbers[term] = len(self._terms)
            self._terms.append(term)
        return found

    def kinds(self, kinds: Iterable[str]) -> int:
        """Return "a value of one of these kinds"."""
        among = frozenset(kinds)
        if len(among) == len(KINDS):
            return TRUE
        return self.atom("kinds", among) if among else FALSE

    def all_of(self, lits: Iterable[int]) -> int:
        """Return the literal that holds where all of these do."""
        flat: set[int] = set()
        for lit in lits:
            if lit == TRUE:
                continue
            term = self[lit]
            if lit > 0 and term.op == "and":
                flat.update(term.arg)
            else:
                flat.add(lit)
        if FALSE in flat or any(-lit in flat for lit in flat):
            return FALSE
        if len(flat) <= 1:
            return next(iter(flat), TRUE)
        return self.atom("and", tuple(sorted(flat)))

    def any_of(self, lits: Iterable[int]) -> int:
        """Return the literal that holds where one of these does, or several."""
        return -self.all_of(-lit for lit in lits)

    def one_of(self, lits: Iterable[int]) -> int:
        """Return the literal that holds where exactly one of these does."""
        count = Counter(lit for lit in lits if lit != FALSE)
        # what is there twice can never be the only one
        twice = [-lit for lit, times in count.items() if times > 1]
        some = [lit for lit, times in count.items() if times == 1]
        one = self.atom("one", tuple(sorted(some))) if len(some) > 1 else next(iter(some), FALSE)
        return self.all_of([one, *twice])

    def choice(self, values: Iterable[Any]) -> int:
        """Return "one of these values"; lists and dicts are spelled out part by part."""
        plain: set[Scalar] = set()
        built: list[int] = []
        for value in values:
            if isinstance(value, list):
                built.append(self._just_list(value))
            elif isinstance(value, dict):
                built.append(self._just_dict(value))
            else:
                plain.add(scalar(value))
        if plain:
            built.append(self.atom("enum", frozenset(plain)))
        return self.any_of(built)

    def _just_list(self, value: list[Any]) -> int:
        prefix = tuple(self.choice([item]) for item in value)
        parts = [self.kinds(["array"]), self.items(Items(prefix, FALSE))]
        return self.all_of([*parts, self.more("size", len(value))])

    def _just_dict(self, value: dict[str, Any]) -> int:
        named = tuple(sorted((name, self.choice([inner])) for name, inner in value.items()))
        parts = [self.kinds(["object"]), self.props(Props(named, (), FALSE))]
        return self.all_of([*parts, *(self.atom("required", name) for name in value)])

    def more(self, op: str, least: int) -> int:
        """Return "at least `least`" of characters (longer), items (size) or keys (count)."""
        return self.atom(op, least) if least > 0 else TRUE

    def unless(self, lit: int) -> int:
        """Return the opposite of an atom for values of its kind; it still holds for all others.

        The bare `-lit` would hold for no value of another kind.
        """
        of_kind = self.kinds(FAMILY[self[lit].op]) if lit != TRUE else TRUE
        return -self.all_of([of_kind, lit])

    def props(self, props: Props) -> int:
        """Return what is said of properties, or TRUE where that is nothing."""
        says = props.rest != TRUE or any(lit != TRUE for _, lit in props.named + props.patterns)
        return self.atom("props", props) if says else TRUE

    def items(self, items: Items) -> int:
        """Return what is said of items, or TRUE where that is nothing."""
        prefix = items.prefix
        while prefix and prefix[-1] == items.rest:
            prefix = prefix[:-1]
        if not prefix and items.rest == TRUE:
            return TRUE
        return self.atom("items", Items(prefix, items.rest))

    def aim(self, ref: int, target: int) -> None:
        """Say what a reference that closes a circle refers to."""
        self._targets[ref] = target

    def target(self, lit: int) -> int:
        """Return what the reference `lit` refers to, with its sign."""
        found = self._targets[abs(lit)]
        return found if lit > 0 else -found

    def kind(self, value: Any) -> str:
        """Return the kind of a JSON value."""
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "boolean"
        if isinstance(value, float):
            return "integer" if not self.whole_floats and value.is_integer() else "float"
        for kind, type_ in (("integer", int), ("string", str), ("array", list)):
            if isinstance(value, type_):
                return kind
        return "object"
