"""After a restore: what the journal of files knows and the database does not is done again, before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from connectors.journal_folder import JournalFolder
from database import restore_journal
from database.awaited_lines import await_customers
from database.completeness import check_complete
from database.erasures import keep_hashes
from database.session import Database, WriteSession
from database.suppressions import release_hash, released_since, suppress_hashes
from domain.restore_journal import (
    AddressSuppressed,
    Concerning,
    Erased,
    Line,
    Released,
    Restricted,
    RestrictionLifted,
    Withdrawn,
)
from triggers.erasures import request_erasure
from triggers.returning import living, restrict_again, withdraw

BY = "restore"
"""Who asked for the erasures that are made again."""

_AT_ONCE = 50
_ASKED_AT_ONCE = 1_000


@dataclass(slots=True)
class Replayed:
    """What was done again. `awaited`: withdrawals and restrictions of customers who are unknown here, for when one of
    their ids is named again; `lost`: those of customers of whom no id was noted, as by earlier releases. `unreadable`:
    where lines stand that a crash cut off.
    """

    erasures: int = 0
    withdrawals: int = 0
    suppressions: int = 0
    releases: int = 0
    restrictions: int = 0
    awaited: int = 0
    lost: int = 0
    unreadable: Sequence[str] = ()

    @property
    def count(self) -> int:
        """All that was done."""
        return self.erasures + self.withdrawals + self.suppressions + self.releases + self.restrictions


async def missing_lines(database: Database, folder: JournalFolder) -> tuple[list[Line], list[str]]:
    """The lines that this database lacks, the oldest first, and what could not be read.

    A database is restored to one moment, so no month before one that it knows whole is looked at.
    """
    missing: dict[UUID, Line] = {}
    unreadable: list[str] = []
    for month in await asyncio.to_thread(folder.months):
        read = await asyncio.to_thread(folder.read, month)
        lines = [each for each in read if isinstance(each, Line)]
        unreadable += [each for each in read if isinstance(each, str)]
        new = await _unknown(database, lines)
        missing |= {line.id: line for line in new}
        if lines and not new:
            break
    return sorted(missing.values(), key=lambda line: (line.at, line.id)), unreadable


async def replay(
    database: Database,
    folder: JournalFolder,
    as_of: datetime,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Replayed:
    """Do again what the database lacks; what it has is left alone, so it may be repeated and run by several at once.

    Raises Unavailable while the restore itself goes on: whom it has not brought yet would count as unknown.
    """
    await check_complete(database)
    missing, unreadable = await missing_lines(database, folder)
    done = Replayed(unreadable=unreadable)
    withdrawn = [line.entry for line in missing if isinstance(line.entry, Withdrawn)]
    addressed = {
        entry.event for entry in withdrawn if entry.address is not None
    }  # told of twice: by a call and by its event
    for start in range(0, len(missing), _AT_ONCE):
        page = missing[start : start + _AT_ONCE]
        async with database.transaction() as session:
            claimed = await restore_journal.claim(session, page, as_of)
            taken = [line for line in page if line.id in claimed]
            await _apply(session, taken, done, as_of, addressed=addressed)
        progress(start + len(page), len(missing))
    return done


async def _unknown(database: Database, lines: Sequence[Line]) -> list[Line]:
    new: list[Line] = []
    for start in range(0, len(lines), _ASKED_AT_ONCE):
        page = lines[start : start + _ASKED_AT_ONCE]
        async with database.read() as session:
            known = await restore_journal.known(session, [line.id for line in page])
        new += [line for line in page if line.id not in known]
    return new


async def _suppress(session: WriteSession, entry: AddressSuppressed, at: datetime) -> bool:
    """Unless somebody has let mail go there since: the newest act counts."""
    if await released_since(session, entry, at):
        return False
    await suppress_hashes(session, [entry])
    return True


async def _apply(
    session: WriteSession, lines: Sequence[Line], done: Replayed, as_of: datetime, *, addressed: Set[UUID]
) -> None:
    withdrawn = [line.entry for line in lines if isinstance(line.entry, Withdrawn)]
    kept = await withdraw(session, withdrawn, as_of)
    done.withdrawals += len(kept)
    strange = [line for line in lines if isinstance(line.entry, Withdrawn) and line.entry not in kept]
    for line in lines:
        if isinstance(line.entry, AddressSuppressed):
            done.suppressions += await _suppress(session, line.entry, line.at)
        elif isinstance(line.entry, Released):
            await release_hash(session, line.entry)
            done.releases += 1
        elif isinstance(line.entry, Erased):
            await _erase(session, line.entry, line.at)
            done.erasures += 1
        elif isinstance(line.entry, Restricted | RestrictionLifted):
            is_known = await restrict_again(session, line.entry)
            done.restrictions += is_known
            strange += [] if is_known else [line]
    await _await(session, strange, done, addressed)


async def _await(session: WriteSession, strange: Sequence[Line], done: Replayed, addressed: Set[UUID]) -> None:
    """What is of customers who are not here, but for withdrawals that their address was enough for."""
    waiting = [line for line in strange if _act_of(line) not in addressed]
    await await_customers(session, waiting)
    recognisable = {_act_of(line) for line in waiting if isinstance(line.entry, Concerning) and line.entry.identities}
    done.awaited += len(recognisable)
    done.lost += len({_act_of(line) for line in waiting} - recognisable)


def _act_of(line: Line) -> UUID:
    """What is one withdrawal: the record of a call and the event that it tells of itself."""
    return line.entry.event if isinstance(line.entry, Withdrawn) else line.id


async def _erase(session: WriteSession, entry: Erased, at: datetime) -> None:
    """The hashes first, so that nobody comes back who was not here at the time of the backup."""
    await keep_hashes(session, entry.identities, at)
    for customer_id in await living(session, entry.customers):
        await request_erasure(session, customer_id, by=BY, as_of=at)
