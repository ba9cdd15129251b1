"""Reading a draft: is it of the documented shape, and does it contradict itself?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from domain.document import Document
from domain.fault_texts import fault_text
from domain.findings import Finding
from domain.pointers import pointer_to

_MOST_FAULTS = 100


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft. `document` is None where it is of another shape or contradicts itself, as `findings` then say."""

    written: Mapping[str, Any]  # as its author wrote it
    document: Document | None
    findings: tuple[Finding, ...]


def read_draft(model: type[Document], written: Mapping[str, Any]) -> Draft:
    """Read a draft. Types are taken literally, as the JSON Schema shows them: "3" is no number and 1 is no yes.

    What is wrong with it becomes findings: `invalid` where it is not of the documented shape, `contradiction` for what
    a schema cannot show (one of several members is needed, two exclude each other). Such a draft can be kept and
    mended, but not published.
    """
    try:
        return Draft(written, model.model_validate_json(orjson.dumps(_whole(written)), strict=True), ())
    except ValidationError as error:
        faults = error.errors(include_url=False)
    return Draft(written, None, tuple(_finding(fault, written) for fault in faults[:_MOST_FAULTS]))


def _whole(value: Any) -> Any:  # any JSON
    """JSON has one kind of number: 3.0 is the integer 3, which strict reading would refuse."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {name: _whole(member) for name, member in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def _finding(fault: ErrorDetails, written: Mapping[str, Any]) -> Finding:
    pointer = pointer_to(fault["loc"], written, missing=fault["type"] == "missing", value=fault["input"])
    code = "contradiction" if fault["type"] == "value_error" else "invalid"
    return Finding(code=code, pointer=pointer, message=fault_text(fault))
