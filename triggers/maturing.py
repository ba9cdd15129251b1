"""The reaction of points that wait for an event, such as a delivery: they become available when it comes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from database import maturing, points
from database.earnings import Stored
from database.maturing import Awaited
from domain.commerce import text_id
from domain.earned_dates import awaited_events, lapses
from domain.points import Activate, Move
from triggers.batch import Wave


async def mature_points(wave: Wave) -> None:
    """Make points available that waited for the wave's events; a browser's word does not."""
    if wave.programme is None:
        return
    names = frozenset(name for each in wave.programmes for name in awaited_events(each.definition))
    told = [event for event in wave.events if event.counts_for_value and event.event.name in names]
    awaited = [
        Awaited(event.customer.id, event.event.name, text_id(event.event.properties.get("order_id"))) for event in told
    ]
    await _activate(wave, await maturing.awaiting(wave.session, wave.programme.key, awaited, wave.as_of))


async def mature_decided(wave: Wave, ids: Collection[UUID]) -> None:
    """The same for decisions that were made just now, if what they wait for came before their own event."""
    if wave.programme is not None and any(awaited_events(each.definition) for each in wave.programmes):
        await _activate(wave, await maturing.awaited_before(wave.session, ids, wave.as_of))


async def _activate(wave: Wave, rows: Sequence[Stored]) -> None:
    """Make the points of these decisions available now; they lapse by the version that decided."""
    assert wave.programme is not None  # noqa: S101  the callers have asked
    key, versions = wave.programme.key, {each.version: each for each in wave.programmes}
    moves: list[Move] = []
    expiries: dict[UUID, datetime | None] = {}
    for row in rows:
        decided_by = versions.get(row.version, wave.programme)
        expires_at = lapses(decided_by.definition, decided_by.zone, row.rule, row.tier, wave.as_of)
        expiries[row.id] = expires_at
        moves += [
            Activate(row.customer_id, f"{credit.key}/activated", of=credit.key, expires_at=expires_at)
            for credit in row.credits
        ]
    await points.post(wave.session, key, moves, wave.as_of)
    await maturing.mature(wave.session, expiries, wave.as_of)
