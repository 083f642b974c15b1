"""Everything known of one step before it runs: what it may read, and why, write and touch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.contracts.effects import touches_of
from kairos.exceptions import PlanError
from kairos.failure import KAIROS_DEFAULTS, FailurePolicy
from kairos.source import defined_at
from kairos.verify.edges import prove
from kairos.verify.flow.labels import Labels
from kairos.verify.layout import padded, painted, plain, shown, table
from kairos.verify.reach import upstream
from kairos.verify.scene import Read, signature_of_when
from kairos.verify.touching import seen_touches, validators_touch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kairos.step import Step
    from kairos.verify.edges.edge import Proof
    from kairos.verify.scene import Scene

__all__ = ["Explanation", "Origin", "Readable", "Touched", "Writable", "explain", "told"]


class Origin(NamedTuple):
    """Where the value of a key comes from: a step (`where` it was declared) or an input."""

    kind: str
    name: str
    contract: str | None = None
    where: str | None = None


class Readable(NamedTuple):
    """A key that a step may read.

    `through` says what reads it, `allowed` what allows that; `needs` is the contract that it is
    held to, and `verdict` what is known of that beforehand: an answer, with what it rests on.
    """

    key: str
    origins: tuple[Origin, ...]
    through: str
    allowed: str
    needs: str | None = None
    verdict: str | None = None
    labels: tuple[str, ...] = ()


class Writable(NamedTuple):
    """A key that a step may write, under which contract, and the labels that it then bears."""

    key: str
    contract: str | None = None
    labels: tuple[str, ...] = ()


class Touched(NamedTuple):
    """Something outside the process that a step touches, and how that is known."""

    what: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a step can read, from where and why, and what it may write and touch.

    `everything`: it does not say what it reads, so that `reads` is all that there may be.
    """

    step: str
    where: str | None
    action: str
    waits_for: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    everything: bool = False
    reads: tuple[Readable, ...] = ()
    writes: tuple[Writable, ...] = ()
    touches: tuple[Touched, ...] = ()
    trusted_with: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    on_failure: str = ""
    policy_from: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        found = asdict(self)
        return {
            **found,
            "reads": [
                {**each._asdict(), "origins": [origin._asdict() for origin in each.origins]}
                for each in self.reads
            ],
            "writes": [each._asdict() for each in self.writes],
            "touches": [each._asdict() for each in self.touches],
        }


def explain(scene: Scene, step_name: str, *, proofs: Iterable[Proof] | None = None) -> Explanation:
    """Explain one step of a plan; runs nothing.

    `proofs` are those of a report on the same scene; without them they are made.  Raises PlanError
    for a name that no step bears, and for a plan that has no order.
    """
    at = scene.graph.index.get(step_name)
    if at is None:
        scene.graph.get_step(step_name)
        raise PlanError(f"no step '{step_name}'", step_id=step_name)
    scene.graph.check()
    step = scene.graph.steps[at]
    labels = Labels(scene)
    known = {
        (str(proof.edge.through), proof.edge.key): proof
        for proof in (prove(scene) if proofs is None else proofs)
        if proof.edge.step == at
    }
    attempts, whose = _policy(scene, step)
    return Explanation(
        step.name,
        str(step.place) if step.place else None,
        _called(step),
        tuple(scene.graph.steps[d].name for d in scene.graph.dependencies[at]),
        tuple(_runs(step)),
        step.read_keys is None,
        tuple(_reads(scene, at, labels, known)),
        tuple(
            Writable(
                key,
                _name(step.contracts.output) if key == step.name else None,
                tuple(labels.told(labels.written(at, key))),
            )
            for key in dict.fromkeys((step.name, *step.write_keys))
        ),
        tuple(_touches(step)),
        step.declassify,
        tuple(_checks(step, known)),
        attempts,
        whose,
    )


def _called(step: Step) -> str:
    name = getattr(step.action, "__name__", type(step.action).__name__)
    place = defined_at(step.action)
    return f"{name}() at {place}" if place else f"{name}()"


