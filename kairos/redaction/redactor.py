"""What is secret, and how it is masked.

A value is secret because of the key that holds it (`Redactor.is_sensitive`) or because of
its own shape (`scrub_credentials`).

A key is compared with its patterns word by word: `apiKey`, `API-KEY` and `api key` all read
`api_key`.  The published patterns keep their meaning, with one step before they are tried:
ordinary words that merely contain a secret's name (*author* holds `auth`) and tokens that
are counted, not presented (`max_tokens`), are taken out of the key.  What is left decides,
so `author` is plain and `author_password` is not.  A pattern that somebody adds is taken at
its word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from kairos.redaction.credentials import MASK, scrub

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

__all__ = [
    "DEFAULT_SENSITIVE_PATTERNS",
    "MASK",
    "Redactor",
    "fold",
    "redact_sensitive",
    "redactor_with",
    "scrub_credentials",
]

CYCLE = "[CYCLE]"


def _as_word(word: str) -> tuple[str, ...]:
    # Too short to look for inside other words: "dsn" is in kidsname.
    return word, f"{word}_*", f"*_{word}", f"*_{word}_*"


DEFAULT_SENSITIVE_PATTERNS: tuple[str, ...] = (
    *("*api_key*", "*apikey*", "*secret*", "*password*", "*passwd*", "*token*"),
    *("*credential*", "*auth*", "*bearer*", "*private_key*", "*access_key*"),
    # Added to the published ones.
    *("*pwd*", "*passphrase*", "*passcode*", "*privatekey*", "*accesskey*", "*cookie*"),
    *("*session_id*", "*sessionid*", "*sessid*", "*session_key*", "*csrf*", "*xsrf*"),
    *("*signing_key*", "*encryption_key*", "*ssh_key*", "*master_key*", "*account_key*"),
    *("*subscription_key*", "*connection_string*", "*connectionstring*"),
    *("*db_pass", "*dbpass", "*user_pass", "*userpass", "*smtp_pass"),
    *(_as_word("dsn") + _as_word("sid") + _as_word("jwt") + _as_word("otp") + _as_word("totp")),
)


def _vocabulary(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ORDINARY = _vocabulary("""
    author authors authored authoring authorship authorid authorname coauthor coauthors
    authority authorities authoritative authentic authenticity
    authenticated unauthenticated authorized authorised unauthorized unauthorised
    tokenize tokenizes tokenized tokenizer tokenizers tokenizing tokenization
    tokenise tokenises tokenised tokeniser tokenisers tokenising tokenisation
    detokenize detokenizer pretokenizer
    maxtokens mintokens totaltokens numtokens ntokens inputtokens outputtokens
    prompttokens completiontokens tokencount tokencounts tokensused
    secretary secretaries secretarial secretariat secretion secretions
    passwordless cookiecutter cookiecutters
""")
# A lone token is what a caller presents; these words beside it make it what a model reads.
_COUNTS_BEFORE = _vocabulary("max min total num number n per avg average bos eos pad unk")
# These make it a place in a list: who has it can go on reading where he may read anyway.
_PLACES = _vocabulary("page pagination continuation cursor next")
_COUNTS_AFTER = _vocabulary("count counts counter usage limit limits budget cost price index")
_COUNTS_MANY = (
    _COUNTS_BEFORE
    | _COUNTS_AFTER
    | _vocabulary("""
        input inputs output outputs prompt completion cached cache reasoning thinking context
        used consumed spent saved remaining left allowed available billed estimated sum mean
        median text audio image video window size length generated stop special added
    """)
)
_PRESENTED = _vocabulary("""
    access refresh auth oauth oauth2 api id csrf xsrf session bearer secret client device
    personal user admin bot service login reset signing security
