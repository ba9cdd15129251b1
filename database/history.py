"""What happened to one customer, the latest first: events, orders, and everything together as one timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, tuple_

from database.events import Event
from database.orders import Order
from database.session import ReadSession

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Where orders stand in the list that were never completed: at the end."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One entry of a timeline. `id` is unique within its kind."""

    at: datetime
    kind: str  # event | message | step | run (a silenced one) | consent | restriction | merge (a refused one)
    id: str
    name: str
    detail: dict[str, Any]  # any JSON object


async def page_of_events(
    session: ReadSession, customer_id: UUID, *, name: str | None, before: int | None, limit: int
) -> Sequence[Event]:
    """Routed events by their number, the latest first. Relies on ix_events_customer_number."""
    statement = select(Event).where(Event.customer_id == customer_id, Event.number.is_not(None))
    if name is not None:
        statement = statement.where(Event.name == name)
    if before is not None:
        statement = statement.where(Event.number < before)
    return (await session.execute(statement.order_by(Event.number.desc()).limit(limit))).scalars().all()


async def page_of_orders(
    session: ReadSession, customer_id: UUID, *, before: tuple[datetime, str] | None, limit: int
) -> Sequence[Order]:
    """Orders, the latest completed first, those never completed last. Relies on ix_orders_customer."""
    completed = func.coalesce(Order.completed_at, NEVER)
    statement = select(Order).where(Order.customer_id == customer_id)
    if before is not None:
        statement = statement.where(tuple_(completed, Order.order_id) < tuple_(*before))
    statement = statement.order_by(completed.desc(), Order.order_id.desc()).limit(limit)
    return (await session.execute(statement)).scalars().all()


# One customer's rows are sorted in memory, thousands at most. Relies on ix_events_customer_name,
# ix_messages_customer, ix_runs_customer, pk_run_steps, ix_consents_customer and the indexes of restrictions and
# refused_merges.
_TIMELINE = text("""
    WITH happenings AS (
        (SELECT timestamp AS at, 'event' AS kind, id::text AS id, name, jsonb_build_object(
            'event_id', id, 'properties', properties, 'traits', traits, 'source', source
        ) || CASE WHEN ignored_untrusted IS NULL THEN '{}'
            ELSE jsonb_build_object('ignored_untrusted', ignored_untrusted) END AS detail
        FROM events WHERE customer_id = :customer_id)
        UNION ALL
        (SELECT created_at, 'message', id::text, template, jsonb_build_object(
            'message_id', id, 'channel', channel, 'state', state, 'reason', reason, 'subject', subject,
            'journey', journey, 'run_id', run_id, 'step', step
        ) || CASE WHEN rule IS NULL THEN '{}' ELSE jsonb_build_object('rule', rule) END
        FROM messages WHERE customer_id = :customer_id)
        UNION ALL
        (SELECT coalesce(run_steps.at, run_steps.reached_at), 'step',
            run_steps.run_id || '/' || run_steps.step || '/' || run_steps.visit, run_steps.step, jsonb_build_object(
            'run_id', run_steps.run_id, 'journey', runs.journey, 'kind', run_steps.kind, 'visit', run_steps.visit,
            'outcome', run_steps.outcome, 'reason', run_steps.reason
        ) FROM run_steps JOIN runs ON runs.id = run_steps.run_id WHERE runs.customer_id = :customer_id)
        UNION ALL
        (SELECT CAST(silenced ->> 'at' AS timestamptz), 'run', id::text, journey, jsonb_build_object(
            'run_id', id, 'outcome', 'silenced', 'reason', silenced ->> 'reason', 'event_id', silenced ->> 'event_id'
        ) FROM runs WHERE customer_id = :customer_id AND silenced IS NOT NULL)
        UNION ALL
        (SELECT at, 'consent', id::text, purpose, jsonb_build_object(
            'purpose', purpose, 'channel', channel, 'state', state, 'source', source
        ) FROM consents WHERE customer_id = :customer_id)
        UNION ALL
        (SELECT changed.at, 'restriction', restrictions.id || ' ' || changed.outcome, changed.outcome,
            jsonb_build_object('outcome', changed.outcome, 'reason', reason, 'by', changed.by)
        FROM restrictions, LATERAL (
            VALUES ('restricted', restrictions.at, restricted_by), ('lifted', lifted_at, lifted_by)
        ) AS changed (outcome, at, by)
        WHERE customer_id = :customer_id AND changed.at IS NOT NULL)
        UNION ALL
        (SELECT refused_at, 'merge', user_id || ' ' || previous_id, reason, jsonb_build_object(
            'outcome', 'refused', 'user_id', user_id, 'previous_id', previous_id, 'times', times, 'event_id', event_id
        ) FROM refused_merges WHERE customer_id = :customer_id OR previous_id IN (
            SELECT value FROM identities WHERE customer_id = :customer_id AND kind = 'user'
        ))
    )
    SELECT at, kind, id, name, detail FROM happenings
    WHERE CAST(:before_at AS timestamptz) IS NULL OR (at, kind, id) < (:before_at, :before_kind, :before_id)
    ORDER BY at DESC, kind DESC, id DESC
    LIMIT :limit
""")


async def page_of_timeline(
    session: ReadSession, customer_id: UUID, *, before: tuple[datetime, str, str] | None, limit: int
) -> Sequence[Happening]:
    """Events, messages, steps of runs, silenced runs, consents, restrictions and refused merges, the latest first."""
    at, kind, id_ = before or (None, "", "")
    bounds = {
        "customer_id": customer_id,
        "before_at": at,
        "before_kind": kind,
        "before_id": id_,
        "limit": limit,
    }
    return [Happening(*row) for row in (await session.execute(_TIMELINE, bounds)).all()]
