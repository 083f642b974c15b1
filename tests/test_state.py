"""What is stored is bytes: nobody shares a value with anybody, and a limit is a limit."""

from __future__ import annotations

import copy
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kairos import ConfigError, StateError, StateSnapshot, StateStore
from kairos.state import Inputs, Refusal, ScopedStateProxy

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)


def vandalise(value: Any) -> None:
    """Change everything in a value that can be changed."""
    if isinstance(value, list):
        for each in value:
            vandalise(each)
        value.append("changed")
        value.reverse()
    elif isinstance(value, dict):
        for each in value.values():
            vandalise(each)
        value.clear()
        value["changed"] = True


def size(value: Any) -> int:
    """Return the bytes that a value of plain ASCII strings and digits takes as JSON."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


# -- nothing is shared ----------------------------------------------------------------------------


@given(value=VALUES)
def test_whatever_is_done_to_a_value_the_store_keeps_its_own(value: Any) -> None:
    original = copy.deepcopy(value)
    store = StateStore()
    store.set("k", value)
    vandalise(value)
    reads: list[Callable[[], Any]] = [
        lambda: store.get("k"),
        lambda: store.snapshot().data["k"],
        lambda: store.to_dict()["k"],
        lambda: store.scoped(["k"], []).get("k"),
        lambda: store.scoped(None, None).get("k"),
        lambda: Inputs(store.values)["k"],
    ]
    for read in reads:
        assert read() == original
        vandalise(read())
        assert store.get("k") == original


@given(value=VALUES)
def test_what_a_scoped_view_writes_is_its_own(value: Any) -> None:
    original = copy.deepcopy(value)
    store = StateStore()
    view = store.scoped([], ["k"])
    view.set("k", value)
    vandalise(value)
    vandalise(view.get("k"))
    assert store.get("k") == view.get("k") == original


def test_the_values_of_a_store_cannot_be_written_through_its_view() -> None:
    store = StateStore()
    store.set("k", 1)
    with pytest.raises(TypeError):
        store.values["k"] = b"2"  # type: ignore[index]
    store.set("later", 2)
    assert dict(store.values) == {"k": b"1", "later": b"2"}


def test_an_input_is_parsed_once_for_its_reader_and_anew_for_the_next() -> None:
    raw = {"k": b"[1]"}
    first, second = Inputs(raw), Inputs(raw)
    first["k"].append(2)
    assert first["k"] == [1, 2]
    assert second["k"] == [1]


# -- limits ---------------------------------------------------------------------------------------


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\')))
def test_a_size_is_that_of_the_utf_8_json(text: str) -> None:
    store = StateStore()
    store.set("k", text)
    assert store.total_size == len(text.encode()) + 2


@pytest.mark.parametrize("letter", ["a", "é", "€", "😀"])
def test_a_total_may_reach_its_limit_and_not_one_byte_more(letter: str) -> None:
    store = StateStore(max_total_size=100)
    wide = len(letter.encode())
    most = (100 - 2) // wide
    filler = 100 - 2 - most * wide
    store.set("k", letter * most + "x" * filler)
    assert store.total_size == 100
    with pytest.raises(StateError, match="max_total_size") as caught:
        store.set("k", letter * most + "x" * (filler + 1))
    assert caught.value.key == "k"
    with pytest.raises(StateError):
        store.set("another", 1)
    assert store.keys() == ["k"]


@pytest.mark.parametrize("way", ["set", "merge", "put", "commit", "scoped", "restore"])
def test_every_way_in_meets_the_same_limit(way: str) -> None:
    def write(store: StateStore, value: str) -> None:
        match way:
            case "set":
                store.set("k", value)
            case "merge":
                store.merge({"k": value})
            case "put":
                store.put("k", json.dumps(value).encode())
            case "commit":
                store.commit({"k": json.dumps(value).encode()})
            case "scoped":
                store.scoped([], ["k"]).set("k", value)
            case _:
                store.restore(StateSnapshot({"k": value, "held": "x" * 8}))

    store = StateStore(max_total_size=20)
    store.set("held", "x" * 8)
    write(store, "y" * 8)
    assert store.total_size == 20
    with pytest.raises(StateError):
        write(store, "y" * 9)
    assert (store.get("k"), store.total_size) == ("y" * 8, 20)


def test_replacing_and_deleting_a_value_frees_its_bytes() -> None:
    store = StateStore(max_total_size=12)
    store.set("k", "x" * 10)
    store.set("k", "y" * 10)
    store.set("k", 1)
    store.set("other", "x" * 9)
    assert store.total_size == 12
    store.delete("other")
    assert store.total_size == 1
    store.set("k", "z" * 10)


def test_a_large_value_is_stored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    store = StateStore(max_value_size=10)
    with caplog.at_level(logging.WARNING, "kairos.state"):
        store.set("fits", "x" * 8)
        assert not caplog.records
        store.set("large", "x" * 9)
    assert store.get("large") == "x" * 9
    assert "'large' is 11 bytes of JSON, over max_value_size of 10" in caplog.text
    assert store.put("large", b'"' + b"x" * 9 + b'"') is not None
    assert store.put("fits", b"1") is None


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "10", None])
@pytest.mark.parametrize("name", ["max_value_size", "max_total_size"])
def test_a_limit_that_is_none_is_refused(name: str, limit: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        StateStore(**{name: limit})


# -- all or nothing -------------------------------------------------------------------------------


@given(
    before=st.dictionaries(KEYS, VALUES, max_size=4),
    new=st.dictionaries(KEYS, VALUES, max_size=4),
    bad=KEYS,
    position=st.integers(0, 4),
)
def test_a_merge_stores_all_or_nothing(
    before: dict[str, Any], new: dict[str, Any], bad: str, position: int
) -> None:
    store = StateStore()
    store.merge(before)
    held = dict(store.values)
    items = [(key, value) for key, value in new.items() if key != bad]
    items.insert(position, (bad, object()))
    with pytest.raises(StateError) as caught:
        store.merge(dict(items))
    assert caught.value.key == bad
    assert dict(store.values) == held
    store.merge(new)
    assert store.to_dict() == {**before, **new}
    assert store.total_size == sum(map(len, store.values.values()))


def test_a_merge_that_does_not_fit_stores_nothing() -> None:
    store = StateStore(max_total_size=20)
    store.set("a", "x" * 8)
    with pytest.raises(StateError) as caught:
        store.merge({"a": 1, "b": 2, "c": "y" * 30})
    assert caught.value.key == "c"
    assert store.to_dict() == {"a": "x" * 8}


@pytest.mark.parametrize("key", ["", None, 5, ("a",)])
def test_a_key_is_a_name(key: Any) -> None:
    store = StateStore()
    with pytest.raises(StateError, match="non-empty string"):
        store.merge({"fine": 1, key: 2})
    assert store.keys() == []


# -- snapshots ------------------------------------------------------------------------------------


@given(
    values=st.dictionaries(KEYS, VALUES, max_size=5),
    later=st.dictionaries(KEYS, VALUES, max_size=5),
)
def test_a_snapshot_brings_the_state_back(values: dict[str, Any], later: dict[str, Any]) -> None:
    store = StateStore()
    store.merge(values)
    view, total = store.values, store.total_size
    snapshot = store.snapshot("step")
    for key in list(values)[::2]:
        store.delete(key)
    store.merge(later)
    store.restore(snapshot)
    assert store.to_dict() == values
    assert store.total_size == total
    assert dict(view) == dict(store.values)  # whoever held the view sees the same
    assert snapshot.step_id == "step"


def test_a_snapshot_can_be_restored_twice_and_is_not_the_stores() -> None:
    store = StateStore()
    store.set("k", [1])
    snapshot = store.snapshot()
    store.get("k").append(2)
    store.restore(snapshot)
    snapshot.data["k"].append(3)
    assert store.get("k") == [1]


@pytest.mark.parametrize("data", [{"k": object()}, {"": 1}, {"k": "x" * 100}])
def test_a_snapshot_that_does_not_fit_changes_nothing(data: dict[str, Any]) -> None:
    store = StateStore(max_total_size=50)
    store.set("k", "kept")
    with pytest.raises(StateError):
        store.restore(StateSnapshot(data))
    assert (store.to_dict(), store.total_size) == ({"k": "kept"}, 6)


# -- what is no JSON ------------------------------------------------------------------------------


class Opaque:
    def __init__(self) -> None:
        self.parts = [1]


def test_what_is_no_json_is_refused_by_name() -> None:
    with pytest.raises(StateError, match="Opaque") as caught:
        StateStore().set("k", {"deep": [Opaque()]})
    assert caught.value.key == "k"
    assert ".deep[0]" in str(caught.value)


def test_what_is_no_json_may_be_kept_as_a_private_copy() -> None:
    store = StateStore(allow_non_serializable=True)
    given_object = Opaque()
    store.set("k", given_object)
    given_object.parts.append(2)
    store.get("k").parts.append(3)
    assert store.get("k").parts == [1]
    assert (store.has("k"), store.keys(), store.total_size) == (True, ["k"], 0)
    assert store.to_safe_dict() == {"k": "<Opaque>"}
    assert store.raw("k") is None


def test_an_object_and_json_take_each_others_place() -> None:
    store = StateStore(allow_non_serializable=True)
    store.set("k", "x" * 8)
    store.set("k", Opaque())
    assert store.total_size == 0
    store.set("k", 1)
    assert (store.get("k"), store.keys(), store.total_size) == (1, ["k"], 1)
    store.set("k", Opaque())
    store.put("k", b"2")
    assert (store.get("k"), store.keys()) == (2, ["k"])
    store.set("k", Opaque())
    store.delete("k")
    assert not store.has("k")


def test_an_object_survives_a_snapshot() -> None:
    store = StateStore(allow_non_serializable=True)
    store.merge({"k": Opaque(), "n": 1})
    snapshot = store.snapshot()
    store.delete("k")
    store.restore(snapshot)
    assert store.get("k").parts == [1]
    assert sorted(store.keys()) == ["k", "n"]


def test_what_can_neither_be_written_nor_copied_is_refused() -> None:
    store = StateStore(allow_non_serializable=True)
    store.set("n", 1)
    with pytest.raises(StateError, match="neither JSON nor can it be copied") as caught:
        store.merge({"n": 2, "k": threading.Lock()})
    assert caught.value.key == "k"
    assert store.get("n") == 1


# -- reading and its errors -----------------------------------------------------------------------


def test_a_missing_key_is_an_error_or_the_default() -> None:
    store = StateStore()
    store.set("fetch", 1)
    assert store.get("nothing", None) is None
    for ask in (store.get, store.delete):
        with pytest.raises(StateError, match="no value under 'fetsh'") as caught:
            ask("fetsh")
        assert caught.value.key == "fetsh"
        assert "did you mean 'fetch'" in str(caught.value)


def test_none_is_a_value() -> None:
    store = StateStore()
    store.set("k", None)
    assert store.has("k")
    assert store.get("k", "default") is None


def test_a_safe_dict_masks_what_is_sensitive() -> None:
    store = StateStore(sensitive_keys=["*_pin"])
    store.merge({"api_key": "abc", "card_pin": 1234, "nested": {"password": "x"}, "name": "ann"})
    assert store.to_safe_dict() == {
        "api_key": "[REDACTED]",
        "card_pin": "[REDACTED]",
        "nested": {"password": "[REDACTED]"},
        "name": "ann",
    }
    assert store.get("api_key") == "abc"


# -- scoped views ---------------------------------------------------------------------------------


def scope() -> tuple[StateStore, ScopedStateProxy]:
    store = StateStore()
    store.merge({"mine": 1, "secret": 2})
    return store, store.scoped(["mine", "absent"], ["out"])


def test_a_view_shows_what_may_be_read_and_exists() -> None:
    _, view = scope()
    assert view.get("mine") == 1
    assert view.keys == ["mine"]
    assert [view.has(key) for key in ("mine", "absent", "secret", "out")] == [
        True,
        False,
        False,
        False,
    ]
    assert view.get("absent", "default") == "default"
    with pytest.raises(StateError, match="no value under 'absent'"):
        view.get("absent")
    assert not hasattr(view, "delete")


def test_an_unauthorised_read_says_so_in_the_published_words() -> None:
    _, view = scope()
    for default in ((), (None,)):
        with pytest.raises(StateError, match="Unauthorized read") as caught:
            view.get("secret", *default)
        assert caught.value.key == "secret"
    assert view.refusals == [Refusal("read", "secret")] * 2


def test_an_unauthorised_write_says_so_and_changes_nothing() -> None:
    store, view = scope()
    with pytest.raises(StateError, match="Unauthorized write") as caught:
        view.set("mine", 5)
    assert caught.value.key == "mine"
    assert store.get("mine") == 1
    assert view.refusals == [Refusal("write", "mine")]


def test_a_view_reads_back_what_it_wrote() -> None:
    store, view = scope()
    view.set("out", [1])
    assert view.get("out") == [1]
    assert view.has("out")
    assert view.keys == ["mine", "out"]
    assert store.get("out") == [1]


def test_a_refused_write_leaves_no_trace_in_the_view() -> None:
    store = StateStore(max_total_size=10)
    view = store.scoped([], ["out"])
    with pytest.raises(StateError, match="max_total_size"):
        view.set("out", "x" * 20)
    with pytest.raises(StateError, match="not JSON"):
        view.set("out", object())
    assert view.writes == {}
    assert not store.has("out")


def test_an_unrestricted_view_sees_everything() -> None:
    store, _ = scope()
    view = store.scoped(None, None)
    assert view.keys == ["mine", "secret"]
    view.set("anything", 1)
    assert store.get("anything") == 1


def test_inputs_are_a_mapping_of_what_may_be_read() -> None:
    refusals: list[Refusal] = []
    inputs = Inputs({"a": b"1"}, frozenset(["a", "b"]), refusals)
    assert (dict(inputs), len(inputs), "a" in inputs, "b" in inputs) == ({"a": 1}, 1, True, False)
    assert inputs.get("b", 5) == 5
    with pytest.raises(KeyError):
        inputs["b"]
    with pytest.raises(StateError, match="Unauthorized read") as caught:
        inputs["c"]
    assert caught.value.key == "c"
    assert refusals == [Refusal("read", "c")]
    assert repr(Inputs({"a": b'"hidden"'})) == "Inputs(a)"


# -- threads --------------------------------------------------------------------------------------


def all_at_once(count: int, work: Any) -> list[Exception]:
    """Run `work(number)` on many threads that start together; return what they raised."""
    barrier = threading.Barrier(count)
    errors: list[Exception] = []

    def go(number: int) -> None:
        barrier.wait(20)
        try:
            work(number)
        except Exception as error:  # noqa: BLE001 - the test shows whatever it was
            errors.append(error)

    threads = [threading.Thread(target=go, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def test_many_threads_lose_no_write_and_no_byte() -> None:
    store = StateStore()

    def work(number: int) -> None:
        for i in range(150):
            store.set(f"{number}-{i % 7}", "x" * (i % 13))
            store.merge({f"{number}-a": i, f"{number}-b": [i]})
            assert store.get(f"{number}-b") == [i]
            store.put("shared", b"%d" % i)
            store.snapshot()
            if i % 5 == 0:
                store.delete(f"{number}-{i % 7}")

    assert all_at_once(8, work) == []
    assert store.total_size == sum(map(len, store.values.values()))
    assert all(store.get(f"{number}-b") == [149] for number in range(8))


def test_no_number_of_threads_gets_over_the_limit() -> None:
    store = StateStore(max_total_size=1000)
    most: list[int] = []

    def work(number: int) -> None:
        for i in range(60):
            try:
                store.put(f"{number}-{i}", b'"' + b"x" * 48 + b'"')
            except StateError:
                most.append(store.total_size)

    assert all_at_once(6, work) == []
    assert store.total_size == 1000
    assert set(most) == {1000}


def test_a_merge_is_seen_whole() -> None:
    store = StateStore()
    store.merge({"a": 0, "b": 0})
    torn: list[Any] = []

    def work(number: int) -> None:
        for i in range(200):
            if number % 2:
                store.merge({"a": i, "b": i})
            else:
                seen = store.to_dict()
                if seen["a"] != seen["b"]:
                    torn.append(seen)

    assert all_at_once(6, work) == []
    assert torn == []
