"""Extensions: what other distributions offer by entry points, found without running any of it.

Installing a package must change nothing: an extension's code runs when somebody names it, or has
put it on an allow list, and not before.  kairos's own adapters, guards and stores come through the
same door; their names stand for them whatever else is installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.exceptions import ConfigError, did_you_mean
from kairos.redaction.visible import visible
from kairos.security import sanitize_exception

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.metadata import Distribution

__all__ = ["GROUPS", "Extension", "extensions", "load_extension", "load_extensions"]

_OURS = "kairos-ai"
_VALUE = re.compile(r"\s*(?P<module>\w+(?:\.\w+)*)\s*(?::\s*(?P<path>\w+(?:\.\w+)*))?\s*(?:\[.*)?")
_SHOWN = 20


class Extension(NamedTuple):
    """Something that is offered: nothing of it has run.

    `value` says where it is, as `module:name`.  `allowed` is whether the allow list that was given
    names it; without a list nothing is.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str
    allowed: bool = False

    @property
    def full_name(self) -> str:
        """The name that means this one, whoever else offers it: `distribution/name`."""
        return f"{self.distribution}/{self.name}"

    @property
    def first_party(self) -> bool:
        """Whether it is kairos's own."""
        return self.distribution == _OURS and self.value.startswith("kairos.")


def extensions(
    group: str, *, allowlist: Iterable[str] | None = None, allow_all: bool = False
) -> tuple[Extension, ...]:
    """Return what is offered in a group, sorted by name; kairos's own come first among equals.

    `allowlist` holds names, full names (`distribution/name`) or globs of either, and decides with
    `allow_all` what is marked as allowed.  Nothing is imported.  Raises ConfigError for a group
    that is none.
    """
    if group not in GROUPS:
        raise ConfigError(
            f"'{visible(str(group))}' is no group of extensions", expected=", ".join(GROUPS)
        )
    globs = _globs(allowlist)
    found = [
        one._replace(allowed=allow_all or any(_matches(one, glob) for glob in globs))
        for one in _offered(group)
    ]
    return tuple(sorted(found, key=lambda one: (one.name, not one.first_party, one.distribution)))


def load_extension(group: str, name: str) -> Any:
    """Import the one extension that is named, and return it.

    A name that kairos offers means kairos's own, and a full name `distribution/name` any other of
    that name.  Raises ConfigError where nobody offers it, where several distributions do, where it
    cannot be imported, and where it is not what its group holds.
    """
    offered = extensions(group)
    named = [one for one in offered if name in (one.name, one.full_name) or _is_full(one, name)]
    ours = [one for one in named if one.first_party]
    if ours:
        return _loaded(ours[0])
    if len(named) == 1:
        return _loaded(named[0])
    kind = group.removeprefix("kairos.").removesuffix("s")
    if not named:
        names = list(dict.fromkeys(one.name for one in offered))
        raise ConfigError(
            f"there is no {kind} '{visible(str(name)[:100])}'",
            expected=_listed(names) if names else f"an installed package that offers a {kind}",
            fix=did_you_mean(str(name), names),
        )
    raise _ambiguous(kind, named)


def load_extensions(
    group: str, *, allowlist: Iterable[str] | None = None, allow_all: bool = False
) -> dict[str, Any]:
    """Import the extensions of a group that are allowed, and return them by name.

    Without a list this imports nothing.  Where kairos's own and another are allowed under one name
    the other is found under its full name.  Raises as `load_extension`.
    """
    allowed = [
        one for one in extensions(group, allowlist=allowlist, allow_all=allow_all) if one.allowed
    ]
    chosen: dict[str, Extension] = {}
    for one in allowed:
        standing = chosen.setdefault(one.name, one)
        if standing is one:
            continue
        if not standing.first_party:
            raise _ambiguous(group.removeprefix("kairos.").removesuffix("s"), [standing, one])
        chosen[one.full_name] = one
    return {name: _loaded(one) for name, one in chosen.items()}


