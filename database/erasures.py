"""Erasure jobs: what they look for while they run, their proof, and the keyed hashes of who was erased.

What an erasure does to each table is database/erasure_rules.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Index, LargeBinary, PrimaryKeyConstraint, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.secrets import PSEUDONYMS, secret
from database.session import ReadSession, WriteSession
from database.undertakings import conclude
from domain.pseudonyms import pseudonym

LONG_ID = 12
"""From this many characters on an id is looked for in all tables, not only where ids stand."""


class Erasure(Table):
    """One erasure: what was removed where. Once completed it names the customer by our own uuid only."""

    __tablename__ = "erasures"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID]
    state: Mapped[str]  # requested | running | completed
    requested_at: Mapped[datetime]
    requested_by: Mapped[str]
    completed_at: Mapped[datetime | None]
    traces: Mapped[Json]  # what to look for (Traces); emptied when the job completes
    proof: Mapped[Json]  # table -> rows removed, workflows deleted, searches that found nothing

    __table_args__ = (
        # A second request while the first is under way is the same job.
        Index("uq_erasures_open", "customer_id", unique=True, postgresql_where=text("state <> 'completed'")),
    )


class ErasedIdentity(Table):
    """An id that was erased, by keyed hash: what happened before that time is not taken in again."""

    __tablename__ = "erased_identities"

    kind: Mapped[str]  # user | anonymous
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    erased_at: Mapped[datetime]

    __table_args__ = (PrimaryKeyConstraint("kind", "hash"),)


class Traces(BaseModel):
    """Under which names a person is stored: our own ids (merged ones too), the shop's, browsers', and addresses."""

    model_config = ConfigDict(frozen=True)

    customers: list[UUID] = []
    user_ids: list[str] = []
    anonymous_ids: list[str] = []
    addresses: list[str] = []

    @property
    def subjects(self) -> list[str]:
        """The subjects of this person's events, routed or not."""
        return [f"u:{value}" for value in self.user_ids] + [f"a:{value}" for value in self.anonymous_ids]

    @property
    def needles(self) -> list[str]:
        """What can stand nowhere by chance: addresses, and ids that are long or addresses themselves."""
        return sorted({*self.addresses, *(value for value in self.user_ids if len(value) >= LONG_ID or "@" in value)})


class IdentityRef(NamedTuple):
    """An id of a kind, `user` or `anonymous`."""

    kind: str
    value: str


def workflow_of(erasure_id: UUID) -> str:
    """The id of the workflow that carries the job out."""
    return f"erasure/{erasure_id}"


async def find_erasure(session: ReadSession, erasure_id: UUID) -> Erasure | None:
    """The job, or None."""
    return await session.get(Erasure, erasure_id, populate_existing=True)


async def open_erasure(session: ReadSession, customer_id: UUID) -> Erasure | None:
    """The job of this customer that has not completed, or None."""
    statement = select(Erasure).where(Erasure.customer_id == customer_id, Erasure.state != "completed")
    return (await session.execute(statement)).scalar_one_or_none()


async def open_erasure_of(session: ReadSession, user_id: str) -> Erasure | None:
    """The job under way for whom the shop knew by this id, or None. By uq_erasures_open, which holds open jobs only."""
    theirs = Erasure.traces["user_ids"].has_key(user_id)
    statement = select(Erasure).where(Erasure.state != "completed", theirs).order_by(Erasure.requested_at.desc())
    return (await session.execute(statement.limit(1))).scalar_one_or_none()


async def start_erasure(session: WriteSession, erasure_id: UUID) -> Traces | None:
    """Mark the job as running and say what it looks for; None when it has completed already."""
    statement = update(Erasure).where(Erasure.id == erasure_id, Erasure.state != "completed").values(state="running")
    traces = (await session.execute(statement.returning(Erasure.traces))).scalar_one_or_none()
    return None if traces is None else Traces.model_validate(traces)


