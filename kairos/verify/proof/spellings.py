"""What can be said of the texts of a format as patterns: all of them, or some at least.

Only pydantic's parser knows which texts have a format.  Where a pattern is known to match them
all, a producer's format may satisfy a consumer's pattern or length; where one matches nothing
else, a producer's pattern may satisfy a consumer's format.
"""

from __future__ import annotations

__all__ = ["lies_among", "surely_has"]

_HEX = "[0-9a-fA-F]"
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"^({_BYTE}\.){{3}}{_BYTE}$"
_DAY = (
    "[12][0-9]{3}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
    "|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
)
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
_ZONE = "(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])?"
_SOMETHING = "(?s)."

# a pattern that every text of the format matches
_ALL: dict[str, str] = {
    **dict.fromkeys(("date", "date-time", "time", "duration", "json-string"), _SOMETHING),
    **dict.fromkeys(
        ("uuid", *(f"uuid{n}" for n in (1, 3, 4, 5, 6, 7, 8))),
        r"^(?i:urn:uuid:)?\{?[0-9a-fA-F-]{32,36}\}?$",
    ),
    "ipv4": _IPV4,
    "ipv6": "^[0-9a-fA-F:.]{2,45}(%[^%]+)?$",
    "uri": "(?s)..*:|:.",
    "email": "(?s).@.",
}
# a pattern that no other text matches
_SOME: dict[str, str] = {
    "date": f"^{_DAY}$",
    "date-time": f"^{_DAY}T{_CLOCK}{_ZONE}$",
    "time": f"^{_CLOCK}$",
    "uuid": f"^{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}$",
    "ipv4": _IPV4,
    "ipv6": f"^({_HEX}{{1,4}}:){{7}}{_HEX}{{1,4}}$",
    "uri": r"^(https?|ftp)://[a-z]{1,20}(\.[a-z]{1,20}){0,3}(:[1-9][0-9]{0,3})?(/[a-z0-9_./-]*)?$",
}


def lies_among(name: str) -> str | None:
    """Return a pattern that every text of the format matches; None where none is known."""
    return _ALL.get(name.partition(" ")[0])  # bounds, which follow the name, leave fewer


def surely_has(name: str) -> str | None:
    """Return a pattern whose every match has the format; None where none is known."""
    return _SOME.get(name)