def _ambiguous(kind: str, named: Sequence[Extension]) -> ConfigError:
    return ConfigError(
        f"several distributions offer the {kind} '{visible(named[0].name)}'",
        found=_listed([one.full_name for one in named]),
        fix=f"say which one: {visible(named[0].full_name)}",
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(visible(name) for name in names[:_SHOWN]) + more


def _globs(allowlist: Iterable[str] | None) -> tuple[str, ...]:
    globs = () if allowlist is None else tuple(allowlist)
    if isinstance(allowlist, str) or not all(isinstance(each, str) for each in globs):
        raise ConfigError(
            "an allow list is a list of names or globs", fix="write allowlist=['acme/*']"
        )
    return globs


def _matches(one: Extension, glob: str) -> bool:
    return fnmatchcase(one.name, glob) or fnmatchcase(one.full_name, glob)


def _is_full(one: Extension, name: str) -> bool:
    distribution, slash, rest = str(name).partition("/")
    return bool(slash) and _normal(distribution) == one.distribution and rest == one.name


# --- what is offered


def _offered(group: str) -> Iterator[Extension]:
    from importlib import metadata  # noqa: PLC0415 - 30 ms, for those who look for extensions

    seen: set[str] = set()
    for distribution in metadata.distributions():
        # A folder that is broken, or not ours to read, must not hide what all others offer.
        try:
            if not any(each.group == group for each in distribution.entry_points):
                continue
            name = _normal(_field(distribution, "Name"))
            if name in seen:
                continue
            seen.add(name)
            # The same distribution may lie on the path twice; what is imported is the first.
            first = metadata.distribution(name)
            offered = list(_of(first, group, name))
        except Exception:  # noqa: BLE001, S112 - metadata fails in as many ways as files do
            continue
        yield from offered


def _of(distribution: Distribution, group: str, name: str) -> Iterator[Extension]:
    version = _field(distribution, "Version")
    names: set[str] = set()
    for each in distribution.entry_points:
        if each.group == group and each.name not in names:
            names.add(each.name)
            yield Extension(group, each.name, each.value, name, version)


def _field(distribution: Distribution, name: str) -> str:
    metadata = distribution.metadata
    return str(metadata[name]) if name in metadata else ""


def _normal(name: str) -> str:
    """Return a distribution's name as all its spellings are compared: `Acme_Tools` as others."""
    return re.sub(r"[-_.]+", "-", name).lower()


# --- loading one


def _loaded(one: Extension) -> Any:
    from importlib import import_module  # noqa: PLC0415 - beside what it is for

    shown = f"'{visible(one.name)}' of {visible(one.distribution)} {visible(one.version)}".rstrip()
    parts = _VALUE.fullmatch(one.value)
    if parts is None:
        raise ConfigError(
            f"the extension {shown} says wrongly where it is",
            expected="module:name",
            found=visible(one.value[:100]),
        )
    try:
        value: Any = import_module(parts["module"])
        for attribute in (parts["path"] or "").split(".") if parts["path"] else ():
            value = getattr(value, attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - it is foreign code, and may even try to leave
        raise _broken(shown, one, error) from None
    contract = GROUPS[one.group]
    reason = contract.fault(value)
    if reason is not None:
        raise ConfigError(
            f"the extension {shown} is no {one.group.removeprefix('kairos.').removesuffix('s')}",
            expected=contract.expected,
            found=f"{visible(one.value[:100])}, {reason}",
            fix=f"tell the authors of {visible(one.distribution)}",
        )
    return value


def _broken(shown: str, one: Extension, error: BaseException) -> ConfigError:
    kind, said = sanitize_exception(error)
    if isinstance(error, SystemExit):
        found = "it ended the program when it was imported"
    else:
        found = f"{kind}: {visible(said)}" if said else kind
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    return ConfigError(
        f"the extension {shown} cannot be loaded from {visible(one.value[:100])}",
        found=found,
        fix=f"install what provides '{visible(missing)}', or another version of "
        f"{visible(one.distribution)}"
        if isinstance(missing, str)
        else f"install another version of {visible(one.distribution)}",
    )


# --- what each group holds


class _Held(NamedTuple):
    """What an extension of a group must be: in words, and a check that returns what is wrong."""

    expected: str
    fault: Callable[[Any], str | None]


def _takes(value: Any, *args: Any, **kwargs: Any) -> bool:
    import inspect  # noqa: PLC0415 - only loading pays for it

    try:
        inspect.signature(value).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:  # of some builtins nothing is known
        return True
    return True


def _no_adapter(value: Any) -> str | None:
    if not callable(value):
        return f"which is no callable but {_kind(value)}"
    if isinstance(value, type):
        missing = [name for name in ("stream", "stream_async") if not hasattr(value, name)]
        if missing:
            return f"a class without {' and '.join(missing)}"
    return None if _takes(value, model="m") else "which does not take model="


def _no_tool(value: Any) -> str | None:
    if isinstance(value, list | tuple):
        if not value:
            return "an empty list"
        return next((f"a list with {why}" for each in value if (why := _no_tool(each))), None)
    if isinstance(value, type):
        return "which is a class"
    is_workflow = callable(getattr(value, "run", None)) and hasattr(value, "input_contract")
    return None if callable(value) or is_workflow else f"which is {_kind(value)}"


def _no_guard(value: Any) -> str | None:
    if not callable(value) or isinstance(value, type):
        return f"which is no function but {_kind(value)}"
    return None if _takes(value, object()) else "which does not take one request"


def _no_store(value: Any) -> str | None:
    if not callable(value):
        return f"which is no callable but {_kind(value)}"
    if _takes(value) or _takes(value, "place"):
        return None
    return "which takes neither nothing nor one place"


def _kind(value: Any) -> str:
    return "a class" if isinstance(value, type) else f"a value of class {type(value).__name__}"


GROUPS: dict[str, _Held] = {
    "kairos.adapters": _Held(
        "a class or function that is called with model='...' and gives a model", _no_adapter
    ),
    "kairos.tools": _Held("a typed function, a Tool, a workflow, or a list of these", _no_tool),
    "kairos.guards": _Held("a function of a ToolRequest", _no_guard),
    "kairos.stores": _Held(
        "a class or function that is called with a place, or nothing, and gives a store", _no_store
    ),
}
"""The groups, and what each holds."""
