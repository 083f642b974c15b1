"""A bare JSON Schema taken at its word: checked first, so that nothing in it is passed over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kairos.contracts.json_documents import Document
from kairos.contracts.json_rules import JsonRules
from kairos.exceptions import ConfigError
from kairos.verify.proof.limits import UnsupportedError

__all__ = ["Checked", "checked_document"]


class Checked(NamedTuple):
    """A document with its references as pointers from the root, and what judges values by it.

    `accepts` raises ValueError where a format that nothing here can parse decides.
    """

    document: Any
    accepts: Callable[[Any], bool]


def checked_document(document: Any) -> Checked:
    """Return a document that may be relied on.

    Raises UnsupportedError, naming what and where, for what is no JSON Schema 2020-12.
    """
    try:
        source = Document(document, any_format=True)
        return Checked(source.flat(), JsonRules(source, to_the_letter=True).accepts)
    except ConfigError as error:
        detail = f": {error.found}" if error.found else ""
        hint = f" ({error.fix})" if error.fix else ""
        raise UnsupportedError(f"{error.message}{detail}{hint}") from None
    except RecursionError:
        raise UnsupportedError("a document that is too deep") from None
