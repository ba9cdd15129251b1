"""What ops filter by in Temporal: the attributes that are registered are those that runs set, name by name and type."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from temporalio.common import SearchAttributeIndexedValueType, SearchAttributeKey

from database.outbox import start_command
from domain.runs import JourneyInput
from perennial.search_attributes import SEARCH_ATTRIBUTES
from triggers.commands import _attributes
from workflows import journey

TYPES = {SearchAttributeIndexedValueType.KEYWORD: "Keyword", SearchAttributeIndexedValueType.INT: "Int"}


def kinds(*keys: SearchAttributeKey[Any]) -> dict[str, str]:
    """Names and types, as the registry writes them."""
    return {key.name: TYPES[key.indexed_value_type] for key in keys}


def test_runs_set_exactly_the_attributes_that_are_registered() -> None:
    started = start_command(
        JourneyInput(run_id=uuid4(), customer_id=uuid4(), journey="cart", version=3), "j/1", title="", details=""
    )
    at_start = kinds(*(pair.key for pair in _attributes(started.payload["attributes"])))
    on_the_way = kinds(*(value for value in vars(journey).values() if isinstance(value, SearchAttributeKey)))

    assert on_the_way.items() <= SEARCH_ATTRIBUTES.items()
    assert at_start | on_the_way == SEARCH_ATTRIBUTES
