"""Steps to a graph: who waits for whom, in what order, and what is wrong with the plan.

Names become positions once, here: `dependencies`, `dependents` and `order` are plain arrays of
positions, and the engine walks nothing else.  networkx stands behind `dag`, for cycles, ancestors,
layers and drawing; it is imported when somebody asks (137 ms that most runs never pay).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cached_property
from heapq import heappop, heappush
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kairos import plan_faults
from kairos.exceptions import ConfigError, PlanError, did_you_mean
from kairos.failure import FailurePolicy
from kairos.plan_faults import GraphError
from kairos.source import declared_here
from kairos.step import Step, StepConfig, StepContext, as_step

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["TaskGraph", "mermaid_nodes"]

_SUGGESTIONS = 5  # each compares a name with every other: 100,000 of them would take hours
_NOTES = 20


class TaskGraph:
    """A named plan of steps.

    `steps` are Steps, or functions (see `kairos.step.step`).  A step depends on what it declares
    in `depends_on`, on every step that a typed parameter or a placeholder of its prompt names, and
    on the step that its foreach runs over.  Names that these read, and that no step bears or
    writes, are `expected_inputs`, each with whether a step needs it.

    `steps`, `dependencies` and `dependents` are in declaration order, `index` gives a name's
    position.  A graph with faults can be built and looked at: `validate()` lists them, `check()`
    raises.

    Raises ConfigError for an empty name and for steps that are none.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[Step | Callable[..., Any]],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ConfigError(
                "a plan has no name",
                where=declared_here(),
                expected="a string that is not empty",
                found="an empty string" if name == "" else type(name).__name__,
            )
        self.name = name
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.steps: tuple[Step, ...] = tuple(map(as_step, steps))
        self._duplicates: list[int] = []
        self._missing: list[tuple[int, str]] = []
        self._selfish: list[int] = []
        self._expected: dict[str, bool] = {}
        self._index = self._numbered()
        self.index: Mapping[str, int] = MappingProxyType(self._index)
        self.expected_inputs: Mapping[str, bool] = MappingProxyType(self._expected)
        self.dependencies: tuple[tuple[int, ...], ...] = self._resolved()
        self.dependents: tuple[tuple[int, ...], ...] = _turned(self.dependencies)
        # shorter than `steps` where some wait for one another
        self._sorted = _topological(self.dependencies, self.dependents)

    def _numbered(self) -> dict[str, int]:
        index: dict[str, int] = {}
        for i, step in enumerate(self.steps):
            if index.setdefault(step.name, i) != i:
                self._duplicates.append(i)
        return index

    def _resolved(self) -> tuple[tuple[int, ...], ...]:
        index = self._index
        resolved: list[tuple[int, ...]] = []
        for i, step in enumerate(self.steps):
            names: Collection[str] = step.depends_on
            if step.config.foreach is not None or step.signature.typed or step.prompt is not None:
                names = self._names(step)
            try:
                positions = tuple([index[name] for name in names])
            except KeyError:
                self._missing += [(i, name) for name in names if name not in index]
                positions = tuple(index[name] for name in names if name in index)
            if i in positions:
                self._selfish.append(i)
                positions = tuple(p for p in positions if p != i)
            resolved.append(positions)
        if self._expected:
            for step in self.steps:
                for key in step.write_keys:
                    self._expected.pop(key, None)
        return tuple(resolved)

    def _names(self, step: Step) -> list[str]:
        """Return the names a step depends on, and book as inputs those that no step bears."""
        reads = [*step.signature.reads, *step.prompted]
        foreach = step.config.foreach
        if foreach is not None:
            reads.append(foreach)
        names = list(step.depends_on)
        for name in reads:
            if name in self._index:
                names.append(name)
            else:
                needed = name not in step.signature.reads or name in step.signature.required
                self._expected[name] = self._expected.get(name, False) or needed
        return list(dict.fromkeys(names))

    # --- faults

    def validate(self) -> list[PlanError]:
        """Return every fault of the graph: duplicates, self-dependencies, missing ones, cycles."""
        twins = [self.steps[i] for i in self._duplicates]
        faults = [plan_faults.duplicate(step, self.get_step(step.name)) for step in twins]
        faults += [plan_faults.selfish(self.steps[i]) for i in self._selfish]
        for nth, (i, name) in enumerate(self._missing):
            faults.append(
                plan_faults.missing(self.steps[i], name, self._index if nth < _SUGGESTIONS else ())
            )
        if len(self._sorted) < len(self.steps):
            faults += [
                plan_faults.cycle([self.get_step(n) for n in names]) for names in self._cycles()
            ]
        return faults

    def check(self) -> None:
        """Raise the first fault as a PlanError, with the others in `others` and in its notes."""
        if len(self._sorted) == len(self.steps) and not (
            self._duplicates or self._missing or self._selfish
        ):
            return
        first, *others = self.validate()
        if isinstance(first, GraphError):
            first.others = tuple(others)
        for other in others[:_NOTES]:
            first.add_note(str(other))
        if len(others) > _NOTES:
            first.add_note(f"and {len(others) - _NOTES} more faults in plan '{self.name}'")
        raise first

    def _cycles(self) -> list[list[str]]:
        """Return one short cycle from each knot of steps that wait for one another."""
        import networkx as nx  # noqa: PLC0415 - only a fault pays for it

        found, dag = [], self.dag
        for knot in nx.strongly_connected_components(dag):
            if len(knot) > 1:
                part: nx.DiGraph[str] = nx.DiGraph(
                    (a, b) for a in knot for b in dag.successors(a) if b in knot
                )
                start = min(knot, key=self._index.__getitem__)
                far = nx.single_source_shortest_path_length(part, start)
                last = min(part.predecessors(start), key=lambda n: (far[n], self._index[n]))
                found.append([*nx.shortest_path(part, start, last)])
        return sorted(found, key=lambda names: self._index[names[0]])

    # --- order

    @property
    def order(self) -> tuple[int, ...]:
        """Positions in topological order, ties by declaration.

        It is the declared order wherever that one already respects the dependencies.  Raises
        PlanError when there is a cycle.
        """
        if len(self._sorted) < len(self.steps) or self._selfish:
            self.check()
        return self._sorted

    def topological_sort(self) -> list[Step]:
        """Return the steps in `order`."""
        return [self.steps[i] for i in self.order]

    def execution_order(self) -> list[Step]:
        """Return the steps in `order`."""
        return self.topological_sort()

    @cached_property
    def terminal(self) -> tuple[str, ...]:
        """The steps on which nothing depends, in topological order."""
        return tuple(self.steps[i].name for i in self.order if not self.dependents[i])

    @cached_property
    def outline(self) -> Mapping[str, tuple[str, ...]]:
        """Each step's name with those of its dependencies, in topological order."""
        names = [step.name for step in self.steps]
        return MappingProxyType(
            {names[i]: tuple(names[d] for d in self.dependencies[i]) for i in self.order}
        )

    @cached_property
    def dag(self) -> nx.DiGraph[str]:
        """The graph as a frozen networkx DiGraph: step names, each with its `step`.

        An edge leads from a step to one that waits for it.
        """
        import networkx as nx  # noqa: PLC0415 - see the module

        dag: nx.DiGraph[str] = nx.DiGraph(name=self.name)
        dag.add_nodes_from((step.name, {"step": step}) for step in self.steps)
        dag.add_edges_from(
            (self.steps[d].name, step.name)
            for step, positions in zip(self.steps, self.dependencies, strict=True)
            for d in positions
        )
        nx.freeze(dag)
        return dag

    # --- one step and its neighbours

    def get_step(self, name: str) -> Step:
        """Return the step of that name.  Raises PlanError, with the nearest name, for none."""
        return self.steps[self._position(name)]

    def get_dependencies(self, name: str) -> list[Step]:
        """Return the steps that this one waits for.  Raises PlanError for an unknown name."""
        return [self.steps[i] for i in self.dependencies[self._position(name)]]

    def get_dependents(self, name: str) -> list[Step]:
        """Return the steps that wait for this one.  Raises PlanError for an unknown name."""
        return [self.steps[i] for i in self.dependents[self._position(name)]]

    def get_ready_steps(self, completed: Collection[str], failed: Collection[str]) -> list[Step]:
        """Return the steps neither completed nor failed whose dependencies are all completed."""
        done, settled = {*completed}, {*completed, *failed}
        return [
            step
            for step, positions in zip(self.steps, self.dependencies, strict=True)
            if step.name not in settled and all(self.steps[d].name in done for d in positions)
        ]

    def get_cascade_skip_steps(
        self, failed: Collection[str], completed: Collection[str]
    ) -> list[Step]:
        """Return the steps that can no longer run: all that lie below `failed`.

        Those already completed or failed are left out, and names that no step bears.  In
        declaration order.
        """
        waiting = [self._index[name] for name in {*failed} if name in self._index]
        reached: set[int] = set()
        while waiting:
            below = set(self.dependents[waiting.pop()]) - reached
            reached |= below
            waiting += below
        settled = {*completed, *failed}
        return [self.steps[i] for i in sorted(reached) if self.steps[i].name not in settled]

    def _position(self, name: str) -> int:
        try:
            return self._index[name]
        except KeyError:
            raise PlanError(
                f"plan '{self.name}' has no step '{name}'",
                step_id=name,
                fix=did_you_mean(name, self._index),
            ) from None

    # --- other forms

    def splice(self, step_name: str, new_steps: Sequence[Step | Callable[..., Any]]) -> TaskGraph:
        """Return the plan in which `new_steps` replace one step.

        The new step of the same name takes the old one's place; the others are added at the end,
        so no position changes.  Raises PlanError when that name is missing, when another new step
        bears a name of this plan, and when the result has a fault.
        """
        position = self._position(step_name)
        old, given = self.steps[position], [as_step(new) for new in new_steps]
        replacement = next((new for new in given if new.name == step_name), None)
        if replacement is None:
            raise PlanError(
                f"the new steps do not include '{step_name}', whose output others may wait for",
                step_id=step_name,
                where=old.place,
                expected=f"a step named '{step_name}' among them",
                found=", ".join(new.name for new in given) or "no step at all",
            )
        added = [new for new in given if new is not replacement]
        for new in added:
            if new.name in self._index:
                raise plan_faults.duplicate(new, self.get_step(new.name))
        steps = (*self.steps[:position], replacement, *self.steps[position + 1 :], *added)
        spliced = TaskGraph(self.name, steps, self.metadata)
        spliced.check()
        return spliced

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data: everything but actions, contracts and validators.

        `depends_on` holds all that a step depends on, whether declared or read.
        """
        missing: dict[int, list[str]] = {}
        for i, name in self._missing:
            missing.setdefault(i, []).append(name)
        return {
            "name": self.name,
            "steps": [
                _step_to_dict(
                    step,
                    [
                        *(self.steps[d].name for d in self.dependencies[i]),
                        *missing.get(i, ()),
                        *((step.name,) if i in self._selfish else ()),
                    ],
                )
                for i, step in enumerate(self.steps)
            ],
            "metadata": dict(self.metadata),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaskGraph:
        """Build a plan from plain data, to be looked at: an action of such a plan raises PlanError.

        Keys that mean nothing here are ignored.  Raises ConfigError for what is no plan.
        """
        name = _field(data, "name", str, "the plan")
        steps = _field(data, "steps", (list, tuple), "the plan")
        metadata = _field(data, "metadata", Mapping, "the plan", default={})
        return cls(name, [_step_from_dict(step) for step in steps], metadata)

    def to_mermaid(self) -> str:
        """Return the plan as a Mermaid flowchart: a foreach has double sides, a `when` a point."""
        lines = ["flowchart TD", *mermaid_nodes(self.steps)]
        lines += [
            f"    n{d} --> n{i}" for i, positions in enumerate(self.dependencies) for d in positions
        ]
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        return f"TaskGraph({self.name!r}, {len(self.steps)} steps)"


def mermaid_nodes(steps: Sequence[Step]) -> list[str]:
    """Return a Mermaid line for each step, which is `n` and its position."""
    lines = []
    for i, step in enumerate(steps):
        left, right = ("[", "]")
        if step.config.foreach is not None:
            left, right = ("[[", "]]")
        elif step.when is not None:
            left, right = ("{{", "}}")
        lines.append(f'    n{i}{left}"{step.name}"{right}')
    return lines


def _turned(dependencies: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    dependents: list[list[int]] = [[] for _ in dependencies]
    for i, positions in enumerate(dependencies):
        for d in positions:
            dependents[d].append(i)
    return tuple(map(tuple, dependents))


def _topological(
    dependencies: tuple[tuple[int, ...], ...], dependents: tuple[tuple[int, ...], ...]
) -> tuple[int, ...]:
    """Return the first of all topological orders; what waits for itself is not in it."""
    if all(not positions or max(positions) < i for i, positions in enumerate(dependencies)):
        return tuple(range(len(dependencies)))
    waiting = [len(positions) for positions in dependencies]
    ready = [i for i, count in enumerate(waiting) if not count]
    order = []
    while ready:
        i = heappop(ready)
        order.append(i)
        for below in dependents[i]:
            waiting[below] -= 1
            if not waiting[below]:
                heappush(ready, below)
    return tuple(order)


_CONFIG_FIELDS = frozenset(f.name for f in fields(StepConfig))


def _step_to_dict(step: Step, depends_on: list[str]) -> dict[str, Any]:
    config = asdict(step.config)
    config["foreach_policy"] = step.config.foreach_policy.value
    return {
        "name": step.name,
        "depends_on": depends_on,
        "config": config,
        "read_keys": None if step.read_keys is None else list(dict.fromkeys(step.read_keys)),
        "write_keys": list(step.write_keys),
        "failure_policy": None if step.failure_policy is None else step.failure_policy.to_dict(),
        "labels": list(step.labels),
        "declassify": list(step.declassify),
        "touches": list(step.touches),
    }


def _step_from_dict(data: Any) -> Step:
    name = _field(data, "name", str, "a step")
    whose = f"step '{name}'"
    config = _field(data, "config", Mapping, whose, default={})
    policy = _field(data, "failure_policy", Mapping, whose, default=None)
    return Step(
        name,
        _placeholder(name),
        depends_on=_field(data, "depends_on", (list, tuple), whose, default=()),
        config=StepConfig(**{k: v for k, v in config.items() if k in _CONFIG_FIELDS}),
        read_keys=_field(data, "read_keys", (list, tuple), whose, default=None),
        write_keys=_field(data, "write_keys", (list, tuple), whose, default=None),
        failure_policy=None if policy is None else FailurePolicy.from_dict(policy),
        labels=_field(data, "labels", (list, tuple), whose, default=()),
        declassify=_field(data, "declassify", (list, tuple), whose, default=()),
        touches=_field(data, "touches", (list, tuple), whose, default=()),
    )


def _placeholder(name: str) -> Callable[[Any], Any]:
    def action(ctx: StepContext) -> Any:  # noqa: ARG001 - what an action takes
        raise PlanError(
            f"step '{name}' was read from plain data and has no action",
            step_id=name,
            fix="run the workflow that declares it",
        )

    return action


_REQUIRED: Any = object()


def _field(data: Any, key: str, kind: Any, whose: str, *, default: Any = _REQUIRED) -> Any:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{whose} is read from a dict", found=type(data).__name__)
    value = data.get(key, default)
    if value is default is not _REQUIRED or (value is None and default is None):
        return value
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise ConfigError(
            f"'{key}' of {whose} is {'missing' if value is _REQUIRED else 'not what it takes'}",
            expected=" or ".join(k.__name__ for k in kinds),
            found=None if value is _REQUIRED else type(value).__name__,
        )
    return value
