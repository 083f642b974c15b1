"""Labels of what is sensitive, as they flow through keys and outputs.

A label begins at an input, or at a key that a step writes: by the key's name, by a field or a mark
in a contract, by `Step(labels=...)`.  What a step writes bears the labels of all that it may read,
save those it declassifies.  A set of labels is the bits of one integer.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from kairos.contracts.labels import Mark, marks_of
from kairos.redaction.redactor import redactor_with
from kairos.verify.reach import upstream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kairos.contracts.contract import Contract
    from kairos.verify.scene import Scene

__all__ = ["Came", "Labels"]

_MOST_BITS = 4_000_000_000  # of all steps together: half a gigabyte
_LONGEST_WAY = 12


class Came(NamedTuple):
    """How a label came to a step: from another (by position; None: from outside), and at first."""

    step: int | None
    origin: str


class Labels:
    """Which labels reach which step, worked out once for a plan that has an order.

    `reads` and `bears` are, for each step, the labels of what it may read and of what it writes.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.names: list[str] = []
        self._bit: dict[str, int] = {}
        self._is_secret = redactor_with(scene.sensitive_keys).is_sensitive
        self._marked: dict[int, tuple[Mark, ...]] = {}
        graph = scene.graph
        count = len(graph.steps)
        self.given = _given(scene)
        self.at_input: dict[str, int] = {}
        self.at_key: list[dict[str, int]] = [{} for _ in range(count)]
        self._places: dict[tuple[int | None, str], list[tuple[tuple[str, ...], int]]] = {}
        self._begin()
        self.own = [self._bits(step.labels) for step in graph.steps]
        self.declassified = [
            sum(1 << self._bit[name] for name in step.declassify if name in self._bit)
            for step in graph.steps
        ]
        self.readers: list[list[tuple[int, str]]] = [[] for _ in range(count)]
        self._reads_all = [i for i in graph.order if graph.steps[i].read_keys is None]
        self._sources = self._edges()
        self.all_given = _union(self.at_input.values())
        started = [self.own[i] | _union(self.at_key[i].values()) for i in range(count)]
        self.offered = started  # what a step would begin, were it not for what it declassifies
        self.begun = [bits & ~self.declassified[i] for i, bits in enumerate(started)]
        self._late = self._not_yet()
        self.reads = [0] * count
        self.bears = [0] * count
        if self.names:
            self._flow()

    # --- where they begin

    def _bits(self, names: Iterable[str]) -> int:
        bits = 0
        for name in names:
            at = self._bit.get(name)
            if at is None:
                at = self._bit[name] = len(self.names)
                self.names.append(name)
            bits |= 1 << at
        return bits

    def _begin(self) -> None:
        scene = self.scene
        for key in (*self.given, *scene.writers):
            if self._is_secret(key):
                self._label_place(key, Mark((), key))
        self._by_field(scene.contract)
        for i, step in enumerate(scene.graph.steps):
            for mark in self._marks(step.contracts.output):
                self._label_place(step.name, mark, writer=i)
            self._by_field(step.contracts.input)
            for name, contract in step.contracts.parameters.items():
                over = step.config.foreach if name == step.signature.item else None
                for mark in self._marks(contract):
                    self._label_place(over or name, mark)

    def _by_field(self, contract: Contract | None) -> None:
        """Label the keys that are the fields of a contract."""
        for mark in self._marks(contract):
            for key in mark.path[:1] or self.given:
                within = None if mark.within is None else mark.within[1:]
                self._label_place(key, Mark(mark.path[1:], mark.label, within))

    def _marks(self, contract: Contract | None) -> tuple[Mark, ...]:
        if contract is None:
            return ()
        found = self._marked.get(id(contract))
        if found is None:
            try:
                found = marks_of(contract, self._is_secret)
            except RecursionError:  # too deep to tell its places apart
                found = (Mark(()),)
            except Exception:  # noqa: BLE001 - KRS213 tells of what cannot be built
                found = ()
            self._marked[id(contract)] = found
        return found

    def _label_place(self, key: str, mark: Mark, *, writer: int | None = None) -> None:
        """Label a place in a key, wherever the key comes from, or as one step writes it."""
        if not mark.label and mark.path and self._is_secret(key):
            return  # it has its label as a whole
        bits = self._bits((mark.label or ".".join((key, *mark.path)),))
        path = mark.path if mark.within is None else mark.within
        if writer is None and key in self.given:
            self.at_input[key] = self.at_input.get(key, 0) | bits
            self._places.setdefault((None, key), []).append((path, bits))
        for i in self.scene.writers.get(key, ()) if writer is None else (writer,):
            self.at_key[i][key] = self.at_key[i].get(key, 0) | bits
            self._places.setdefault((i, key), []).append((path, bits))

    # --- where they go

    def _edges(self) -> list[int]:
        """Find who may read what who wrote: all but those that have ended by then.

        Returns for each step what the inputs bring it.
        """
        scene, graph = self.scene, self.scene.graph
        brought = [0] * len(graph.steps)
        unsure: list[tuple[int, int, str]] = []
        for i, step in enumerate(graph.steps):
            if step.read_keys is None:
                continue
            direct = frozenset(graph.dependencies[i])
            for key in dict.fromkeys(step.read_keys):
                brought[i] |= self._given_to(i, key)
                for writer in scene.writers.get(key, ()):
                    if writer in direct:
                        self.readers[writer].append((i, key))
                    elif writer != i:
                        unsure.append((writer, i, key))
        below = upstream(graph, {(writer, i) for writer, i, _ in unsure})
        for writer, i, key in unsure:
            if (writer, i) not in below:
                self.readers[writer].append((i, key))
        return brought

    def _not_yet(self) -> list[int]:
        """Return for each step the labels that do not exist before it has ended.

        Such a label begins nowhere but in steps downstream of this one, or in itself: whatever
        bears it is written later.
        """
        graph = self.scene.graph
        count = len(graph.steps)
        if len(self.names) * count > _MOST_BITS:
            return [0] * count  # then a few more may seem to arrive
        below = [0] * count  # labels that some step from here down begins
        beside: dict[int, list[int]] = {}
        seen = many = 0
        for i in range(count):
            many |= seen & self.begun[i]
            seen |= self.begun[i]
        for i in range(count):
            for bit in _each(self.begun[i] & many):
                beside.setdefault(bit, []).append(i)
        for i in reversed(graph.order):
            below[i] = self.begun[i]
            for d in graph.dependents[i]:
                below[i] |= below[d]
        late = [bits & ~many & ~self.all_given for bits in below]
        for bit, begins in beside.items():
            if not self.all_given >> bit & 1:
                for i in self._above_all(begins):
                    late[i] |= 1 << bit
        return late

    def _above_all(self, steps: list[int]) -> Iterator[int]:
        """Yield the steps that are upstream of each of some steps, or one of them."""
        graph = self.scene.graph
        own = {step: 1 << nth for nth, step in enumerate(steps)}
        everything = (1 << len(steps)) - 1
        below = [0] * len(graph.steps)
        for i in reversed(graph.order):
            bits = own.get(i, 0)
            for d in graph.dependents[i]:
                bits |= below[d]
            below[i] = bits
            if bits == everything:
                yield i

    def _flow(self) -> None:
        graph = self.scene.graph
        anywhere = self.all_given | _union(self.begun)
        for i, step in enumerate(graph.steps):
            held = anywhere if step.read_keys is None else self._sources[i]
            self.reads[i] = held & ~self._late[i]
        waiting = deque(graph.order)
        queued = [True] * len(graph.steps)
        passed = [-1] * len(graph.steps)
        while waiting:
            i = waiting.popleft()
            queued[i] = False
            self.bears[i] = (self.reads[i] | self.own[i]) & ~self.declassified[i]
            if self.bears[i] == passed[i]:
                continue
            passed[i] = self.bears[i]
            for reader, key in self.readers[i]:
                new = self.reads[reader] | (self._handed(i, key, reader) & ~self._late[reader])
                if new != self.reads[reader]:
                    self.reads[reader] = new
                    if not queued[reader]:
                        queued[reader] = True
                        waiting.append(reader)

    def written(self, i: int, key: str) -> int:
        """Return the labels of one key as a step writes it."""
        return self.bears[i] | (self.at_key[i].get(key, 0) & ~self.declassified[i])

    def _given_to(self, reader: int, key: str) -> int:
        """Return the labels that an input brings to a step that may read it."""
        bits = self.at_input.get(key, 0)
        return bits and self._looked_at(None, key, reader, bits)

    def _handed(self, i: int, key: str, reader: int) -> int:
        """Return the labels of a key as one step hands it to another."""
        own = self.at_key[i].get(key, 0)
        if own:
            own = self._looked_at(i, key, reader, own) & ~self.declassified[i]
        return self.bears[i] | own

    def _looked_at(self, writer: int | None, key: str, reader: int, bits: int) -> int:
        """Leave out the places that a prompt does not go to: of a value it reads no more."""
        step = self.scene.graph.steps[reader]
        if step.prompt is None or step.when is not None or key in step.signature.reads:
            return bits
        names = (key, "item") if key == step.config.foreach else (key,)
        paths = [
            tuple(part for part in each.path if isinstance(part, str))
            for each in step.prompt.placeholders
            if each.name in names
        ]
        if not paths and key != step.config.foreach:
            return bits  # its read_keys let it read more than the prompt does
        return _union(
            bits
            for place, bits in self._places[writer, key]
            if any(place[: len(path)] == path[: len(place)] for path in paths)
        )

    # --- what is asked of them

    def told(self, bits: int, *, most: int | None = None) -> list[str]:
        """Return the names of labels, or of the first few, in the order they were found in."""
        return [self.names[bit] for bit in islice(_each(bits), most)]

    def holds(self, bits: int, label: str) -> bool:
        """Tell whether a label is among some."""
        return bool(bits >> self._bit[label] & 1) if label in self._bit else False

    def of_key(self, step: int, key: str) -> int:
        """Return the labels that a key bears for a step that reads it."""
        bits = self._given_to(step, key)
        for writer in self.scene.writers.get(key, ()):
            if any(reader == step for reader, read in self.readers[writer] if read == key):
                bits |= self._handed(writer, key, step)
        return bits & ~self._late[step]

    def ways(self, label: str) -> dict[int, Came]:
        """Return, for each step that a label reaches, the nearest place it comes from."""
        bit = 1 << self._bit[label]
        steps = self.scene.graph.steps
        begins = [i for i, bits in enumerate(self.begun) if bits & bit]
        came = self._firsts(bit, begins)
        waiting = deque((*came, *(i for i in begins if i not in came)))
        done = set(waiting)
        reads = self.reads
        while waiting:
            i = waiting.popleft()
            origin = came[i].origin if i in came else steps[i].name
            borne = self.bears[i] & bit
            for reader, key in self.readers[i]:
                if reader in done and reader in came:
                    continue
                if reads[reader] & bit and (borne or self._handed(i, key, reader) & bit):
                    came.setdefault(reader, Came(i, origin))
                    if reader not in done:
                        done.add(reader)
                        waiting.append(reader)
        return came

    def _firsts(self, bit: int, begins: list[int]) -> dict[int, Came]:
        """Find the steps that have a label from an input, or from where it begins, unnamed."""
        graph = self.scene.graph
        keys = [key for key, bits in self.at_input.items() if bits & bit]
        came: dict[int, Came] = {}
        # With no input that bears it, only what reads everything can have it from no step it names.
        for i in graph.order if keys else self._reads_all:
            if not self.reads[i] & bit:
                continue
            allowed = graph.steps[i].read_keys
            key = next(
                (
                    key
                    for key in keys
                    if allowed is None or (key in allowed and self._given_to(i, key) & bit)
                ),
                None,
            )
            first = next((begin for begin in begins if begin != i), None)
            if key is not None:
                came[i] = Came(None, key)
            elif allowed is None and first is not None:
                came[i] = Came(first, graph.steps[first].name)
        return came

    def way(self, came: dict[int, Came], step: int) -> list[str]:
        """Return the names along one of the `ways`, from where a label begins to a step.

        Of a long way the middle is left out.
        """
        steps = self.scene.graph.steps
        names = [steps[step].name]
        at, seen = came.get(step), {step}
        origin = at.origin if at else ""
        while at is not None and at.step is not None and at.step not in seen:
            if len(names) > _LONGEST_WAY:
                return [origin, "…", *names[:0:-1][-_LONGEST_WAY + 2 :], names[0]]
            seen.add(at.step)
            names.append(steps[at.step].name)
            at = came.get(at.step)
        return names[::-1] if not origin or names[-1] == origin else [origin, *names[::-1]]


def _given(scene: Scene) -> dict[str, None]:
    """Return the names of the inputs: the declared ones, or what is read and never written."""
    if scene.inputs is not None:
        return dict.fromkeys(sorted(scene.inputs))
    return dict.fromkeys(read.key for read in scene.reads if read.key not in scene.writers)


def _union(sets: Iterable[int]) -> int:
    union = 0
    for bits in sets:
        union |= bits
    return union


def _each(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