def _runs(step: Step) -> Iterator[str]:
    if step.config.foreach is not None:
        together = ", side by side" if step.config.parallel else ""
        yield f"for each element of '{step.config.foreach}'{together}"
    elif step.config.parallel:
        yield "beside other steps"
    if step.when is not None:
        name = getattr(step.when, "__name__", "when=")
        place = defined_at(step.when)
        yield f"only where {name}() holds" + (f", {place}" if place else "")
    if step.config.timeout is not None:
        yield f"for at most {step.config.timeout:g} s an attempt"
    if step.config.isolation == "process":
        yield "in a process of its own"


# --- what it may read


def _reads(
    scene: Scene, at: int, labels: Labels, known: dict[tuple[str, str], Proof]
) -> Iterator[Readable]:
    step = scene.graph.steps[at]
    named = [read for read in scene.reads if read.step == at]
    if step.read_keys is None:
        seen = {read.key for read in named}
        others = [key for key in (*labels.given, *scene.writers) if key not in seen]
        named += [Read(at, key, "ctx", required=False) for key in others]
    for read in named:
        origins = tuple(_origins(scene, at, read.key))
        if step.read_keys is None and not origins:
            continue
        contract = step.contracts.parameters.get(read.key)
        if read.key == step.config.foreach and step.signature.item is not None:
            contract = step.contracts.parameters.get(step.signature.item)
        ways = (known.get((way, read.key)) for way in ("parameter", "item", "when"))
        proof = next((each for each in ways if each is not None), None)
        yield Readable(
            read.key,
            origins,
            read.through,
            _allowed(step, read),
            _name(contract),
            None if proof is None else _verdict(proof),
            tuple(labels.told(_bits(labels, at, read.key))),
        )


def _bits(labels: Labels, at: int, key: str) -> int:
    if labels.scene.graph.steps[at].read_keys is not None:
        return labels.of_key(at, key)
    bits = labels.at_input.get(key, 0)
    for writer in labels.scene.writers.get(key, ()):
        bits |= labels.written(writer, key)
    return bits & labels.reads[at]


def _origins(scene: Scene, at: int, key: str) -> Iterator[Origin]:
    """Give all that may have written a key by the time the step reads it."""
    graph = scene.graph
    writers = [i for i in scene.writers.get(key, ()) if i != at]
    later = upstream(graph, {(i, at) for i in writers})
    for i in writers:
        if (i, at) not in later:
            writer = graph.steps[i]
            contract = writer.contracts.output if key == writer.name else None
            place = str(writer.place) if writer.place else None
            yield Origin("step", writer.name, _name(contract), place)
    given = key in scene.inputs if scene.inputs is not None else key not in scene.writers
    if given:
        yield Origin("input", key, _name(scene.contract))


def _allowed(step: Step, read: Read) -> str:
    """Say which declaration lets a step read a key."""
    if step.read_keys is None:
        asked = signature_of_when(step)
        if asked is not None and read.key in asked.reads:
            return "when= names it, and it has no read_keys"
        return "it has no read_keys"
    if read.through == "foreach":
        return f"foreach='{read.key}'"
    return "read_keys" if read.through == "read_keys" else f"{read.through} names it"


def _verdict(proof: Proof) -> str:
    verdict = proof.verdict
    words = {"proved": "proved", "refuted": "refuted", "coerced": "only by conversion"}
    told = words.get(verdict.answer, "checked when it runs")
    why = proof.assuming or verdict.reason
    return f"{told}, {why}" if why else told


def _name(contract: Any) -> str | None:
    return None if contract is None else str(contract.name)


# --- what it may touch, and what holds it to its word


def _touches(step: Step) -> Iterator[Touched]:
    said = touches_of(step.action, step.name, step.place)
    for each in step.touches:
        yield Touched(each, "its action says so" if each in said else "declared")
    for seen in seen_touches(step):
        if seen.touches not in step.touches:
            yield Touched(seen.touches, f"not declared, but seen: {seen.evidence}")
    for seen in validators_touch(step):
        yield Touched(seen.touches, seen.evidence)


def _checks(step: Step, known: dict[tuple[str, str], Proof]) -> Iterator[str]:
    contracts = step.contracts
    if contracts.input is not None:
        yield f"its inputs, as {contracts.input.name}" + _elided(known.get(("input_contract", "")))
    for name, contract in contracts.parameters.items():
        item = name == step.signature.item
        over = step.config.foreach or ""
        proof = known.get(("item", over) if item else ("parameter", name))
        yield f"'{name}', as {contract.name}" + _elided(proof)
    if contracts.output is not None:
        each = "each output" if step.config.foreach is not None else "its output"
        yield f"{each}, as {contracts.output.name}"
    count = len(step.validators)
    if count:
        names = ", ".join(type(each).__name__ for each in step.validators[:5])
        yield f"{count} semantic validator{'s' if count > 1 else ''}: {names}"


