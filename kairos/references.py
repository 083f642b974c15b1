"""A typed reference, and how adding to a wiring looks to a type checker.

`Add` and `Foreach` are the types of two methods of `kairos.wiring.Wiring`: one overload for each
number of references.  Each stands there for `async def` and again for plain functions, since no
type variable can mean "what is awaited, where it is awaited", and once more where an option changes
what the dependents see.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Protocol,
    TypeAlias,
    TypeVar,
    Unpack,
    overload,
)

import typing_extensions

from kairos.context import StepContext
from kairos.keywords import StepOptions

if TYPE_CHECKING:
    from kairos.enums import ForeachPolicy
    from kairos.skip import Skip
    from kairos.step import Step

__all__ = ["Add", "AddOptions", "Foreach", "Ref"]

Out_co = typing_extensions.TypeVar("Out_co", default=Any, covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")
H = TypeVar("H")
R = TypeVar("R")
T = TypeVar("T")


class Ref(Generic[Out_co]):
    """The output of a step, or an input, before there is any: `name` is its key, in `wiring`.

    `Ref[int]` may stand where `Ref[float | int]` is expected.  Made by `Wiring` only.
    """

    __slots__ = ("name", "wiring")

    def __init__(self, name: str, wiring: object) -> None:
        self.name = name
        self.wiring = wiring

    def or_none(self: Ref[T | Skip]) -> Ref[T | None]:
        """Return this reference, for a type checker: of an action that may return SKIP.

        Its dependents see None then.
        """
        return self  # type: ignore[return-value]  # SKIP is stored as None

    def __repr__(self) -> str:
        return f"Ref({self.name!r})"


class AddOptions(StepOptions, total=False):
    """What `add` and `foreach` take besides references: all that `Step` takes, and these.

    `name` is the step's, where it is not the function's own; `after` are references to what comes
    first without being read.
    """

    name: str
    after: Sequence[Ref[Any]]


# An action of so many values, and perhaps the context after them.
_Co: TypeAlias = Coroutine[Any, Any, R]
_F0: TypeAlias = Callable[[], R] | Callable[[StepContext[Any]], R]
_F1: TypeAlias = Callable[[A], R] | Callable[[A, StepContext[Any]], R]
_F2: TypeAlias = Callable[[A, B], R] | Callable[[A, B, StepContext[Any]], R]
_F3: TypeAlias = Callable[[A, B, C], R] | Callable[[A, B, C, StepContext[Any]], R]
_F4: TypeAlias = Callable[[A, B, C, D], R] | Callable[[A, B, C, D, StepContext[Any]], R]
_F5: TypeAlias = Callable[[A, B, C, D, E], R] | Callable[[A, B, C, D, E, StepContext[Any]], R]
_F6: TypeAlias = Callable[[A, B, C, D, E, F], R] | Callable[[A, B, C, D, E, F, StepContext[Any]], R]
_F7: TypeAlias = (
    Callable[[A, B, C, D, E, F, G], R] | Callable[[A, B, C, D, E, F, G, StepContext[Any]], R]
)
_F8: TypeAlias = (
    Callable[[A, B, C, D, E, F, G, H], R] | Callable[[A, B, C, D, E, F, G, H, StepContext[Any]], R]
)
_Many: TypeAlias = Sequence[E] | AbstractSet[E]


# With a line for each parameter these would be eight hundred.
# fmt: off
class Add(Protocol):
    """The type of `Wiring.add`."""

    @overload
    def __call__(self, action: Step[Any, R], /) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F0[_Co[R]], /, **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F0[_Co[R]], /, *, when: _F0[bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F0[R], /, **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F0[R], /, *, when: _F0[bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F1[A, _Co[R]], a: Ref[A], /,
                 **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F1[A, _Co[R]], a: Ref[A], /, *, when: _F1[A, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F1[A, R], a: Ref[A], /,
                 **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F1[A, R], a: Ref[A], /, *, when: _F1[A, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F2[A, B, _Co[R]], a: Ref[A], b: Ref[B], /,
                 **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F2[A, B, _Co[R]], a: Ref[A], b: Ref[B], /, *, when: _F2[A, B, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F2[A, B, R], a: Ref[A], b: Ref[B], /,
                 **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F2[A, B, R], a: Ref[A], b: Ref[B], /, *, when: _F2[A, B, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F3[A, B, C, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C], /,
                 **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F3[A, B, C, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C], /, *,
                 when: _F3[A, B, C, bool], **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F3[A, B, C, R], a: Ref[A], b: Ref[B], c: Ref[C], /,
                 **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F3[A, B, C, R], a: Ref[A], b: Ref[B], c: Ref[C], /, *,
                 when: _F3[A, B, C, bool], **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F4[A, B, C, D, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C], d: Ref[D],
                 /, **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F4[A, B, C, D, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C], d: Ref[D],
                 /, *, when: _F4[A, B, C, D, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F4[A, B, C, D, R], a: Ref[A], b: Ref[B], c: Ref[C], d: Ref[D], /,
                 **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F4[A, B, C, D, R], a: Ref[A], b: Ref[B], c: Ref[C], d: Ref[D], /, *,
                 when: _F4[A, B, C, D, bool], **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F5[A, B, C, D, E, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], /, **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F5[A, B, C, D, E, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], /, *, when: _F5[A, B, C, D, E, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F5[A, B, C, D, E, R], a: Ref[A], b: Ref[B], c: Ref[C], d: Ref[D],
                 e: Ref[E], /, **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F5[A, B, C, D, E, R], a: Ref[A], b: Ref[B], c: Ref[C], d: Ref[D],
                 e: Ref[E], /, *, when: _F5[A, B, C, D, E, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F6[A, B, C, D, E, F, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], f: Ref[F], /, **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F6[A, B, C, D, E, F, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], f: Ref[F], /, *, when: _F6[A, B, C, D, E, F, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F6[A, B, C, D, E, F, R], a: Ref[A], b: Ref[B], c: Ref[C], d: Ref[D],
                 e: Ref[E], f: Ref[F], /, **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F6[A, B, C, D, E, F, R], a: Ref[A], b: Ref[B], c: Ref[C], d: Ref[D],
                 e: Ref[E], f: Ref[F], /, *, when: _F6[A, B, C, D, E, F, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F7[A, B, C, D, E, F, G, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], f: Ref[F], g: Ref[G], /,
                 **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F7[A, B, C, D, E, F, G, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], f: Ref[F], g: Ref[G], /, *,
                 when: _F7[A, B, C, D, E, F, G, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F7[A, B, C, D, E, F, G, R], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], f: Ref[F], g: Ref[G], /,
                 **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F7[A, B, C, D, E, F, G, R], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], f: Ref[F], g: Ref[G], /, *,
                 when: _F7[A, B, C, D, E, F, G, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F8[A, B, C, D, E, F, G, H, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], f: Ref[F], g: Ref[G], h: Ref[H], /,
                 **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F8[A, B, C, D, E, F, G, H, _Co[R]], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], f: Ref[F], g: Ref[G], h: Ref[H], /, *,
                 when: _F8[A, B, C, D, E, F, G, H, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...
    @overload
    def __call__(self, action: _F8[A, B, C, D, E, F, G, H, R], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], f: Ref[F], g: Ref[G], h: Ref[H], /,
                 **options: Unpack[AddOptions]) -> Ref[R]: ...
    @overload
    def __call__(self, action: _F8[A, B, C, D, E, F, G, H, R], a: Ref[A], b: Ref[B], c: Ref[C],
                 d: Ref[D], e: Ref[E], f: Ref[F], g: Ref[G], h: Ref[H], /, *,
                 when: _F8[A, B, C, D, E, F, G, H, bool],
                 **options: Unpack[AddOptions]) -> Ref[R | None]: ...


class Foreach(Protocol):
    """The type of `Wiring.foreach`."""

    @overload
    def __call__(self, action: _F1[E, _Co[R]], over: Ref[_Many[E]], /, *,
                 foreach_policy: Literal[ForeachPolicy.REQUIRE_ALL] = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R]]: ...
    @overload
    def __call__(self, action: _F1[E, _Co[R]], over: Ref[_Many[E]], /, *,
                 foreach_policy: ForeachPolicy,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None]]: ...
    @overload
    def __call__(self, action: _F1[E, _Co[R]], over: Ref[_Many[E]], /, *, when: _F1[Any, bool],
                 foreach_policy: ForeachPolicy = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None] | None]: ...
    @overload
    def __call__(self, action: _F1[E, R], over: Ref[_Many[E]], /, *,
                 foreach_policy: Literal[ForeachPolicy.REQUIRE_ALL] = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R]]: ...
    @overload
    def __call__(self, action: _F1[E, R], over: Ref[_Many[E]], /, *, foreach_policy: ForeachPolicy,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None]]: ...
    @overload
    def __call__(self, action: _F1[E, R], over: Ref[_Many[E]], /, *, when: _F1[Any, bool],
                 foreach_policy: ForeachPolicy = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None] | None]: ...
    @overload
    def __call__(self, action: _F2[E, A, _Co[R]], over: Ref[_Many[E]], a: Ref[A], /, *,
                 foreach_policy: Literal[ForeachPolicy.REQUIRE_ALL] = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R]]: ...
    @overload
    def __call__(self, action: _F2[E, A, _Co[R]], over: Ref[_Many[E]], a: Ref[A], /, *,
                 foreach_policy: ForeachPolicy,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None]]: ...
    @overload
    def __call__(self, action: _F2[E, A, _Co[R]], over: Ref[_Many[E]], a: Ref[A], /, *,
                 when: _F2[Any, A, bool], foreach_policy: ForeachPolicy = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None] | None]: ...
    @overload
    def __call__(self, action: _F2[E, A, R], over: Ref[_Many[E]], a: Ref[A], /, *,
                 foreach_policy: Literal[ForeachPolicy.REQUIRE_ALL] = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R]]: ...
    @overload
    def __call__(self, action: _F2[E, A, R], over: Ref[_Many[E]], a: Ref[A], /, *,
                 foreach_policy: ForeachPolicy,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None]]: ...
    @overload
    def __call__(self, action: _F2[E, A, R], over: Ref[_Many[E]], a: Ref[A], /, *,
                 when: _F2[Any, A, bool], foreach_policy: ForeachPolicy = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None] | None]: ...
    @overload
    def __call__(self, action: _F3[E, A, B, _Co[R]], over: Ref[_Many[E]], a: Ref[A], b: Ref[B], /,
                 *, foreach_policy: Literal[ForeachPolicy.REQUIRE_ALL] = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R]]: ...
    @overload
    def __call__(self, action: _F3[E, A, B, _Co[R]], over: Ref[_Many[E]], a: Ref[A], b: Ref[B], /,
                 *, foreach_policy: ForeachPolicy,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None]]: ...
    @overload
    def __call__(self, action: _F3[E, A, B, _Co[R]], over: Ref[_Many[E]], a: Ref[A], b: Ref[B], /,
                 *, when: _F3[Any, A, B, bool], foreach_policy: ForeachPolicy = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None] | None]: ...
    @overload
    def __call__(self, action: _F3[E, A, B, R], over: Ref[_Many[E]], a: Ref[A], b: Ref[B], /, *,
                 foreach_policy: Literal[ForeachPolicy.REQUIRE_ALL] = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R]]: ...
    @overload
    def __call__(self, action: _F3[E, A, B, R], over: Ref[_Many[E]], a: Ref[A], b: Ref[B], /, *,
                 foreach_policy: ForeachPolicy,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None]]: ...
    @overload
    def __call__(self, action: _F3[E, A, B, R], over: Ref[_Many[E]], a: Ref[A], b: Ref[B], /, *,
                 when: _F3[Any, A, B, bool], foreach_policy: ForeachPolicy = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None] | None]: ...
    @overload
    def __call__(self, action: _F4[E, A, B, C, _Co[R]], over: Ref[_Many[E]], a: Ref[A], b: Ref[B],
                 c: Ref[C], /, *, foreach_policy: Literal[ForeachPolicy.REQUIRE_ALL] = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R]]: ...
    @overload
    def __call__(self, action: _F4[E, A, B, C, _Co[R]], over: Ref[_Many[E]], a: Ref[A], b: Ref[B],
                 c: Ref[C], /, *, foreach_policy: ForeachPolicy,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None]]: ...
    @overload
    def __call__(self, action: _F4[E, A, B, C, _Co[R]], over: Ref[_Many[E]], a: Ref[A], b: Ref[B],
                 c: Ref[C], /, *, when: _F4[Any, A, B, C, bool],
                 foreach_policy: ForeachPolicy = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None] | None]: ...
    @overload
    def __call__(self, action: _F4[E, A, B, C, R], over: Ref[_Many[E]], a: Ref[A], b: Ref[B],
                 c: Ref[C], /, *, foreach_policy: Literal[ForeachPolicy.REQUIRE_ALL] = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R]]: ...
    @overload
    def __call__(self, action: _F4[E, A, B, C, R], over: Ref[_Many[E]], a: Ref[A], b: Ref[B],
                 c: Ref[C], /, *, foreach_policy: ForeachPolicy,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None]]: ...
    @overload
    def __call__(self, action: _F4[E, A, B, C, R], over: Ref[_Many[E]], a: Ref[A], b: Ref[B],
                 c: Ref[C], /, *, when: _F4[Any, A, B, C, bool],
                 foreach_policy: ForeachPolicy = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None] | None]: ...
    @overload
    def __call__(self, action: _F5[E, A, B, C, D, _Co[R]], over: Ref[_Many[E]], a: Ref[A],
                 b: Ref[B], c: Ref[C], d: Ref[D], /, *,
                 foreach_policy: Literal[ForeachPolicy.REQUIRE_ALL] = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R]]: ...
    @overload
    def __call__(self, action: _F5[E, A, B, C, D, _Co[R]], over: Ref[_Many[E]], a: Ref[A],
                 b: Ref[B], c: Ref[C], d: Ref[D], /, *, foreach_policy: ForeachPolicy,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None]]: ...
    @overload
    def __call__(self, action: _F5[E, A, B, C, D, _Co[R]], over: Ref[_Many[E]], a: Ref[A],
                 b: Ref[B], c: Ref[C], d: Ref[D], /, *, when: _F5[Any, A, B, C, D, bool],
                 foreach_policy: ForeachPolicy = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None] | None]: ...
    @overload
    def __call__(self, action: _F5[E, A, B, C, D, R], over: Ref[_Many[E]], a: Ref[A], b: Ref[B],
                 c: Ref[C], d: Ref[D], /, *,
                 foreach_policy: Literal[ForeachPolicy.REQUIRE_ALL] = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R]]: ...
    @overload
    def __call__(self, action: _F5[E, A, B, C, D, R], over: Ref[_Many[E]], a: Ref[A], b: Ref[B],
                 c: Ref[C], d: Ref[D], /, *, foreach_policy: ForeachPolicy,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None]]: ...
    @overload
    def __call__(self, action: _F5[E, A, B, C, D, R], over: Ref[_Many[E]], a: Ref[A], b: Ref[B],
                 c: Ref[C], d: Ref[D], /, *, when: _F5[Any, A, B, C, D, bool],
                 foreach_policy: ForeachPolicy = ...,
                 **options: Unpack[AddOptions]) -> Ref[list[R | None] | None]: ...
# fmt: on
