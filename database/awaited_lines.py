"""Lines of the restore journal about customers whom a restored database does not know, until one of their ids is named
again. Names nobody: ids stand here and in the files by keyed hash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import Index, LargeBinary, PrimaryKeyConstraint, delete, exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.customers import Identity
from database.restore_journal import lines_of
from database.restored import survivors_of
from database.secrets import PSEUDONYMS, known_secret, secret
from database.session import ReadSession, WriteSession
from domain.identities import Key
from domain.pseudonyms import pseudonym
from domain.restore_journal import Concerning, Line, Withdrawn


class AwaitedLine(Table):
    """An id by which the customer of a line is recognised."""

    __tablename__ = "awaited_lines"

    kind: Mapped[str]  # user | anonymous
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    line_id: Mapped[UUID]

    __table_args__ = (PrimaryKeyConstraint("kind", "hash", "line_id"), Index("ix_awaited_lines_line_id", "line_id"))


async def with_identities(session: ReadSession, lines: Sequence[Line]) -> list[Line]:
    """Lines with the hashes of their customers' ids; a withdrawal with an address is known again by that."""
    wanting = [each.entry for each in lines if isinstance(each.entry, Concerning) and not _has_address(each.entry)]
    key = await known_secret(session, PSEUDONYMS) if wanting else None
    if key is None:
        return list(lines)
    survivors = await survivors_of(session, {entry.customer for entry in wanting})
    ids = await session.execute(
        select(Identity.customer_id, Identity.kind, Identity.value)
        .where(Identity.customer_id.in_(set(survivors.values())))
        .order_by(Identity.kind, Identity.value)
    )
    hashes: dict[UUID, list[tuple[str, bytes]]] = defaultdict(list)
    for customer_id, kind, value in ids:
        hashes[customer_id].append((kind, pseudonym(key, kind, value)))
    found = {asked: hashes[id_] for asked, id_ in survivors.items()}
    return [_naming(line, found) for line in lines]


def _naming(line: Line, found: Mapping[UUID, Sequence[tuple[str, bytes]]]) -> Line:
    if not isinstance(line.entry, Concerning) or _has_address(line.entry):
        return line
    named = line.entry.model_copy(update={"identities": found.get(line.entry.customer, ())})
    return line.model_copy(update={"entry": named})


def _has_address(entry: Concerning) -> bool:
    return isinstance(entry, Withdrawn) and entry.address is not None


async def await_customers(session: WriteSession, lines: Sequence[Line]) -> None:
    """Keep for later what was just taken over from a file and is of customers who are not here."""
    rows = [
        {"kind": kind, "hash": hash_, "line_id": line.id}
        for line in lines
        if isinstance(line.entry, Concerning)
        for kind, hash_ in line.entry.identities
    ]
    if rows:
        await session.execute(insert(AwaitedLine).on_conflict_do_nothing(), rows)


async def take_awaited(session: WriteSession, arrived: Mapping[Key, UUID]) -> list[Line]:
    """The lines that waited for these new ids, of the customers who have them now, in the order in which they were
    noted; they wait no longer. Most shops never restore, and wait for nobody.
    """
    if not await session.scalar(select(exists().select_from(AwaitedLine))):
        return []
    key = await secret(session, PSEUDONYMS)
    whose = {pseudonym(key, each.kind, each.value): customer_id for each, customer_id in arrived.items()}
    found = await session.execute(
        select(AwaitedLine.line_id, AwaitedLine.hash).where(AwaitedLine.hash.in_(sorted(whose)))
    )
    customers = {line_id: whose[hash_] for line_id, hash_ in found}
    await session.execute(delete(AwaitedLine).where(AwaitedLine.line_id.in_(customers)))
    return [
        line.model_copy(update={"entry": line.entry.model_copy(update={"customer": customers[line.id]})})
        for line in await lines_of(session, customers)
        if isinstance(line.entry, Concerning)
    ]
