"""Sessions in a file, with what Python has of SQLite."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Self

from kairos.agents.stores.faults import as_json, begun_already, longer_than, moved_on
from kairos.ports import StoredSession
from kairos.sqlite_files import Layout, SQLiteFile

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Mapping, Sequence
    from types import TracebackType

__all__ = ["SQLiteStore"]

_APPLICATION = 0x6B616972
_VERSION = 1

# A session is a branch with a name.  One that was deleted loses its name, and what its forks do
# not share; it goes away with the last of them.
_TABLES = """
CREATE TABLE branch (
    id INTEGER PRIMARY KEY,
    name TEXT UNIQUE,
    parent INTEGER REFERENCES branch (id),
    shared INTEGER NOT NULL,
    length INTEGER NOT NULL,
    created REAL NOT NULL,
    changed REAL NOT NULL
);
CREATE INDEX branch_parent ON branch (parent) WHERE parent IS NOT NULL;
CREATE TABLE event (
    branch INTEGER NOT NULL REFERENCES branch (id),
    seq INTEGER NOT NULL,
    data TEXT NOT NULL,
    UNIQUE (branch, seq)
);
"""

_LAYOUT = Layout(
    "store",
    "MemoryStore()",
    _TABLES,
    _APPLICATION,
    _VERSION,
    {"SQLITE_TOOBIG": ("takes no event of this size", "have tools return less: max_chars=")},
)


class SQLiteStore:
    """Keeps sessions in one file, which several threads and processes may use at once.

    A file that is made here can be read and written by its owner alone (mode 0600).  `timeout` is
    how many seconds to wait for somebody else who writes.  With `durable` an event that is kept
    outlives the machine's end; without, only the process's, and keeping one is five times as fast.

    Raises StoreError for a file that is no store, is damaged, or was written by a later kairos.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, timeout: float = 5.0, durable: bool = True
    ) -> None:
        self._file = SQLiteFile(path, _LAYOUT, timeout=timeout, durable=durable)

    def __repr__(self) -> str:
        return f"SQLiteStore({self._file.name!r})"

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

    # --- what a store does

    def append(self, session: str, at: int, events: Sequence[Mapping[str, Any]], /) -> None:
        """Keep events; see `SessionStore`."""
        written = as_json(events)
        with self._file.writing() as sql:
            row = sql.execute("SELECT id, length FROM branch WHERE name = ?", (session,)).fetchone()
            length = 0 if row is None else row[1]
            if at != length:
                raise moved_on(session, at, length)
            branch = self._begun(sql, session, None, 0) if row is None else row[0]
            sql.executemany(
                "INSERT INTO event (branch, seq, data) VALUES (?, ?, ?)",
                [(branch, at + number, each) for number, each in enumerate(written)],
            )
            sql.execute(
                "UPDATE branch SET length = ?, changed = ? WHERE id = ?",
                (at + len(written), time.time(), branch),
            )

    def read(self, session: str, start: int = 0, /) -> list[dict[str, Any]]:
        """Return the events of a session; see `SessionStore`."""
        with self._file.reading() as sql:
            row = sql.execute(
                "SELECT id, parent, shared, length FROM branch WHERE name = ?", (session,)
            ).fetchone()
            pieces: list[list[tuple[str]]] = []
            until = 0 if row is None else row[3]
            while row is not None and until > start:
                branch, parent, shared, _ = row
                pieces.append(
                    sql.execute(
                        "SELECT data FROM event WHERE branch = ? AND seq >= ? AND seq < ?"
                        " ORDER BY seq",
                        (branch, start, until),
                    ).fetchall()
                )
                until = min(until, shared)
                row = sql.execute(
                    "SELECT id, parent, shared, length FROM branch WHERE id = ?", (parent,)
                ).fetchone()
        try:
            return [json.loads(data) for piece in reversed(pieces) for (data,) in piece]
        except ValueError:
            raise self._file.damaged("an event that is no JSON") from None

    def fork(self, session: str, upto: int, new: str, /) -> None:
        """Begin a session with the first events of another; see `SessionStore`."""
        with self._file.writing() as sql:
            if sql.execute("SELECT 1 FROM branch WHERE name = ?", (new,)).fetchone():
                raise begun_already(new)
            row = sql.execute(
                "SELECT id, parent, shared, length FROM branch WHERE name = ?", (session,)
            ).fetchone()
            length = 0 if row is None else row[3]
            if not 0 <= upto <= length:
                raise longer_than(session, upto, length)
            while row is not None and upto <= row[2]:  # or a fork of a fork would grow a chain
                row = sql.execute(
                    "SELECT id, parent, shared, length FROM branch WHERE id = ?", (row[1],)
                ).fetchone()
            self._begun(sql, new, None if row is None else row[0], upto)

    def sessions(self) -> list[StoredSession]:
        """Return all sessions, by their ids."""
        with self._file.reading() as sql:
            found = sql.execute(
                "SELECT name, length, created, changed FROM branch WHERE name IS NOT NULL"
                " ORDER BY name"
            ).fetchall()
        return [StoredSession(*row) for row in found]

    def delete(self, session: str, /) -> bool:
        """Forget a session; see `SessionStore`.  Its text is overwritten in the file."""
        with self._file.writing() as sql:
            row = sql.execute("SELECT id FROM branch WHERE name = ?", (session,)).fetchone()
            if row is None:
                return False
            sql.execute("UPDATE branch SET name = NULL WHERE id = ?", row)
            branch: int | None = row[0]
            while branch is not None:
                branch = self._without_what_nobody_has(sql, branch)
        self._file.forget_traces()
        return True

    def _without_what_nobody_has(self, sql: sqlite3.Connection, branch: int) -> int | None:
        """Remove of a branch what no session has any more; return the next to look at."""
        name, parent = sql.execute(
            "SELECT name, parent FROM branch WHERE id = ?", (branch,)
        ).fetchone()
        if name is not None:
            return None
        (shared,) = sql.execute(
            "SELECT max(shared) FROM branch WHERE parent = ?", (branch,)
        ).fetchone()
        sql.execute("DELETE FROM event WHERE branch = ? AND seq >= ?", (branch, shared or 0))
        if shared is not None:
            sql.execute("UPDATE branch SET length = ? WHERE id = ?", (shared, branch))
            return None
        sql.execute("DELETE FROM branch WHERE id = ?", (branch,))
        return parent if isinstance(parent, int) else None

    def _begun(self, sql: sqlite3.Connection, name: str, parent: int | None, shared: int) -> int:
        now = time.time()
        made = sql.execute(
            "INSERT INTO branch (name, parent, shared, length, created, changed)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (name, parent, shared, shared, now, now),
        )
        return int(made.lastrowid or 0)
