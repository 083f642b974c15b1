"""Text from elsewhere, on its way into a prompt.

Detection is a net, not a wall: it catches what imitates the controls of a conversation, so
that it no longer works as one and somebody hears of it.  What the text may *do* is decided
by scope and contracts, never here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from kairos.redaction.redactor import fold

__all__ = ["SanitizedText", "gives_orders", "sanitize_untrusted_text"]

_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# Characters that a reader does not see and a model does: controls, joiners, direction marks,
# variation selectors, fillers, tags, lone surrogates, private use.
_UNSEEN = (
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f"
    r"\ufeff\uffa0\ufff0-\uffff\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)

_ROLES = r"(?:system|assistant|user|human|developer|ai|model|tool|function)"
_ROLE_MARKER = rf"""(?x)
    ^ [ \t>*#\-"'`(\[]{{0,8}} {_ROLES} [ \t*"'`)\]]{{0,4}} :
  | ^ [ \t]{{0,8}} \#{{1,6}} [ \t]{{0,4}} (?:{_ROLES}|instructions?|response) \b
  | ["']role["'] [ \t]{{0,4}} : [ \t]{{0,4}} ["'] {_ROLES} ["']
  | < /? (?: system | assistant | user | human | developer | instructions?
           | system[-_ ]?(?:prompt|message|reminder) ) \b [^<>\n]{{0,100}} >
"""
_TEMPLATE_MARK = r"""(?x)
    < \| [^|<>\n]{1,60} \| >
  | \[ /? (?: inst | system_prompt | available_tools | tool_results ) \]
  | << /? sys >>
  | < /? s >
  | < /? (?: bos | eos | pad | unk | mask | start_of_turn | end_of_turn | endoftext ) >
  | \{\{ [^{}]{0,200} \}\}
  | \{% [^{}%]{0,200} %\}
"""
_TOOL_CALL = r"""(?x)
    < /? (?: antml: )? (?: tool_?calls? | tool_?use | tool_?results? | tool_?response | tools?
           | function_?calls? | function_?results? | invoke | parameter | function=[\w.-]{1,60} )
      \b [^<>\n]{0,200} >
  | \[ tool_calls \]
  | ["'](?:tool_calls?|tool_use|function_call|tool_call_id)["'] [ \t]{0,4} :
  | ["']type["'] [ \t]{0,4} : [ \t]{0,4} ["'](?:tool_use|tool_call|function|function_call)["']
  | ["']arguments["'] [ \t]{0,4} : [ \t]{0,4} ["'{]
  | ^ [ \t]{0,8} action [ \t]? input [ \t]{0,4} :
  | ^ [ \t]{0,8} ``` [ \t]{0,4} tool_(?:code|call|outputs?)
"""
_DROP = (
    r"(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|overrid(?:e|ing)|bypass(?:ing)?"
    r"|neglect|(?:do|don'?t|does|stop)\W+(?:not\W+)?(?:follow|obey|listen)(?:ing)?)"
)
_EARLIER = r"(?:previous|prior|above|earlier|preceding|foregoing|existing|original|initial)"
_RULES = (
    r"(?:instructions?|prompts?|rules?|directions?|directives?|guidelines?|commands?|orders"
    r"|polic(?:y|ies)|constraints?|safeguards?|programming|training|messages?)"
)
_OVERRIDE = rf"""(?x)
    \b {_DROP} \W{{1,5}} (?: [\w']{{1,20}} \W{{1,5}} ){{0,4}}? {_EARLIER} \W{{1,5}}
      (?: [\w']{{1,20}} \W{{1,5}} ){{0,2}}? {_RULES} \b
  | \b {_DROP} \W{{1,5}} (?: (?:all|any|every|of|the|your|these|those|my|its|system|safety)
      \W{{1,5}} ){{1,4}} {_RULES} \b
  | \b (?:ignore|disregard|forget) \W{{1,5}} (?:all|everything|anything|what(?:ever)?) \W{{1,5}}
      (?: [\w']{{1,20}} \W{{1,5}} ){{0,3}}? (?:above|before|previously|earlier|said|told|prior) \b
  | \b (?:reveal|print|show|repeat|output|dump|leak|display|expose|exfiltrate) \W{{1,5}}
      (?: (?:me|us|all|of|the|your|its|full|entire|hidden|initial|original) \W{{1,5}} ){{0,4}}
      (?:system\W{{1,5}}(?:prompt|message|instructions?)|api\W{{0,5}}keys?|secrets|credentials) \b
  | \b you \W{{1,5}} are \W{{1,5}} now \W{{1,5}} (?:an?|in|the|my|no|dan|free|un\w{{1,20}}) \b
  | \b from \W{{1,5}} now \W{{1,5}} on \W{{1,5}} you \b
  | \b pretend \W{{1,5}} (?:to\W{{1,5}}be|you\W{{1,5}}are|that\W{{1,5}}you) \b
  | \b (?:new|updated|real|actual) \W{{1,5}} (?:system\W{{1,5}})? (?:instructions?|prompt)
      [ \t]{{0,3}} :
  | \b (?:do \W{{1,5}} anything \W{{1,5}} now | developer \W{{1,5}} mode | jailbreak(?:ed)?) \b
"""
# The same order with nothing between its words, as a name would carry it.
_RUN_TOGETHER = (
    r"(?:ignore|disregard|forget|override|bypass)"
    r"(?:[a-z]{0,12}(?:previous|prior|above|earlier|instruction)"
    r"|(?:all|any|every|the|your|these|safety)[a-z]{0,16}(?:prompt|rule|guideline|polic))"
    r"|(?:reveal|leak|dump|exfiltrate)[a-z]{0,16}(?:prompt|secret|credential|password|apikey)"
    r"|youarenow|fromnowon|pretend(?:tobe|youare)|jailbreak|doanythingnow"
)

_BRACKETS = dict(zip("<>[]{}", "()()()", strict=True))
_CONTROL = _BRACKETS | {":": "-", "#": "-", "`": "'"}
_JOINED = dict.fromkeys(" \t\n", "_")
# Flag, what to look for, what to put in place of which characters of it.
_NETS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("role_marker", _ROLE_MARKER, _CONTROL),
    ("template_token", _TEMPLATE_MARK, _CONTROL),
    ("imperative_override", _OVERRIDE, _JOINED),
    ("tool_call_syntax", _TOOL_CALL, _CONTROL),
)


@dataclass(frozen=True, slots=True)
class SanitizedText:
    """Foreign text made safe to quote: the text, what was found in it, whether it was cut."""

    text: str
    flags: tuple[str, ...] = ()
    truncated: bool = False


@cache
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.MULTILINE)


def sanitize_untrusted_text(text: str, *, max_len: int = 2000) -> SanitizedText:
    """Return `text` cut to `max_len` characters, defused, with a flag for each trick found.

    Characters that cannot be seen are dropped.  The rest is searched as it reads: in any
    case, with letters of other alphabets taken for the Latin ones they look like.  The text
    keeps its own letters and its length; only what was found is changed, one character for
    another.  Brackets of a tag or a template token become round, the colon or hash of a role
    marker a hyphen, and the blanks inside an order underscores, so that it reads as a name.
    Flags: `role_marker`, `template_token`, `imperative_override`, `tool_call_syntax`.
    """
    visible = _compiled(_UNSEEN).sub("", _LINE_ENDS.sub("\n", text))
    limit = max(0, max_len)
    kept = list(visible[:limit])
    folded, places = _folded(kept)
    flags = []
    for flag, expression, exchange in _NETS:
        for found in _compiled(expression).finditer(folded):
            if flag not in flags:
                flags.append(flag)
            for at in range(*found.span()):
                kept[places[at]] = exchange.get(folded[at], kept[places[at]])
    return SanitizedText("".join(kept), tuple(flags), len(visible) > limit)


def _folded(chars: list[str]) -> tuple[str, list[int]]:
    """Return the text as it reads, in lower case, and where each character of it came from."""
    read: list[str] = []
    places: list[int] = []
    for place, char in enumerate(chars):
        for drawn in fold(char).casefold():
            read.append(drawn)
            places.append(place)
    return "".join(read), places


def gives_orders(name: str) -> bool:
    """Tell whether an identifier or a path is an order to a model in disguise."""
    letters = re.sub(r"[^a-z]+", "", fold(name).casefold())
    return _compiled(_RUN_TOGETHER).search(letters) is not None
