"""Reading a published version, which a newer release may have published: this one may be older, or rolled back to.

A draft with an unknown key is refused when it is saved (domain/drafts.py). Once published, what this release does not
know is passed over and reported, and only a document without a readable meaning is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from domain.document import Document
from domain.errors import Unavailable
from domain.pointers import pointer_to

D = TypeVar("D", bound=Document)

_UNKNOWN = "extra_forbidden"


class UnreadableDocument(Unavailable):
    """A published version that this release cannot read. Nobody's event and nobody's request is at fault."""

    code, title = "document_unreadable", "A published document cannot be read by this release"


def read_published(model: type[D], written: Mapping[str, Any] | str) -> D:
    """A published version as `model`, without the members that this release does not know.

    `written` is a JSON object or its text. Raises UnreadableDocument where a value or a form is unknown.
    """
    try:
        if isinstance(written, str):
            return model.model_validate_json(written, extra="ignore")
        return model.model_validate(written, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = pointer_to(first["loc"], _object(written), missing=first["type"] == "missing", value=first["input"])
        detail = f"This release cannot read {place or 'the document'}: {first['msg']}"
        raise UnreadableDocument(f"{detail}. Update this process, or publish the document again.") from None


def unknown_members(model: type[Document], written: Mapping[str, Any] | str) -> list[str]:
    """JSON pointers to the members that `read_published` passes over."""
    document = _object(written)
    try:
        model.model_validate(document)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        return [
            pointer_to(fault["loc"], document, value=fault["input"]) for fault in faults if fault["type"] == _UNKNOWN
        ]
    return []


def _object(written: Mapping[str, Any] | str) -> Any:  # any JSON
    return orjson.loads(written) if isinstance(written, str) else written
