"""What every document that people write (conditions, journeys, templates) has in common: strict, frozen, no unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A frozen model that refuses unknown keys, so that a typo is a finding and never a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False, serialize_by_alias=True)
