"""Rows of an import whose address was an erased person's: perhaps the same person under another id."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from database.session import ReadSession
from database.suppressions import suppressions_of
from domain.addresses import address_of
from domain.events import NewEvent
from domain.suppressions import Cause


async def find_erased_addresses(
    session: ReadSession, rows: Iterable[tuple[int, list[NewEvent]]], as_of: datetime
) -> list[int]:
    """The numbers of the rows whose mail address is suppressed because its owner was erased. By pk_suppressions."""
    named = {number: address_of(event.traits, "email") for number, row in rows for event in row if event.traits}
    known = await suppressions_of(session, "email", {each for each in named.values() if each}, as_of)
    erased = {address for address, rows in known.items() if any(row.reason == Cause.ERASED for row in rows)}
    return [number for number, address in named.items() if address in erased]
