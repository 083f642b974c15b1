"""What SARIF 2.1.0 demands of the objects that kairos writes, after the schema of OASIS.

Every property that is allowed there and used here, its type, and which are required; what is not
named is refused, as there.
"""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string"}
_URI = {"type": "string", "pattern": r"^[!#-;=?-\[\]_a-z~]+$"}  # the characters of RFC 3986
_BAG = {"type": "object", "properties": {"tags": {"type": "array", "items": _TEXT}}}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}
_ID = {"type": "integer", "minimum": -1}


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {**properties, "properties": _BAG},
    }


def _list(items: dict[str, Any], *, unique: bool = True, least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": items, "uniqueItems": unique, "minItems": least}


_MULTIFORMAT = _object("text", text=_TEXT, markdown=_TEXT)
_MESSAGE = {
    **_object(text=_TEXT, markdown=_TEXT, id=_TEXT, arguments=_list(_TEXT, unique=False)),
    "anyOf": [{"required": ["text"]}, {"required": ["id"]}],
}
_ARTIFACT = _object(uri=_URI, uriBaseId=_TEXT, index=_ID, description=_MESSAGE)
_POSITIVE = {"type": "integer", "minimum": 1}
_REGION = _object(
    startLine=_POSITIVE, startColumn=_POSITIVE, endLine=_POSITIVE, endColumn=_POSITIVE
)
_LOCATION = _object(
    id=_ID,
    physicalLocation={
        **_object(artifactLocation=_ARTIFACT, region=_REGION, contextRegion=_REGION),
        "anyOf": [{"required": ["address"]}, {"required": ["artifactLocation"]}],
    },
    logicalLocations=_list(
        _object(name=_TEXT, index=_ID, fullyQualifiedName=_TEXT, decoratedName=_TEXT, kind=_TEXT)
    ),
    message=_MESSAGE,
)
_RULE = _object(
    "id",
    id=_TEXT,
    name=_TEXT,
    shortDescription=_MULTIFORMAT,
    fullDescription=_MULTIFORMAT,
    help=_MULTIFORMAT,
    helpUri=_URI,
    defaultConfiguration=_object(
        enabled={"type": "boolean"}, level=_LEVEL, rank={"type": "number"}
    ),
)
_DRIVER = _object(
    "name",
    name=_TEXT,
    version=_TEXT,
    semanticVersion=_TEXT,
    informationUri=_URI,
    rules=_list(_RULE),
)
_SUPPRESSION = _object(
    "kind",
    kind={"enum": ["inSource", "external"]},
    status={"enum": ["accepted", "underReview", "rejected"]},
    justification=_TEXT,
    location=_LOCATION,
)
_RESULT = _object(
    "message",
    ruleId=_TEXT,
    ruleIndex=_ID,
    kind={"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
    level=_LEVEL,
    message=_MESSAGE,
    locations=_list(_LOCATION, unique=False),
    relatedLocations=_list(_LOCATION),
    partialFingerprints={"type": "object", "additionalProperties": _TEXT},
    suppressions=_list(_SUPPRESSION),
)
_NOTIFICATION = _object(
    "message",
    message=_MESSAGE,
    level=_LEVEL,
    locations=_list(_LOCATION),
)
_INVOCATION = _object(
    "executionSuccessful",
    executionSuccessful={"type": "boolean"},
    toolExecutionNotifications=_list(_NOTIFICATION, unique=False),
    exitCode={"type": "integer"},
)
_RUN = _object(
    "tool",
    tool=_object("driver", driver=_DRIVER),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    originalUriBaseIds={"type": "object", "additionalProperties": _ARTIFACT},
    invocations=_list(_INVOCATION, unique=False),
    results=_list(_RESULT, unique=False),
)
LOG: dict[str, Any] = _object(
    "version",
    "runs",
    **{"$schema": _URI},
    version={"const": "2.1.0"},
    runs=_list(_RUN, unique=False),
)