""")

# Letters of other alphabets that are drawn like Latin ones.  Compatibility forms (full
# width, mathematical, circled) need no entry: Unicode's own decomposition covers them.
_DRAWN_ALIKE = (
    # Cyrillic
    ("\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb", "aeopcyxijsh"),
    ("\u0501\u051b\u051d\u043a\u043c\u0442\u043d\u0432\u0433\u043f", "dqwkmthbrn"),
    # Armenian, Greek
    ("\u0578\u057d\u0585\u0570", "nuoh"),
    ("\u03b1\u03bf\u03c1\u03bd\u03b9\u03ba\u03c4\u03c5\u03b5\u03b7\u03c7\u03c9", "aopviktuenxw"),
    # Latin: dotless i, script forms, small capitals
    ("\u0131\u0261\u0251\u1d00\u0299\u1d04\u1d05\u1d07\ua730\u0262\u029c", "igaabcdefgh"),
    ("\u026a\u1d0a\u1d0b\u029f\u1d0d\u0274\u1d0f\u1d18\u0280\ua731\u1d1b", "ijklmnoprst"),
    ("\u1d1c\u1d20\u1d21\u028f\u1d22", "uvwyz"),
    # Marks: colons, quotes, bars, brackets
    ("\u2236\ua789\u02d0\u0589\u2019\u02bc\u2223\u2502\u01c0", "::::''|||"),
    ("\u2039\u203a\u3008\u3009\u276e\u276f", "<><><>"),
)
_LATIN = {
    ord(form(alike)): form(latin)
    for group, letters in _DRAWN_ALIKE
    for alike, latin in zip(group, letters, strict=True)
    for form in (str.upper, str.lower)
    if len(form(alike)) == 1
}


def fold(text: str) -> str:
    """Return `text` as it reads: look-alike letters made Latin, marks and invisibles dropped."""
    if text.isascii():
        return text
    from unicodedata import category, normalize  # noqa: PLC0415 - only such text pays for it

    drawn = normalize("NFKD", text).translate(_LATIN)
    return "".join(char for char in drawn if category(char) not in {"Mn", "Me", "Cf"})


class _Word(NamedTuple):
    chunk: int
    text: str


def _words(key: str) -> list[_Word]:
    return [
        _Word(number, word.casefold())
        for number, chunk in enumerate(re.split(r"[\W_]+", key))
        for word in re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", chunk)
        if word
    ]


def _without_ordinary(words: list[_Word]) -> list[_Word]:
    texts = [word.text for word in words]
    return [
        word
        for at, word in enumerate(words)
        if word.text not in _ORDINARY and not _is_counted(texts, at)
    ]


def _is_counted(texts: list[str], at: int) -> bool:
    if texts[at] not in {"token", "tokens"} or not _PRESENTED.isdisjoint(texts):
        return False
    if texts[at] == "tokens":
        return not _COUNTS_MANY.isdisjoint(texts)
    before = texts[at - 1] if at else ""
    after = texts[at + 1] if at + 1 < len(texts) else ""
    return before in _COUNTS_BEFORE | _PLACES or after in _COUNTS_AFTER


def _spellings(words: list[_Word]) -> tuple[str, str]:
    """Every word apart (`api_key`), and those of one chunk together (`passWord` is password)."""
    chunks: dict[int, str] = {}
    for word in words:
        chunks[word.chunk] = chunks.get(word.chunk, "") + word.text
    return "_".join(word.text for word in words), "_".join(chunks.values())


def _matcher(patterns: Iterable[str]) -> re.Pattern[str] | None:
    expressions = [translate(pattern) for pattern in dict.fromkeys(patterns)]
    return re.compile("|".join(expressions)) if expressions else None


def _literal_spellings(pattern: str) -> set[str]:
    folded = fold(pattern)
    if "[" in folded:  # a hyphen or a capital inside brackets is a range, not a boundary
        return {folded.casefold()}
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", folded)
    return {folded.casefold(), re.sub(r"[-. ]+", "_", apart).casefold()}


@lru_cache(maxsize=256)
def redactor_with(extra: tuple[str, ...] = ()) -> Redactor:
    """Return the redactor of the defaults and of further patterns; the same one each time.

    Compiling the patterns takes a millisecond, and what it decided about keys is worth keeping.
    """
    return Redactor(extra=extra)


class Redactor:
    """Masks what is secret in data, and in the strings inside it.

    `patterns` (globs over key names, in any case) replace the defaults; `extra` are added
    to whichever hold.  One redactor may serve many threads.
    """

    _REMEMBERED = 4096
    _LONGEST_REMEMBERED = 128

    def __init__(self, patterns: Sequence[str] | None = None, extra: Sequence[str] = ()) -> None:
        chosen = DEFAULT_SENSITIVE_PATTERNS if patterns is None else tuple(patterns)
        defaults = frozenset(DEFAULT_SENSITIVE_PATTERNS)
        own = [pattern for pattern in chosen if pattern not in defaults] + list(extra)
        self._default = _matcher(pattern for pattern in chosen if pattern in defaults)
        self._own = _matcher(
            spelling for pattern in own for spelling in sorted(_literal_spellings(pattern))
        )
        self._known: dict[str, bool] = {}

    def is_sensitive(self, key: object) -> bool:
        """Tell whether a value held under `key` is secret; a key that is no text never is."""
        if type(key) is not str:
            return any(self.is_sensitive(part) for part in _texts(key))
        known = self._known.get(key)
        if known is None:
            known = self._judge(key)
            if len(key) <= self._LONGEST_REMEMBERED:
                if len(self._known) >= self._REMEMBERED:
                    self._known.clear()
                self._known[key] = known
        return known

    def _judge(self, key: str) -> bool:
        folded = fold(key)
        words = _words(folded)
        if self._own is not None and any(
            self._own.match(spelling) for spelling in (folded.casefold(), *_spellings(words))
        ):
            return True
        return self._default is not None and any(
            self._default.match(spelling) for spelling in _spellings(_without_ordinary(words))
        )

    def scrub(self, text: str) -> str:
        """Mask the credentials inside `text`: known shapes, and pairs with a sensitive name."""
        return scrub(text, self.is_sensitive)

    def redact(self, data: Any) -> Any:
        """Return a copy of `data` in which every secret reads `[REDACTED]`.

        Mappings, lists, tuples, sets, dataclasses and pydantic models are walked, to any
        depth; the last two become dicts, since their own classes may refuse a mask.  What
        holds itself reads `[CYCLE]` there.  Other objects are kept as they are.  `data` is
        never changed and nothing is raised: what cannot be read is masked.
        """
        finished: dict[int, tuple[Any, Any]] = {}  # holds the originals: no id is used twice
        walks: list[tuple[Any, Generator[Any, Any, Any]]] = []
        node, result = data, None
        while True:
            if id(node) in finished:
                result = finished[id(node)][1]
            else:
                walk, result = self._begin(node)
                if walk is not None:
                    finished[id(node)] = (node, CYCLE)
                    walks.append((node, walk))
            while walks:
                parent, walk = walks[-1]
                try:
                    node = walk.send(result)
                    break
                except StopIteration as stop:
                    result = stop.value
                except Exception:  # noqa: BLE001 - whatever a foreign object does, it is masked
                    result = MASK
                finished[id(parent)] = (parent, result)
                walks.pop()
            else:
                return result

    def _begin(self, node: Any) -> tuple[Generator[Any, Any, Any] | None, Any]:
        try:
            walk = self._walk(node)
            return walk, None if walk is not None else self._leaf(node)
        except Exception:  # noqa: BLE001 - as in `redact`
            return None, MASK

    def _walk(self, node: Any) -> Generator[Any, Any, Any] | None:
        """Return a walk over a container, which yields its children and is sent their copies."""
        if isinstance(node, (str, bytes, bytearray, int, float)) or node is None:
            return None
        if isinstance(node, Mapping):
            return self._walk_pairs(node.items())
        if isinstance(node, tuple) and hasattr(node, "_fields"):
            return self._walk_named(node)
        for kind in (list, tuple, set, frozenset):
            if isinstance(node, kind):
                return self._walk_items(node, kind)
        fields = getattr(type(node), "__dataclass_fields__", None) or getattr(
            type(node), "__pydantic_fields__", None
        )
        if isinstance(fields, dict) and not isinstance(node, type):
            return self._walk_pairs([(name, getattr(node, name)) for name in fields])
        return None

    def _walk_pairs(self, pairs: Iterable[tuple[Any, Any]]) -> Generator[Any, Any, dict[Any, Any]]:
        copy: dict[Any, Any] = {}
        alike = 1
        for key, value in list(pairs):
            shown = tuple(map(self._leaf, key)) if isinstance(key, tuple) else self._leaf(key)
            while shown in copy:  # two keys that were secrets themselves
                alike += 1
                shown = f"{MASK}#{alike}"
            if self.is_sensitive(key):
                copy[shown] = MASK
            else:
                copy[shown] = yield value
        return copy

    def _walk_named(self, node: Any) -> Generator[Any, Any, tuple[Any, ...]]:
        items = []
        for name, item in zip(node._fields, node, strict=True):
            items.append(MASK if self.is_sensitive(name) else (yield item))
        made: tuple[Any, ...] = tuple.__new__(type(node), items)
        return made

    def _walk_items(self, node: Iterable[Any], kind: Any) -> Generator[Any, Any, Any]:
        items = []
        for item in list(node):
            copy = yield item  # a comprehension may not yield
            items.append(copy)
        return kind(items)

    def _leaf(self, value: Any) -> Any:
        if isinstance(value, str):
            text = str.__str__(value)
            shown = self.scrub(text)
            return value if shown == text else shown
        if isinstance(value, (bytes, bytearray)):
            text = value.decode("latin-1")  # one character a byte: what is kept stays the same
            shown = self.scrub(text)
            return value if shown == text else shown.encode("latin-1")
        return value


def _texts(key: object) -> list[str]:
    """Return the texts in a key of another type: a subclass of str, bytes, a tuple of names."""
    if isinstance(key, str):
        return [str.__str__(key)]
    if isinstance(key, bytes):
        return [key.decode("latin-1")]
    if isinstance(key, tuple):
        return [str.__str__(part) for part in key if isinstance(part, str)]
    return []


@lru_cache(maxsize=64)
def _redactor(patterns: tuple[str, ...] | None) -> Redactor:
    return Redactor(patterns)


def redact_sensitive(data: Any, sensitive_patterns: Sequence[str] | None = None) -> Any:
    """Return a copy of `data` with every secret masked, as `Redactor.redact` does.

    `sensitive_patterns` replace `DEFAULT_SENSITIVE_PATTERNS`.
    """
    patterns = None if sensitive_patterns is None else tuple(sensitive_patterns)
    return _redactor(patterns).redact(data)


def scrub_credentials(text: str) -> str:
    """Return `text` with every credential in it masked as `[REDACTED]`.

    Masked are the known shapes of keys and tokens, private key blocks, the user part of a
    URL, `Bearer` and `Basic` headers, and the value of a pair whose name is sensitive.
    """
    return _redactor(None).scrub(text)
