"""What the lists of a customer show."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from api.money import MoneyAnswer
from database.events import Event
from database.history import Happening
from database.orders import Order


class EventAnswer(BaseModel):
    """One event. `event` is its name; identify, page and other calls have a name of their kind ("Page Viewed")."""

    id: UUID
    message_id: str
    source: str
    type: str
    event: str
    user_id: str | None
    anonymous_id: str | None
    timestamp: datetime
    received_at: datetime
    properties: dict[str, Any]
    traits: dict[str, Any]
    context: dict[str, Any]
    ignored_untrusted: list[str] = Field(
        default=[],
        description="What of this event was not taken: traits that a browser could not change since a trusted source "
        "had set them; of an event of consent `properties.email` or `phone` (a browser's withdrawal takes back nothing "
        "for an address that is not the customer's), `properties.purpose` or `channel` (not a name), or `event` (no "
        "browser grants consent).",
    )

    @classmethod
    def of(cls, row: Event) -> Self:
        """From the row."""
        return cls(
            id=row.id,
            message_id=row.message_id,
            source=row.source,
            type=row.kind,
            event=row.name,
            user_id=row.user_id,
            anonymous_id=row.anonymous_id,
            timestamp=row.timestamp,
            received_at=row.received_at,
            properties=row.properties,
            traits=row.traits,
            context=row.context,
            ignored_untrusted=row.ignored_untrusted or [],
        )


class OrderAnswer(BaseModel):
    """One order as its events have reported it so far."""

    order_id: str
    state: str
    completed_at: datetime | None
    total: MoneyAnswer | None
    subtotal: MoneyAnswer | None
    revenue: MoneyAnswer | None
    shipping: MoneyAnswer | None
    tax: MoneyAnswer | None
    discount: MoneyAnswer | None
    refunded: MoneyAnswer
    coupon: str | None
    lines: list[dict[str, Any]]

    @classmethod
    def of(cls, row: Order) -> Self:
        """From the row."""

        def money(amount: int | None) -> MoneyAnswer | None:
            return None if amount is None else MoneyAnswer(amount=amount, currency=row.currency)

        return cls(
            order_id=row.order_id,
            state=row.state,
            completed_at=row.completed_at,
            total=money(row.total),
            subtotal=money(row.subtotal),
            revenue=money(row.revenue),
            shipping=money(row.shipping),
            tax=money(row.tax),
            discount=money(row.discount),
            refunded=MoneyAnswer(amount=row.refunded, currency=row.currency),
            coupon=row.coupon,
            lines=row.lines,
        )


class HappeningAnswer(BaseModel):
    """One entry of the timeline. `name` is the event's, template's, step's or purpose's, or why a merge was refused."""

    at: datetime
    kind: Literal["event", "message", "step", "run", "consent", "restriction", "merge"]
    id: str
    name: str
    detail: dict[str, Any]

    @classmethod
    def of(cls, row: Happening) -> Self:
        """From the row."""
        return cls.model_validate(row, from_attributes=True)
