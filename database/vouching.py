"""Which recorded events count where value is decided: a trusted source says what was done, and whose it was.

A visitor's events become a customer's by whoever links the anonymous id to a user id. While only a browser has done so,
they count for nothing of value, and they do from the moment a trusted source says the same.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, and_, or_, select

from database.customers import Identity
from database.events import Event
from domain.identities import IdKind

VOUCHED: Final = """(
    events.trusted AND (events.user_id IS NOT NULL OR NOT EXISTS (
        SELECT FROM identities
        WHERE identities.kind = 'anonymous' AND identities.value = events.anonymous_id
          AND identities.linked_trusted IS FALSE
    ))
)"""
"""The same in SQL's own words, of a row of `events`. Relies on pk_identities."""


def is_vouched(event: Any) -> ColumnElement[bool]:  # Event, or an alias of it
    """Whether a recorded event counts for value. Relies on pk_identities."""
    doubted = (
        select(1)
        .where(
            Identity.kind == IdKind.ANONYMOUS,
            Identity.value == event.anonymous_id,
            Identity.linked_trusted.is_(False),
        )
        .correlate_except(Identity)
        .exists()
    )
    return and_(event.trusted, or_(event.user_id.is_not(None), ~doubted))


def doubted_events(customers: Any, names: Any) -> Any:  # a condition on Identity.customer_id; names of events
    """The trusted events of these names that are their customers' by a browser's word alone, as a subquery of ids.

    Relies on ix_identities_customer_id and ix_events_customer_name.
    """
    return (
        select(Event.id)
        .join(Identity, and_(Identity.customer_id == Event.customer_id, Identity.value == Event.anonymous_id))
        .where(
            Identity.customer_id.in_(customers),
            Identity.kind == IdKind.ANONYMOUS,
            Identity.linked_trusted.is_(False),
            Event.name.in_(names),
            Event.user_id.is_(None),
        )
    )
