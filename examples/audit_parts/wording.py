"""Other people's text, made fit to be shown: nothing in it may steer a terminal or a reader."""

from __future__ import annotations


def plain(text: str, limit: int = 200) -> str:
    """Return `text` on one line, without control or direction characters, cut to `limit`.

    An escape sequence in a package's metadata would otherwise reach the terminal, and a
    right-to-left override could make one file name read as another.
    """
    shown = "".join(c if c.isprintable() else " " for c in text[: limit * 4])
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return `1 file`, `2 files`, `1,200 files`; `plural` where an s will not do."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def seconds(number: float) -> str:
    """Return a duration as people read it."""
    return f"{number:.1f} s" if number >= 1 else f"{number * 1000:.0f} ms"


def size(number: int) -> str:
    """Return a number of bytes as people read it."""
    amount = float(number)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:  # noqa: PLR2004 - decimal units
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.2f} GB"
