"""Kept outputs in a file, with what Python has of SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from kairos.sqlite_files import Layout, SQLiteFile

if TYPE_CHECKING:
    import os
    import sqlite3
    from types import TracebackType

__all__ = ["SQLiteCache"]

_LAYOUT = Layout(
    "cache",
    "MemoryCache()",
    """
CREATE TABLE entry (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    value BLOB NOT NULL
);
""",
    0x6B616963,
    faults={"SQLITE_TOOBIG": ("takes no output of this size", "do not cache this step")},
)
_EVERY = 64
"""How many entries may come between two looks at how many there are."""


class SQLiteCache:
    """Keeps outputs in one file, which several threads and processes may use at once.

    Of more than `max_entries` the oldest go.  The file can be read by its owner alone (mode 0600)
    and holds outputs in clear, so kairos keeps none there that holds a secret.  What was kept
    outlives the process, and what was kept last may be lost with the machine.

    Raises StoreError for a file that is no cache, is damaged, or was written by another kairos.
    """

    at_rest = True

    def __init__(
        self, path: str | os.PathLike[str], *, max_entries: int = 100_000, timeout: float = 5.0
    ) -> None:
        self._most = max(1, max_entries)
        self._file = SQLiteFile(path, _LAYOUT, timeout=timeout, durable=False)
        self._since = 0

    def __repr__(self) -> str:
        return f"SQLiteCache({self._file.name!r})"

    def __len__(self) -> int:
        with self._file.reading() as sql:
            (count,) = sql.execute("SELECT count(*) FROM entry").fetchone()
            return int(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go; nothing can be read or written any more."""
        self._file.close()

    def get(self, key: str, /) -> bytes | None:
        """Return what is kept under a key; see `StepCache`."""
        with self._file.reading() as sql:
            row = sql.execute("SELECT value FROM entry WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, key: str, value: bytes, /) -> None:
        """Keep something; see `StepCache`."""
        with self._file.writing() as sql:
            sql.execute("INSERT OR REPLACE INTO entry (key, value) VALUES (?, ?)", (key, value))
            self._since += 1
            if self._since >= min(_EVERY, self._most):
                self._since = 0
                self._make_room(sql)

    def _make_room(self, sql: sqlite3.Connection) -> None:
        # by number, which grows with every entry: no count of them all
        last = sql.execute(
            "SELECT number FROM entry ORDER BY number DESC LIMIT 1 OFFSET ?", (self._most,)
        ).fetchone()
        if last is not None:
            sql.execute("DELETE FROM entry WHERE number <= ?", last)

    def clear(self) -> None:
        """Forget everything; its text is overwritten in the file."""
        with self._file.writing() as sql:
            sql.execute("DELETE FROM entry")
        self._file.forget_traces()
