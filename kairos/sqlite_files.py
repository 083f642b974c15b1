"""A file of SQLite that several threads and processes may use at once, and what goes wrong with it.

What SQLite says is put into words of ours, since its own may name what stands in the file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from kairos.exceptions import ConfigError, StoreError
from kairos.source import declared_here

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Layout", "SQLiteFile"]

_LONGEST = 86_400.0
"""SQLite counts milliseconds in 32 bits, and takes what is more for none at all."""

_LOOK = 0.01
_PRIMARY = 0xFF  # the rest of an error's code says which kind of it

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
}


class Layout(NamedTuple):
    """What stands in such a file.

    `noun` is what messages call it, and `other` what serves where there is to be no file.
    `tables` are statements that end in a semicolon at the end of a line; `application` and
    `version` are written into the file, so that it is known again.  `faults` are further words for
    what SQLite says, by the beginning of the error's name: what, and what to do.
    """

    noun: str
    other: str
    tables: str
    application: int
    version: int = 1
    faults: Mapping[str, tuple[str, str]] = MappingProxyType({})


class SQLiteFile:
    """A database in a file of its own, made when it is opened first.

    A file that is made here can be read and written by its owner alone (mode 0600).  `timeout` is
    how many seconds to wait for somebody else who writes.  With `durable` what is written outlives
    the machine's end; without, only the process's, and writing is ten times as fast.

    Raises ConfigError for no path, and everywhere StoreError for a file that cannot be used, is no
    such file, is damaged, or was written by another version.
    """

    def __init__(
        self, path: str | os.PathLike[str], layout: Layout, *, timeout: float, durable: bool
    ) -> None:
        if not isinstance(path, str | os.PathLike) or str(path) in ("", ":memory:"):
            raise ConfigError(
                f"a {layout.noun} in a file has no file",
                where=declared_here(),
                expected="the path of a file",
                fix=f"use {layout.other}",
            )
        if not isinstance(timeout, int | float) or not 0 <= timeout <= _LONGEST:
            raise ConfigError(
                f"timeout= of a {layout.noun} is wrong",
                where=declared_here(),
                expected=f"seconds, from 0 to {_LONGEST:,}",
                found=repr(timeout) if type(timeout) in (int, float) else type(timeout).__name__,
            )
        self._path = Path(path).absolute()  # wherever the process goes later
        self._layout = layout
        self._timeout = timeout
        self._durable = durable
        self._lock = threading.Lock()
        self._process = 0
        self._connection: sqlite3.Connection | None = None
        self._opened_at: tuple[int, int] | None = None
        self._closed = False
        with self._lock, self._telling():
            self._connected()

    @property
    def name(self) -> str:
        """The file's name."""
        return self._path.name

    def close(self) -> None:
        """Let the file go; nothing can be read or written any more."""
        with self._lock, self._telling():
            self._closed = True
            connection, self._connection = self._connection, None
            if self._process != os.getpid():
                _abandoned.append(connection)
            elif connection is not None:
                connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection within a transaction: all of it is kept at the end, or none."""
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
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that sees one state of the file, whoever writes meanwhile."""
        with self._lock, self._telling():
            sql = self._connected()
            sql.execute("BEGIN")
            try:
                yield sql
            finally:
                if sql.in_transaction:
                    sql.execute("ROLLBACK")

    def forget_traces(self) -> None:
        """Take what was deleted out of the log of what was written before, too."""
        with self._lock, self._telling():
            self._connected().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def damaged(self, found: str) -> StoreError:
        """Return the error for a file that holds what it cannot hold."""
        return StoreError(f"the {self._layout.noun} {self.name} is damaged", found=found)

    def _connected(self) -> sqlite3.Connection:
        """Return the connection of this process: one from before a fork must not be touched."""
        if self._closed:
            raise StoreError(f"the {self._layout.noun} {self.name} is closed", fix="open it again")
        if self._connection is None or self._process != os.getpid():
            _abandoned.append(self._connection)
            self._connection = None
            self._connection = self._opened()
            self._process = os.getpid()
            self._opened_at = self._place()
        elif self._place() != self._opened_at:
            # what is written now would be in a file that nobody finds again
            raise StoreError(
                f"the {self._layout.noun} {self.name} was taken away while it was open",
                expected="the file that was opened",
                found="another file in its place" if self._place() else "no file",
                fix="close it, and open it again",
            )
        return self._connection

    def _place(self) -> tuple[int, int] | None:
        """Return which file the path leads to now; None for none."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - Path.stat takes three times as long
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _opened(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(
                f"the {self._layout.noun} {self.name} cannot be opened",
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
        """Make the tables of a new file; refuse what is another's, or of another version."""
        sql.execute("BEGIN")  # or somebody else could make them between two looks
        try:
            ready = self._is_ready(sql)
        finally:
            sql.execute("ROLLBACK")
        if ready:
            return
        self._log_writes_ahead(sql)
        sql.execute("BEGIN IMMEDIATE")
        try:
            if not self._is_ready(sql):  # somebody else may have been faster
                for statement in self._layout.tables.split(";\n"):
                    sql.execute(statement)
                sql.execute(f"PRAGMA application_id = {self._layout.application}")
                sql.execute(f"PRAGMA user_version = {self._layout.version}")
            sql.execute("COMMIT")
        finally:
            if sql.in_transaction:
                sql.execute("ROLLBACK")

    def _log_writes_ahead(self, sql: sqlite3.Connection) -> None:
        """Change how it is written; the one statement for which SQLite does not wait by itself."""
        until = time.monotonic() + self._timeout
        while True:
            try:
                sql.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & _PRIMARY == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() >= until:
                    raise
                time.sleep(_LOOK)
            else:
                return

    def _is_ready(self, sql: sqlite3.Connection) -> bool:
        layout = self._layout
        (application,) = sql.execute("PRAGMA application_id").fetchone()
        (version,) = sql.execute("PRAGMA user_version").fetchone()
        if application == layout.application and version == layout.version:
            return True
        if application == layout.application:
            raise StoreError(
                f"the {layout.noun} {self.name} was written by another version of kairos",
                expected=f"version {layout.version}",
                found=f"version {version}",
                fix="use that version, or another file",
            )
        (tables,) = sql.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables:
            raise StoreError(
                f"{self.name} is the database of another program",
                fix="give the path of a new file",
            )
        return False

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", None) or type(error).__name__
            faults = {**_FAULTS, **self._layout.faults}
            what, fix = next(
                (told for kind, told in faults.items() if name.startswith(kind)),
                ("cannot be used", "check the file"),
            )
            raise StoreError(
                f"the {self._layout.noun} {self.name} {what}", found=name, fix=fix
            ) from None


# Closing a connection that came along in a fork would let go of its parent's locks.
_abandoned: list[sqlite3.Connection | None] = []