async def add_to_proof(session: WriteSession, erasure_id: UUID, part: str, counts: Mapping[str, int]) -> None:
    """Add counts to one part of the proof; a step that runs twice adds what it did the second time."""
    row = (await session.execute(select(Erasure).where(Erasure.id == erasure_id).with_for_update())).scalar_one()
    known: dict[str, int] = row.proof.get(part, {})
    row.proof = {**row.proof, part: known | {name: known.get(name, 0) + count for name, count in counts.items()}}


async def complete_erasure(session: WriteSession, erasure_id: UUID, found: Mapping[str, Any], as_of: datetime) -> None:
    """Close the job with what the last search found, and forget what it looked for."""
    row = (await session.execute(select(Erasure).where(Erasure.id == erasure_id).with_for_update())).scalar_one()
    row.proof = {**row.proof, "found": dict(found)}
    row.traces, row.state, row.completed_at = {}, "completed", as_of
    await conclude(session, [workflow_of(erasure_id)], as_of)


async def remember_erased(
    session: WriteSession, identities: Iterable[IdentityRef], as_of: datetime
) -> Sequence[tuple[str, bytes]]:
    """Keep the hashes of erased ids, with the time up to which their past is gone; answers kinds and hashes."""
    key = await secret(session, PSEUDONYMS)
    hashes = [(each.kind, pseudonym(key, each.kind, each.value)) for each in sorted(set(identities))]
    await keep_hashes(session, hashes, as_of)
    return hashes


async def keep_hashes(session: WriteSession, hashes: Sequence[tuple[str, bytes]], as_of: datetime) -> None:
    """The same for ids, by kind, of which the hash is all that is known."""
    rows = [{"kind": kind, "hash": hash_, "erased_at": as_of} for kind, hash_ in hashes]
    if rows:
        statement = insert(ErasedIdentity)
        newest = {"erased_at": func.greatest(ErasedIdentity.erased_at, statement.excluded.erased_at)}
        await session.execute(statement.on_conflict_do_update(index_elements=["kind", "hash"], set_=newest), rows)


async def anybody_was_erased(session: ReadSession) -> bool:
    """Whether there is any erased identity at all: most shops have none on most days."""
    return bool(await session.scalar(select(exists().select_from(ErasedIdentity))))


# Ids that are somebody's again, or will be once what a trusted source said is routed. Relies on pk_identities and
# ix_events_pending_subject.
_NAMED_AGAIN = text("""
    SELECT value FROM identities WHERE kind = 'user' AND value = ANY(:user_ids)
    UNION SELECT user_id FROM events
        WHERE status = 'pending' AND trusted AND subject = ANY(:subjects)
""")


async def erased_ids(session: WriteSession, user_ids: Collection[str]) -> set[str]:
    """Which of these ids of the shop were erased and have been named by no trusted source since."""
    if not user_ids or not await anybody_was_erased(session):
        return set()
    erased = {ref.value for ref in await erased_since(session, [IdentityRef("user", value) for value in user_ids])}
    if not erased:
        return set()
    bounds = {"user_ids": list(erased), "subjects": [f"u:{value}" for value in erased]}
    return erased - set((await session.execute(_NAMED_AGAIN, bounds)).scalars())


async def erased_since(session: WriteSession, identities: Sequence[IdentityRef]) -> dict[IdentityRef, datetime]:
    """Which of these ids were erased, and when: whatever such a customer did earlier is to be dropped."""
    if not identities:
        return {}
    key = await secret(session, PSEUDONYMS)
    by_hash = {(each.kind, pseudonym(key, each.kind, each.value)): each for each in identities}
    hashes = [found for _, found in by_hash]
    statement = select(ErasedIdentity).where(ErasedIdentity.hash.in_(hashes))
    rows = (await session.execute(statement)).scalars()
    return {by_hash[row.kind, row.hash]: row.erased_at for row in rows if (row.kind, row.hash) in by_hash}
