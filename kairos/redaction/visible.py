"""Foreign text where a person decides by what it shows: nothing in it is unseen, or moves.

The escapes of a log (`kairos.logs.sinks.printable`) keep a line whole.  Here more is at stake:
whoever approves a call must see all of what is approved, so blanks that are none, fillers and
marks piled on one letter are written out too.
"""

from __future__ import annotations

from kairos.redaction.redactor import scrub_credentials

__all__ = ["visible"]

# Drawn as nothing or as a blank, though Unicode calls them letters, marks or symbols.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
_MARKS = 2  # on one letter; some scripts need as many, and more of them cover the line above


def visible(text: str, *, secrets: bool = False) -> str:
    """Return text on one line, all that is not plainly seen in it as an escape.

    What looks like a credential is masked unless `secrets` says that it was before.
    """
    if not secrets:
        text = scrub_credentials(text)
    if text.isascii() and text.isprintable():
        return text
    from unicodedata import category  # noqa: PLC0415 - only such text pays for it

    shown: list[str] = []
    marks = _MARKS  # of a mark at the start nobody sees what it stands on
    for char in text:
        is_mark = category(char) in {"Mn", "Me"}
        marks = marks + 1 if is_mark else 0
        unseen = not char.isprintable() or char in _BLANK or marks > _MARKS
        shown.append(char.encode("unicode_escape").decode("ascii") if unseen else char)
    return "".join(shown)
