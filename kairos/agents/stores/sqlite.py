"""Sessions in a file, with what Python has of SQLite."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kairos.agents.stores.faults import as_json, begun_already, longer_than, moved_on
from kairos.exceptions import ConfigError, StoreError
from kairos.ports import StoredSession
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

__all__ = ["SQLiteStore"]

_APPLICATION = 0x6B616972
_VERSION = 1
_LONGEST = 86_400.0
"""SQLite counts milliseconds in 32 bits, and takes what is more for none at all."""

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

_FAULTS = {
    "SQLITE_BUSY": ("is locked", "somebody else writes for longer than timeout="),
    "SQLITE_LOCKED": ("is locked", "somebody else writes for longer than timeout="),
    "SQLITE_FULL": ("cannot grow: the disk is full", "make room; what was kept is still there"),
    "SQLITE_NOTADB": ("is no SQLite database", "give the path of a new file"),
    "SQLITE_CORRUPT": ("is damaged", "restore a copy, or recover it with the sqlite3 program"),
    "SQLITE_READONLY": ("may not be written", "check the rights of the file and its folder"),
    "SQLITE_CANTOPEN": ("cannot be opened", "check that its folder exists and may be written"),
    "SQLITE_IOERR": ("cannot be read or written", "check the disk"),
    "SQLITE_PERM": ("may not be opened", "check the rights of the file and its folder"),
    "SQLITE_TOOBIG": ("takes no event of this size", "have tools return less: max_chars="),
}


class SQLiteStore:
    """Keeps sessions in one file, which several threads and processes may use at once.

    A file that is made here can be read and written by its owner alone (mode 0600).  `timeout` is
    how many seconds to wait for somebody else who writes.  With `durable` an event that is kept
    outlives the machine's end; without, only the process's, and keeping one is ten times as fast.

    Raises StoreError for a file that is no store, is damaged, or was written by a later kairos.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, timeout: float = 5.0, durable: bool = True
    ) -> None:
        if not isinstance(path, str | os.PathLike) or str(path) in ("", ":memory:"):
            raise ConfigError(
                "a store in a file has no file",
                where=declared_here(),
                expected="the path of a file",
                fix="use MemoryStore()",
            )
        if not isinstance(timeout, int | float) or not 0 <= timeout <= _LONGEST:
            raise ConfigError(
                "timeout= of SQLiteStore() is wrong",
                where=declared_here(),
                expected=f"seconds, from 0 to {_LONGEST:,}",
                found=repr(timeout) if type(timeout) in (int, float) else type(timeout).__name__,
            )
        self._path = Path(path)
        self._timeout = timeout
        self._durable = durable
        self._lock = threading.Lock()
        self._process = 0
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        with self._lock, self._telling():
            self._connected()

    def __repr__(self) -> str:
        return f"SQLiteStore({self._path.name!r})"

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
        with self._lock, self._telling():
            self._closed = True
            connection, self._connection = self._connection, None
            if self._process != os.getpid():
                _abandoned.append(connection)
            elif connection is not None:
                connection.close()

    # --- what a store does

    def append(self, session: str, at: int, events: Sequence[Mapping[str, Any]], /) -> None:
        """Keep events; see `SessionStore`."""
        written = as_json(events)
        with self._writing() as sql:
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
        with self._reading() as sql:
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
            raise StoreError(
                f"the store {self._path.name} is damaged", found="an event that is no JSON"
            ) from None

    def fork(self, session: str, upto: int, new: str, /) -> None:
        """Begin a session with the first events of another; see `SessionStore`."""
        with self._writing() as sql:
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
        with self._reading() as sql:
            found = sql.execute(
                "SELECT name, length, created, changed FROM branch WHERE name IS NOT NULL"
                " ORDER BY name"
            ).fetchall()
        return [StoredSession(*row) for row in found]

    def delete(self, session: str, /) -> bool:
        """Forget a session; see `SessionStore`.  Its text is overwritten in the file."""
        with self._writing() as sql:
            row = sql.execute("SELECT id FROM branch WHERE name = ?", (session,)).fetchone()
            if row is None:
                return False
            sql.execute("UPDATE branch SET name = NULL WHERE id = ?", row)
            branch: int | None = row[0]
            while branch is not None:
                branch = self._without_what_nobody_has(sql, branch)
        with self._lock, self._telling():
            # or it would still stand in the log of what was written before
            self._connected().execute("PRAGMA wal_checkpoint(TRUNCATE)")
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

    # --- the file

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._telling():
            sql = self._connected()
            # at once, since a reader that becomes a writer cannot wait for another one
            sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
                sql.execute("COMMIT")
            finally:
                if sql.in_transaction:
                    sql.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._telling():
            sql = self._connected()
            sql.execute("BEGIN")
            try:
                yield sql
            finally:
                if sql.in_transaction:
                    sql.execute("ROLLBACK")

    def _connected(self) -> sqlite3.Connection:
        """Return the connection of this process: one from before a fork must not be touched."""
        if self._closed:
            raise StoreError(f"the store {self._path.name} is closed", fix="open it again")
        if self._connection is None or self._process != os.getpid():
            _abandoned.append(self._connection)
            self._connection = None
            self._connection = self._opened()
            self._process = os.getpid()
        return self._connection

    def _opened(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(
                f"the store {self._path.name} cannot be opened",
                found=os.strerror(error.errno or 0),
                fix="check that its folder exists and may be written",
            ) from None
        sql = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        try:
            sql.execute("PRAGMA trusted_schema = OFF")
            sql.execute("PRAGMA secure_delete = ON")
            self._ready(sql)
            sql.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        except BaseException:
            sql.close()
            raise
        return sql

    def _ready(self, sql: sqlite3.Connection) -> None:
        """Make the tables of a new file; refuse what is another's, or of a later version."""
        if self._is_ready(sql):
            return
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("BEGIN IMMEDIATE")
        try:
            if not self._is_ready(sql):  # somebody else may have been faster
                for statement in _TABLES.split(";\n"):
                    sql.execute(statement)
                sql.execute(f"PRAGMA application_id = {_APPLICATION}")
                sql.execute(f"PRAGMA user_version = {_VERSION}")
            sql.execute("COMMIT")
        finally:
            if sql.in_transaction:
                sql.execute("ROLLBACK")

    def _is_ready(self, sql: sqlite3.Connection) -> bool:
        (application,) = sql.execute("PRAGMA application_id").fetchone()
        (version,) = sql.execute("PRAGMA user_version").fetchone()
        if application == _APPLICATION and version == _VERSION:
            return True
        if application == _APPLICATION:
            raise StoreError(
                f"the store {self._path.name} was written by another version of kairos",
                expected=f"version {_VERSION}",
                found=f"version {version}",
                fix="use that version, or another file",
            )
        (tables,) = sql.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables:
            raise StoreError(
                f"{self._path.name} is the database of another program",
                fix="give the path of a new file",
            )
        return False

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Put what SQLite says into our words; it may name what stands in the file."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", None) or type(error).__name__
            what, fix = next(
                (told for kind, told in _FAULTS.items() if name.startswith(kind)),
                ("cannot be used", "check the file"),
            )
            raise StoreError(f"the store {self._path.name} {what}", found=name, fix=fix) from None


# Closing a connection that came along in a fork would let go of its parent's locks.
_abandoned: list[sqlite3.Connection | None] = []
