"""What a session costs beside its store alone, and what it costs to make a conversation short."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Row, Target, interleaved
from kairos.agents import Compaction, SQLiteStore, agent, tool
from kairos.models import TokenUsage
from kairos.testing import CallTool, Reply, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from figures import Scale
    from kairos.agents import Session

__all__ = ["rows"]

_MICROSECONDS = 1e6
_LENGTHS = (100, 2_000)
_SENDS = 200
_CONTEXT = 16_000


@tool(effect="read")
def double(number: int) -> int:
    """Double a number."""
    return 2 * number


def _said(tasks: int, folder: str) -> tuple[Session, SQLiteStore]:
    """Return a session of so many tasks, ready for as many more as are measured."""
    script = [CallTool("double", {"number": 1}), "It is two, as far as anybody can tell."]
    made = agent(
        ScriptedModel(script * (tasks + _SENDS)), tools=[double], max_repeated_texts=None
    )  # fmt: skip
    store = SQLiteStore(Path(folder) / "sessions.db", durable=False)
    session = made.session("s", store=store)
    for _ in range(tasks):
        session.send("How much is one and one?")
    return session, store


def _sends(tasks: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        session, store = _said(tasks, folder)
        begun = time.process_time()
        for _ in range(_SENDS):
            session.send("How much is one and one?")
        spent = time.process_time() - begun
        store.close()
    return spent / _SENDS * _MICROSECONDS


def _commits() -> float:
    """Commit what a send keeps, to a table of nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        session, store = _said(1, folder)
        kept = [json.dumps(each) for each in store.read(session.id)]
        store.close()
        sql = sqlite3.connect(Path(folder) / "plain.db", isolation_level=None)
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = NORMAL")
        sql.execute("CREATE TABLE event (session TEXT, seq INTEGER, data TEXT)")
        begun = time.process_time()
        for number in range(_SENDS):
            for at, each in enumerate(kept):
                sql.execute("BEGIN IMMEDIATE")
                sql.execute("INSERT INTO event VALUES ('s', ?, ?)", (number * 9 + at, each))
                sql.execute("COMMIT")
        spent = time.process_time() - begun
        sql.close()
    return spent / _SENDS * _MICROSECONDS


def _cut(turns: int) -> float:
    """Return what a turn takes where the conversation is cut again and again."""
    uncounted = TokenUsage()  # so that what it takes is estimated, and grows with what is said
    script = [
        Reply((CallTool("double", {"number": number}),), usage=uncounted) for number in range(turns)
    ]
    model = ScriptedModel([*script, "done"])
    option = Compaction(window=_CONTEXT, keep_turns=6, summarise=False)
    made = agent(model, tools=[double], max_iterations=None, compaction=option)
    begun = time.process_time()
    made.run("go")
    return (time.process_time() - begun) / turns * _MICROSECONDS


def rows(scale: Scale) -> Iterator[Row]:
    """Measure sends on a short and on a long session, and cuts of a short and of a long run."""
    short, long = (scale.size(each) for each in _LENGTHS)
    sides: dict[str, Callable[[], float]] = {
        "short": partial(_sends, short), "long": partial(_sends, long), "floor": _commits,
    }  # fmt: skip
    found = interleaved(sides, scale.rounds(5))
    for side, full in zip(("short", "long"), _LENGTHS, strict=True):
        what = f"a send in SQLite, after {full:,} tasks"
        yield Row(f"session_{full}", what, "µs CPU a send", found[side], found["floor"])
    cuts = {"short": partial(_cut, scale.size(1_000)), "long": partial(_cut, scale.size(10_000))}
    found = interleaved(cuts, scale.rounds(5))
    yield Row(
        "agent_cut", "a turn where the conversation is cut, 10,000 turns beside 1,000",
        "µs CPU a turn", found["long"], found["short"], Target(1.5, "ratio"),
    )  # fmt: skip
