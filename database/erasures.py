"""Erasure jobs: what they look for while they run, their proof, and the keyed hashes of who was erased.

What an erasure does to each table is database/erasure_rules.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import (
    ColumnElement,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    exists,
    func,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.customers import Identity
from database.secrets import PSEUDONYMS, known_secret, secret
from database.session import ReadSession, WriteSession
from database.undertakings import conclude
from domain.identities import spelling
from domain.pseudonyms import pseudonym

LONG_ID = 12
"""From this many characters on an id is looked for in all tables, not only where ids stand."""


_SPELLINGS: Final = {"user": "spelling", "anonymous": "anonymous spelling"}
"""By kind of id, the kind of the hash of what its spellings have in common."""


LONG_PHONE = 8
"""The same for phone numbers."""


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

    kind: Mapped[str]  # user | anonymous | spelling | anonymous spelling
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
    phones: list[str] = []
    asked_at: datetime | None = None  # what comes in later is the router's to judge; None: of earlier releases
    executions: list[str] = []  # those that the job found in Temporal and deleted

    @property
    def subjects(self) -> list[str]:
        """The subjects of this person's events, routed or not."""
        return [f"u:{value}" for value in self.user_ids] + [f"a:{value}" for value in self.anonymous_ids]

    @property
    def needles(self) -> list[str]:
        """What can stand nowhere by chance: addresses, phone numbers, and ids that are long or addresses themselves."""
        ids = (value for value in self.user_ids if len(value) >= LONG_ID or "@" in value)
        return sorted({*self.addresses, *(phone for phone in self.phones if len(phone) >= LONG_PHONE), *ids})


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
    """The job under way for whom the shop knew by this id, however it is spelt, or None. Reads open jobs only."""
    return await _open_for(session, "user", user_id)


async def open_erasure_of_visitor(session: ReadSession, anonymous_id: str) -> Erasure | None:
    """The job under way for a visitor whom nobody knew, by an anonymous id; never one for a customer."""
    return await _open_for(session, "anonymous", anonymous_id, Erasure.traces["user_ids"] == [])


async def _open_for(session: ReadSession, kind: str, value: str, *conditions: ColumnElement[bool]) -> Erasure | None:
    """The latest open job whose traces name this id: to the letter, else in another spelling. By uq_erasures_open."""
    open_jobs = select(Erasure).where(Erasure.state != "completed", *conditions).order_by(Erasure.requested_at.desc())
    exact = open_jobs.where(Erasure.traces[f"{kind}_ids"].has_key(value)).limit(1)
    found = (await session.execute(exact)).scalar_one_or_none()
    if found is not None or not await _is_erased(session, IdentityRef(kind, value)):
        return found
    spelt, jobs = spelling(value), (await session.scalars(open_jobs)).all()
    return next((job for job in jobs if spelt in map(spelling, job.traces[f"{kind}_ids"])), None)


async def start_erasure(session: WriteSession, erasure_id: UUID) -> Traces | None:
    """Mark the job as running and say what it looks for; None when it has completed already."""
    statement = update(Erasure).where(Erasure.id == erasure_id, Erasure.state != "completed").values(state="running")
    traces = (await session.execute(statement.returning(Erasure.traces))).scalar_one_or_none()
    return None if traces is None else Traces.model_validate(traces)


async def add_to_proof(session: WriteSession, erasure_id: UUID, part: str, counts: Mapping[str, int]) -> None:
    """Add what was done in this transaction to one part of the proof."""
    row = await _locked(session, erasure_id)
    known: dict[str, int] = row.proof.get(part, {})
    row.proof = {**row.proof, part: known | {name: known.get(name, 0) + count for name, count in counts.items()}}


async def note_executions(session: WriteSession, erasure_id: UUID, executions: Collection[str]) -> None:
    """Executions that are about to be deleted, each counted once."""
    row = await _locked(session, erasure_id)
    every = sorted({*row.traces.get("executions", []), *executions})
    row.traces = {**row.traces, "executions": every}
    row.proof = {**row.proof, "workflows": {"deleted": len(every)}}


async def complete_erasure(session: WriteSession, erasure_id: UUID, found: Mapping[str, Any], as_of: datetime) -> None:
    """Close the job with the parts of the proof that its last search found, and forget what it looked for."""
    row = await _locked(session, erasure_id)
    row.proof = {**row.proof, **found}
    row.traces, row.state, row.completed_at = {}, "completed", as_of
    await conclude(session, [workflow_of(erasure_id)], as_of)


async def _locked(session: WriteSession, erasure_id: UUID) -> Erasure:
    return (await session.execute(select(Erasure).where(Erasure.id == erasure_id).with_for_update())).scalar_one()


async def remember_erased(
    session: WriteSession, identities: Collection[IdentityRef], as_of: datetime
) -> Sequence[tuple[str, bytes]]:
    """Keep the hashes of erased ids, with the time up to which their past is gone; answers kinds and hashes."""
    key = await secret(session, PSEUDONYMS)
    hashes = {(each.kind, pseudonym(key, each.kind, each.value)) for each in identities}
    hashes |= {_spelt(key, each) for each in identities if each.kind in _SPELLINGS}
    await keep_hashes(session, sorted(hashes), as_of)
    return sorted(hashes)


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


async def was_erased(session: ReadSession, user_id: str) -> bool:
    """Whether this id of the shop was, in whatever spelling."""
    return await _is_erased(session, IdentityRef("user", user_id))


async def _is_erased(session: ReadSession, ref: IdentityRef) -> bool:
    key = await known_secret(session, PSEUDONYMS)
    if key is None:
        return False
    hashes = [(ref.kind, pseudonym(key, ref.kind, ref.value)), _spelt(key, ref)]
    theirs = tuple_(ErasedIdentity.kind, ErasedIdentity.hash).in_(hashes)
    return bool(await session.scalar(select(exists().where(theirs))))


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
    """Which of these ids were erased, and when: whatever such a customer did earlier is to be dropped.

    Another spelling of an erased id (`spelling`) is that id, unless somebody is known by just that one.
    """
    if not identities:
        return {}
    key = await secret(session, PSEUDONYMS)
    exact = {(each.kind, pseudonym(key, each.kind, each.value)): each for each in identities}
    spelt = {each: _spelt(key, each) for each in identities}
    hashes = {found for _, found in (*exact, *spelt.values())}
    rows = (await session.scalars(select(ErasedIdentity).where(ErasedIdentity.hash.in_(sorted(hashes))))).all()
    since = {(row.kind, row.hash): row.erased_at for row in rows}
    found = {ref: since[hashed] for hashed, ref in exact.items() if hashed in since}
    other = {ref: since[hashed] for ref, hashed in spelt.items() if hashed in since and ref not in found}
    return found | await _without_the_living(session, other)


async def _without_the_living(
    session: WriteSession, erased: Mapping[IdentityRef, datetime]
) -> dict[IdentityRef, datetime]:
    if not erased:
        return {}
    named = tuple_(Identity.kind, Identity.value)
    known = select(Identity.kind, Identity.value).where(named.in_(sorted(erased)))
    living = {IdentityRef(*row) for row in await session.execute(known)}
    return {ref: at for ref, at in erased.items() if ref not in living}


def _spelt(key: bytes, ref: IdentityRef) -> tuple[str, bytes]:
    """The kind and the hash of what the spellings of an id have in common."""
    return _SPELLINGS[ref.kind], pseudonym(key, _SPELLINGS[ref.kind], spelling(ref.value))
