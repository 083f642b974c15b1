"""What is kept of sessions is kept: by both stores alike, by many at once, and through a crash."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kairos.agents.stores import MemoryStore, SQLiteStore
from kairos.exceptions import ConfigError, SessionConflictError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kairos.ports import SessionStore

NAMES = st.sampled_from(["a", "b", "c", "d", "Ω '; DROP TABLE event; --"])
EVENTS = st.lists(
    st.dictionaries(
        st.text(max_size=3),
        st.none() | st.booleans() | st.integers() | st.floats(-9, 9, width=16)
        | st.text(alphabet=st.characters(), max_size=8),
        max_size=2,
    ),
    max_size=4,
)  # fmt: skip


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture(name="store", params=["memory", "sqlite"])
def _store(request: pytest.FixtureRequest, path: Path) -> Iterator[SessionStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with SQLiteStore(path, durable=False) as store:
        yield store


class StoresAgainstLists(RuleBasedStateMachine):
    """Whatever is done, both stores have what plain lists have."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "s.db"
        self.sqlite = SQLiteStore(self.path, durable=False)
        self.stores: list[SessionStore] = [MemoryStore(), self.sqlite]
        self.model: dict[str, list[Any]] = {}

    def teardown(self) -> None:
        if hasattr(self, "sqlite"):
            self.sqlite.close()
            self.folder.cleanup()

    def all_do(self, do: Callable[[SessionStore], Any], error: type[Exception] | None) -> None:
        for store in self.stores:
            if error is None:
                do(store)
            else:
                with pytest.raises(error):
                    do(store)

    @rule(name=NAMES, events=EVENTS, off=st.sampled_from([0, 0, 0, 1, -1]))
    def append(self, name: str, events: list[Any], off: int) -> None:
        at = len(self.model.get(name, ())) + off
        self.all_do(
            lambda store: store.append(name, at, events), SessionConflictError if off else None
        )
        if not off:
            self.model.setdefault(name, []).extend(events)

    @rule(name=NAMES, new=NAMES, share=st.floats(0, 1), beyond=st.sampled_from([0, 0, 0, 1]))
    def fork(self, name: str, new: str, share: float, beyond: int) -> None:
        length = len(self.model.get(name, ()))
        upto = length + 1 if beyond else int(length * share)
        error = SessionConflictError if new in self.model else StoreError if beyond else None
        self.all_do(lambda store: store.fork(name, upto, new), error)
        if error is None:
            self.model[new] = self.model.get(name, [])[:upto]

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        was = self.model.pop(name, None) is not None
        for store in self.stores:
            assert store.delete(name) is was

    @rule(name=NAMES, start=st.integers(0, 9))
    def read(self, name: str, start: int) -> None:
        for store in self.stores:
            assert store.read(name, start) == self.model.get(name, [])[start:]

    @rule()
    def open_anew(self) -> None:
        self.sqlite.close()
        self.sqlite = self.stores[1] = SQLiteStore(self.path, durable=False)

    @invariant()
    def all_have_the_same(self) -> None:
        if not hasattr(self, "stores"):
            return
        for store in self.stores:
            listed = {each.id: each.events for each in store.sessions()}
            assert listed == {name: len(events) for name, events in self.model.items()}
            for name, events in self.model.items():
                assert store.read(name) == events


TestStoresAgainstLists = StoresAgainstLists.TestCase
TestStoresAgainstLists.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_nothing_is_left_of_what_nobody_has_any_more(path: Path) -> None:
    with SQLiteStore(path, durable=False) as store:
        store.append("a", 0, [{"text": "xyzzy-one"}, {"text": "xyzzy-two"}])
        store.fork("a", 1, "b")
        store.fork("b", 1, "c")
        store.append("c", 1, [{"text": "xyzzy-three"}])
        assert store.delete("a")
        kept = path.read_bytes() + Path(f"{path}-wal").read_bytes()
        assert b"xyzzy-one" in kept
        assert b"xyzzy-two" not in kept
        assert store.delete("b")
        assert store.read("c") == [{"text": "xyzzy-one"}, {"text": "xyzzy-three"}]
        assert store.delete("c")
        assert store.sessions() == []
        assert b"xyzzy" not in path.read_bytes() + Path(f"{path}-wal").read_bytes()