def _elided(proof: Proof | None) -> str:
    return " (left out: it is proved)" if proof is not None and proof.elides else ""


def _policy(scene: Scene, step: Step) -> tuple[str, str]:
    """Say what happens when the step fails, and where that is said: the most specific wins."""
    if step.failure_policy is not None:
        policy, whose = step.failure_policy, "its own failure_policy"
    elif scene.failure_policy is not None:
        policy, whose = scene.failure_policy, "the workflow's failure_policy"
    else:
        policy, whose = KAIROS_DEFAULTS, "the defaults"
    if step.failure_policy is None and ("retries" in step.options or step.config.retries):
        policy, whose = (
            replace(policy, max_retries=step.config.retries),
            f"its retries, else {whose}",
        )
    raised, broken = (_on(policy, a) for a in (policy.on_execution_fail, policy.on_validation_fail))
    if raised == broken:
        return raised, whose
    return f"{raised}; where a contract is broken: {broken}", whose


def _on(policy: FailurePolicy, action: Any) -> str:
    if action == "retry":
        return _attempts(policy.max_retries, policy.fallback_action.value)
    if action == "replan":
        return f"up to {policy.max_replans} new plans, then {policy.fallback_action.value}"
    return str(action.value)


def _attempts(retries: int, then: str) -> str:
    return f"up to {retries + 1} attempts, then {then}" if retries else then


# --- in words

_BOLD, _DIM, _RED, _YELLOW, _GREEN = ("1", "2", "31", "33", "32")


def told(explanation: Explanation, *, color: bool) -> str:
    """Return an explanation as text; `color` adds ANSI colours.

    Control and invisible characters appear as visible escapes, whoever wrote them.
    """
    paint = painted if color else plain
    e = explanation
    head = [paint(shown(e.where), _BOLD) if e.where else "", shown(e.step), shown(e.action)]
    lines = ["  ".join(part for part in head if part)]
    sections = [
        ("runs", list(e.runs)),
        ("waits for", [", ".join(e.waits_for)] if e.waits_for else []),
        ("may read", _reads_told(e)),
        ("may write", _aligned((w.key, w.contract or "", _borne(w.labels)) for w in e.writes)),
        ("may touch", _aligned((t.what, t.evidence) for t in e.touches) or ["nothing it says"]),
        ("trusted with", [", ".join(e.trusted_with)] if e.trusted_with else []),
        ("checked", list(e.checks)),
        ("on failure", [f"{e.on_failure}  ({e.policy_from})"]),
    ]
    width = max(len(title) for title, rows in sections if rows)
    for title, rows in sections:
        for nth, row in enumerate(rows):
            label = padded(title if not nth else "", width)
            lines.append(f"  {paint(label, _DIM) if label.strip() else label}  {shown(row)}")
    return "\n".join(lines) + "\n"


def _reads_told(e: Explanation) -> list[str]:
    rows = [
        (
            each.key,
            " or ".join(map(_origin, each.origins)) or "nothing produces it",
            each.through if each.through != "ctx" else "",
            each.verdict or "",
            _borne(each.labels),
        )
        for each in e.reads
    ]
    found = _aligned(rows)
    if e.everything:
        return ["everything, since it does not say what it reads:", *found]
    return found or ["nothing"]


def _origin(origin: Origin) -> str:
    contract = f" {origin.contract}" if origin.contract else ""
    if origin.kind == "input":
        return f"input{f' of{contract}' if contract else ''}"
    where = f" at {origin.where}" if origin.where else ""
    return f"step {origin.name}{where}{f' as{contract}' if contract else ''}"


def _borne(labels: tuple[str, ...]) -> str:
    return f"bears {', '.join(labels)}" if labels else ""


def _aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return rows with their columns aligned, those that are empty throughout left out."""
    kept = list(rows)
    columns = [i for i in range(len(kept[0]) if kept else 0) if any(row[i] for row in kept)]
    return [line.strip() for line in table(([row[i] for i in columns] for row in kept), None)]
