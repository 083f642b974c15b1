"""What an element of a cached step costs beside one that is not, and beside the file alone."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Row, Target, interleaved
from kairos import Step, Workflow
from kairos.caches import MemoryCache, SQLiteCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from figures import Scale
    from kairos.ports import StepCache

__all__ = ["rows"]

_MICROSECONDS = 1e6
_ELEMENTS = 10_000


def _double(item: int) -> int:
    return 2 * item


def _workflow(cache: StepCache | None) -> Workflow:
    doubled = Step("doubled", _double, foreach="numbers", cache=cache is not None)
    return Workflow("cached", [doubled], cache=cache)


def _timed(workflow: Workflow, elements: int) -> float:
    numbers = list(range(elements))
    begun = time.process_time()
    workflow.run({"numbers": numbers})
    return (time.process_time() - begun) / elements * _MICROSECONDS


def _bare(elements: int) -> float:
    return _timed(_workflow(None), elements)


def _in_memory(elements: int, *, found: bool) -> float:
    workflow = _workflow(MemoryCache(elements))
    if found:
        _timed(workflow, elements)
    return _timed(workflow, elements)


def _in_a_file(elements: int, *, found: bool) -> float:
    with tempfile.TemporaryDirectory() as folder, SQLiteCache(Path(folder) / "c.db") as cache:
        workflow = _workflow(cache)
        if found:
            _timed(workflow, elements)
        return _timed(workflow, elements)


def _file_alone(elements: int, *, found: bool) -> float:
    """Put entries into a table of nothing else, each in a commit of its own, or get them."""
    entries = [(hashlib.sha256(b"%d" % n).hexdigest(), b"x" * 128) for n in range(elements)]
    with tempfile.TemporaryDirectory() as folder:
        sql = sqlite3.connect(Path(folder) / "plain.db", isolation_level=None)
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("PRAGMA synchronous = NORMAL")
        sql.execute("CREATE TABLE entry (key TEXT PRIMARY KEY, value BLOB)")
        begun = time.process_time()
        for entry in entries:
            sql.execute("BEGIN IMMEDIATE")
            sql.execute("INSERT INTO entry VALUES (?, ?)", entry)
            sql.execute("COMMIT")
        if found:
            begun = time.process_time()
            for key, _ in entries:
                sql.execute("SELECT value FROM entry WHERE key = ?", (key,)).fetchone()
        spent = time.process_time() - begun
        sql.close()
    return spent / elements * _MICROSECONDS


def rows(scale: Scale) -> Iterator[Row]:
    """Measure elements that are found and that are not, and whether a long list makes it dearer."""
    size = scale.size(_ELEMENTS)
    sides: dict[str, Callable[[], float]] = {"bare": partial(_bare, size)}
    for found in (True, False):
        sides |= {
            f"memory {found}": partial(_in_memory, size, found=found),
            f"file {found}": partial(_in_a_file, size, found=found),
            f"floor {found}": partial(_file_alone, size, found=found),
            f"short {found}": partial(_in_memory, max(size // 10, 4), found=found),
        }
    measured = interleaved(sides, scale.rounds(5))
    unit = "µs CPU an element"
    for found, word, key in ((True, "found", "hit"), (False, "not found", "miss")):
        memory, floor = measured[f"memory {found}"], measured[f"floor {found}"]
        yield Row(
            f"cache_{key}", f"an element that is {word} in memory, beside no cache", unit,
            memory, measured["bare"],
        )  # fmt: skip
        yield Row(
            f"cache_file_{key}", f"an element that is {word} in a file, beside its table", unit,
            measured[f"file {found}"], floor,
        )  # fmt: skip
        yield Row(
            f"cache_long_{key}", f"an element that is {word}, of 10,000 beside of 1,000", unit,
            memory, measured[f"short {found}"], Target(1.5, "ratio"),
        )  # fmt: skip