def test_what_is_no_plain_json_is_refused(store: SessionStore) -> None:
    for bad in ({"x": object()}, {"x": float("nan")}, {"x": b"bytes"}):
        with pytest.raises(ConfigError, match="plain JSON"):
            store.append("a", 0, [{"fine": 1}, bad])
    assert store.sessions() == []


def test_threads_that_append_at_once_have_one_winner_each_time(store: SessionStore) -> None:
    won: list[tuple[int, int]] = []

    def work(who: int) -> None:
        for at in range(40):
            try:
                store.append("s", at, [{"who": who, "at": at}])
            except SessionConflictError:
                continue
            won.append((who, at))

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    kept = store.read("s")
    assert [event["at"] for event in kept] == list(range(len(kept)))
    assert sorted((event["who"], event["at"]) for event in kept) == sorted(won)


def _append_many(path: str, who: int, barrier: Any, won: Any) -> None:
    barrier.wait()
    with SQLiteStore(path, durable=False, timeout=30) as store:
        for at in range(30):
            try:
                store.append("shared", at, [{"who": who}])
                won.put((who, at))
            except SessionConflictError:
                pass
            store.append(f"own-{who}", at, [{"at": at}])
    won.put(None)


def test_processes_that_open_a_new_file_at_once_scramble_nothing(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, won = context.Barrier(4), context.Queue()
    workers = [
        context.Process(target=_append_many, args=(str(path), who, barrier, won))
        for who in range(4)
    ]
    for each in workers:
        each.start()
    told, ended = [], 0
    while ended < len(workers):
        one = won.get(timeout=60)
        ended += one is None
        told += [] if one is None else [one]
    for each in workers:
        each.join()
        assert each.exitcode == 0
    with SQLiteStore(path) as store:
        assert [event["who"] for event in store.read("shared")] == [
            who for who, _ in sorted(told, key=lambda one: one[1])
        ]
        for who in range(4):
            assert store.read(f"own-{who}") == [{"at": at} for at in range(30)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_store_that_came_along_in_a_fork_opens_the_file_anew(path: Path) -> None:
    code = (
        "import os, sys\n"
        "from kairos.agents.stores import SQLiteStore\n"
        f"store = SQLiteStore({str(path)!r})\n"
        "store.append('s', 0, [{'n': 0}])\n"
        "if (child := os.fork()) == 0:\n"
        "    store.append('s', 1, [{'n': 1}])\n"
        "    os._exit(0)\n"
        "_, status = os.waitpid(child, 0)\n"
        "store.append('s', 2, [{'n': 2}])\n"
        "assert store.read('s') == [{'n': n} for n in range(3)]\n"
        "sys.exit(status)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


WRITER = """
import sys
from kairos.agents.stores import SQLiteStore
store = SQLiteStore(sys.argv[1], durable=False)
at = len(store.read("s"))
while True:
    store.append("s", at, [{"at": at, "fill": "x" * (at % 97)}, {"at": at + 1}])
    at += 2
    sys.stdout.write(f"{at}\\n")
    sys.stdout.flush()
"""


def test_what_was_acknowledged_before_a_kill_is_there_and_nothing_twice(path: Path) -> None:
    chance = random.Random(7)  # noqa: S311 - when to kill
    acknowledged = 0
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(chance.randrange(1, 120)):
            line = writer.stdout.readline()
            assert line.endswith("\n")
            acknowledged = int(line)
        writer.send_signal(signal.SIGKILL)
        for line in writer.stdout.read().splitlines(keepends=True):
            acknowledged = int(line) if line.endswith("\n") else acknowledged
        writer.wait()
        writer.stdout.close()
        with SQLiteStore(path) as store:
            kept = [event["at"] for event in store.read("s")]
        assert kept == list(range(len(kept)))
        assert len(kept) in (acknowledged, acknowledged + 2)  # the last may be kept and not told
        assert len(kept) % 2 == 0
        acknowledged = len(kept)


# --- what a file may be


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such rights")
def test_a_new_file_is_its_owners_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with SQLiteStore(path) as store:
            store.append("s", 0, [{}])
            for each in path.parent.iterdir():
                assert stat.S_IMODE(each.stat().st_mode) == 0o600, each
    finally:
        os.umask(before)


def test_a_file_that_is_no_database_is_told(path: Path) -> None:
    path.write_text("this is a diary, not a database, and it must stay as it is\n" * 50)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is no SQLite database"):
        SQLiteStore(path)
    assert path.read_bytes() == before


def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE accounts (money INTEGER)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        SQLiteStore(path)
    assert path.read_bytes() == before


def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    SQLiteStore(path).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(StoreError, match="another version") as told:
        SQLiteStore(path)
    assert told.value.found == "version 99"


def test_a_damaged_file_is_told(path: Path) -> None:
    with SQLiteStore(path) as store:
        for at in range(200):
            store.append("s", at, [{"text": "x" * 500}])
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with SQLiteStore(path) as store, pytest.raises(StoreError, match="is damaged"):
        store.read("s")


def test_an_event_that_somebody_broke_is_told(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.append("s", 0, [{"n": 1}])
        other = sqlite3.connect(path)
        other.execute("UPDATE event SET data = '{'")
        other.commit()
        other.close()
        with pytest.raises(StoreError, match="is damaged"):
            store.read("s")


def test_a_file_that_is_locked_is_told_and_goes_on_afterwards(path: Path) -> None:
    with SQLiteStore(path, timeout=0.05) as store:
        store.append("s", 0, [{"n": 0}])
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="is locked"):
            store.append("s", 1, [{"n": 1}])
        assert store.read("s") == [{"n": 0}]  # who only reads waits for nobody
        other.execute("ROLLBACK")
        other.close()
        store.append("s", 1, [{"n": 1}])
        assert store.read("s") == [{"n": 0}, {"n": 1}]


FULL = """
import resource, signal, sys
from kairos.agents.stores import SQLiteStore
from kairos.exceptions import StoreError
store = SQLiteStore(sys.argv[1])
store.append("s", 0, [{"n": 0}])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
at = 1
try:
    while True:
        store.append("s", at, [{"n": at, "fill": "x" * 3000}])
        at += 1
except StoreError as error:
    print(error)
assert [e["n"] for e in store.read("s")] == list(range(at)), at
sys.exit(7 if at > 10 else 1)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are set in another way")
def test_where_there_is_no_more_room_what_was_kept_stays(path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 7, ran.stderr
    assert "the store sessions.db cannot" in ran.stdout
    with SQLiteStore(path) as store:
        kept = len(store.read("s"))
        assert kept > 10
        store.append("s", kept, [{"n": kept}])


@pytest.mark.parametrize("path", ["", ":memory:", 3, None])
def test_no_file_is_no_store(path: Any) -> None:
    with pytest.raises(ConfigError, match="no file"):
        SQLiteStore(path)


@pytest.mark.parametrize("timeout", [-1, float("nan"), 1e12, "5", None])
def test_a_timeout_that_is_none_is_refused(path: Path, timeout: Any) -> None:
    with pytest.raises(ConfigError, match="timeout="):
        SQLiteStore(path, timeout=timeout)
    assert not path.exists()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        SQLiteStore(tmp_path / "nowhere" / "s.db")


def test_a_store_that_was_closed_says_so(path: Path) -> None:
    store = SQLiteStore(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.read("s")
    assert str(path) not in repr(store)


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_kept_in_a_file_that_was_taken_away(path: Path, *, replaced: bool) -> None:
    with SQLiteStore(path, durable=False) as store:
        store.append("a", 0, [{"n": 0}])
        path.rename(path.with_name("elsewhere.db"))
        if replaced:
            SQLiteStore(path).close()
        with pytest.raises(StoreError, match="was taken away while it was open"):
            store.append("a", 1, [{"n": 1}])
        with pytest.raises(StoreError, match="was taken away while it was open"):
            store.read("a")


def test_a_file_stays_the_one_that_was_named_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with SQLiteStore("sessions.db", durable=False) as store:
        (tmp_path / "below").mkdir()
        monkeypatch.chdir(tmp_path / "below")
        store.append("a", 0, [{"n": 0}])
    assert not (tmp_path / "below" / "sessions.db").exists()
