"""What all documents that people write have in common: strict, frozen, no unknown keys, alternatives told by a key."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator
from pydantic_core import PydanticCustomError


def _is_a_number(value: Any) -> Any:  # any JSON
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("int_type", "Input should be a whole number")
    return value


WholeNumber = Annotated[int, BeforeValidator(_is_a_number)]
"""What JSON Schema calls an integer: 3 and 3.0, but neither "3" nor true."""


class Document(BaseModel):
    """A frozen model that refuses unknown keys, so that a typo is a finding and never a silent default."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False, serialize_by_alias=True
    )


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
