"""What many comparisons share: one table of terms, what was read into it, and found out in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kairos.verify.proof.limits import Budget, Meter
from kairos.verify.proof.reading import Reader
from kairos.verify.proof.search import Search
from kairos.verify.proof.terms import Table

if TYPE_CHECKING:
    from kairos.verify.proof.parties import Party

__all__ = ["Ground"]


class Ground:
    """Lets the comparisons of a whole workflow read each contract once.

    Answers do not depend on what was asked before.  What a broken-off comparison leaves behind may
    be half done, so `clear` is to be called after one.
    """

    def __init__(self, *, whole_floats: bool = True) -> None:
        self._whole_floats = whole_floats
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.meter = Meter(Budget())
        self.table = Table(whole_floats=self._whole_floats)
        self.search = Search(self.table, self.meter)
        self._readers: dict[int, tuple[Any, Reader]] = {}
        self._parts: dict[tuple[Reader, int], int] = {}

    def begin(self, budget: Budget) -> Meter:
        """Start counting what a comparison costs."""
        self.meter.restart(budget)
        return self.meter

    def part(self, reader: Reader, schema: Any) -> int:
        """Return the literal of a part of a reader's document; read once."""
        at = reader, id(schema)
        known = self._parts.get(at)
        if known is None:
            known = self._parts[at] = reader.part(schema)
        return known

    def reader(self, party: Party) -> Reader:
        """Return the reader of a party's document."""
        return self.reader_of(party.document, bare=party.bare)

    def reader_of(self, document: Any, *, bare: bool = False) -> Reader:
        """Return the reader of a document; the same one for the same object."""
        held = self._readers.get(id(document))
        if held is None:  # with the document, whose identity must not pass to another
            reader = Reader(document, self.table, self.meter, bare=bare)
            held = self._readers[id(document)] = document, reader
        return held[1]
