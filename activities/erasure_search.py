"""What an erasure's last search finds. Each portion has a transaction of its own: it ends, however much there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from database.erasure_search import (
    MOST_LISTED,
    ForeignEvent,
    look_into,
    look_into_statistics,
    portions,
    searched,
)
from database.erasures import Traces
from database.session import Database


@dataclass(slots=True)
class Found:
    """What is left: of the person's own or of nobody, by table; in rows of other customers; and what was looked for."""

    own: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    events: list[ForeignEvent] = field(default_factory=list)
    searched: dict[str, object] = field(default_factory=dict)

    def as_proof(self) -> dict[str, object]:
        """The parts of the proof."""
        listed = [
            {"event_id": str(each.event_id), "customer_id": str(each.customer_id), "forms": list(each.forms)}
            for each in self.events
        ]
        return {
            "searched": self.searched,
            "found": dict(self.own),
            "others": dict(self.others),
            "events_of_others": listed,
        }


async def search(database: Database, traces: Traces, beat: Callable[[], None]) -> Found:
    """Search every table. `beat` is called after each portion."""
    async with database.read() as session:
        wanted = await portions(session)
    found = Found(searched=searched(traces, len({each.table for each in wanted})))
    for portion in wanted:
        async with database.read() as session:
            await session.take_long()
            seen = await look_into(session, portion, traces)
        found.own.update({portion.table: seen.own} if seen.own else {})
        found.others.update({portion.table: seen.others} if seen.others else {})
        found.events += seen.events[: MOST_LISTED - len(found.events)]
        beat()
    async with database.read() as session:
        await session.take_long()
        sampled = await look_into_statistics(session, traces)
    found.own.update(dict.fromkeys((f"statistics of {table}" for table in sampled - found.others.keys()), 1))
    return found
