"""What all documents that people write have in common: strict, frozen, no unknown keys, alternatives told by a key."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

# Behind a validator pydantic writes bounds under its own names, which JSON Schema does not know.
_BOUNDS: Final = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}


def _is_a_number(value: Any) -> Any:  # any JSON
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("int_type", "Input should be a whole number")
    return value


WholeNumber = Annotated[int, BeforeValidator(_is_a_number)]
"""What JSON Schema calls an integer: 3 and 3.0, but neither "3" nor true."""


def _as_object(value: Any) -> Any:  # any JSON
    return {} if value == [] else value


AnyObject = Annotated[
    dict[str, Any],
    BeforeValidator(_as_object, json_schema_input_type=dict[str, Any] | Annotated[list[Any], Field(max_length=0)]),
]
"""Any JSON object. PHP writes an empty one as an empty array."""


def _as_tuple(value: Any) -> Any:  # any JSON
    return tuple(value) if isinstance(value, list) else value


FROM_ARRAY: Final = BeforeValidator(_as_tuple)
"""For tuples. Behind a union that `by_key` tells apart strict reading meets a list, and would refuse it."""


class Document(BaseModel):
    """A frozen model that refuses unknown keys, so that a typo is a finding and never a silent default.

    Validators are built when they are first used: documents nest each other, and built one by one at import they would
    cost every process a third of a second, most of them for nothing.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        allow_inf_nan=False,
        serialize_by_alias=True,
        defer_build=True,
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema, with the bounds of its numbers under the names of JSON Schema."""
        schema = handler(core)
        _name_bounds(handler.resolve_ref_schema(schema).get("properties", {}))
        return schema


def _name_bounds(part: Any) -> None:  # any part of a JSON schema
    if isinstance(part, list):
        for each in part:
            _name_bounds(each)
    elif isinstance(part, dict):
        if part.get("type") == "integer":
            for ours, theirs in _BOUNDS.items():
                if ours in part:
                    part[theirs] = part.pop(ours)
        for each in part.values():
            _name_bounds(each)


def by_key(*keys: str) -> Discriminator:
    """Tell the alternatives of a union apart by the one key that each has and the others lack.

    A key that is a Python keyword stands in the models with an underscore (`not_`, `if_`).
    """

    def tag(value: Any) -> str | None:  # raw document or a model
        for key in keys:
            if key in value if isinstance(value, dict) else hasattr(value, key) or hasattr(value, f"{key}_"):
                return key
        return None

    return Discriminator(
        tag,
        custom_error_type="unknown_form",
        custom_error_message=f"not a known form: it must be an object with one of the keys {', '.join(keys)}",
    )
