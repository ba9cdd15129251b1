"""Reading a draft: is it of the documented shape, and if so, does it contradict itself?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from domain.document import Document
from domain.errors import FieldError, Invalid
from domain.fault_texts import fault_text
from domain.findings import Finding
from domain.pointers import pointer_to

_MOST_FAULTS = 100


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft of the documented shape. `document` is None when it contradicts itself, as `findings` then say."""

    written: Mapping[str, Any]  # as its author wrote it
    document: Document | None
    findings: tuple[Finding, ...]


def read_draft(model: type[Document], written: Mapping[str, Any]) -> Draft:
    """Read a draft; raises Invalid with JSON pointers when it is not of the shape that the JSON Schema shows: types are
    taken literally, "3" is no number and 1 is no yes.

    What a schema cannot show (one of several members is needed, two exclude each other) is a finding: such a draft can
    be kept and mended, but not published.
    """
    try:
        return Draft(written, model.model_validate_json(orjson.dumps(_whole(written)), strict=True), ())
    except ValidationError as error:
        faults = error.errors(include_url=False)
    unreadable = [fault for fault in faults if fault["type"] != "value_error"]
    if unreadable:
        raise _invalid([_field_error(fault, written) for fault in unreadable[:_MOST_FAULTS]])
    return Draft(written, None, tuple(_finding(fault, written) for fault in faults[:_MOST_FAULTS]))


def _whole(value: Any) -> Any:  # any JSON
    """JSON has one kind of number: 3.0 is the integer 3, which strict reading would refuse."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {name: _whole(member) for name, member in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def _field_error(fault: ErrorDetails, written: Mapping[str, Any]) -> FieldError:
    pointer = pointer_to(fault["loc"], written, missing=fault["type"] == "missing", value=fault["input"])
    return FieldError(pointer, fault_text(fault), fault["type"])


def _finding(fault: ErrorDetails, written: Mapping[str, Any]) -> Finding:
    pointer = pointer_to(fault["loc"], written, value=fault["input"])
    return Finding(code="contradiction", pointer=pointer, message=fault_text(fault))


def _invalid(errors: list[FieldError]) -> Invalid:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Invalid(f"{errors[0].pointer or 'the document'}: {errors[0].detail}{more}", errors=tuple(errors))
