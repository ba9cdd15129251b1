"""Upkeep of consents: those that an older release recorded get the addresses that they were given for."""

from __future__ import annotations

from database.consent_addresses import settle_some
from database.session import Database

PAGE = 200
PAGES_AT_ONCE = 50


async def settle_older_consents(database: Database) -> int:
    """Settle the consents of some customers, page by page. Answers of how many; the rest comes with the next pass."""
    done = 0
    for _ in range(PAGES_AT_ONCE):
        async with database.transaction() as session:
            page = await settle_some(session, PAGE)
        done += page
        if not page:
            break
    return done
