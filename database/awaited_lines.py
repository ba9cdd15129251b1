"""Lines of the restore journal about customers whom a restored database does not know, until one of their ids is named
again. Names nobody: ids stand here and in the files by keyed hash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID, uuid5

from sqlalchemy import LargeBinary, PrimaryKeyConstraint, delete, exists, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.customers import Identity
from database.restore_journal import lines_of
from database.restored import survivors_of
from database.secrets import PSEUDONYMS, known_secret, secret
from database.session import ReadSession, WriteSession
from domain.identities import IdKind, Key
from domain.pseudonyms import pseudonym
from domain.restore_journal import Concerning, Line, Withdrawn


class AwaitedLine(Table):
    """An id by which the customer of a line is recognised."""

    __tablename__ = "awaited_lines"

    kind: Mapped[str]  # user | anonymous
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    line_id: Mapped[UUID]

    __table_args__ = (PrimaryKeyConstraint("kind", "hash", "line_id"),)


async def with_identities(session: ReadSession, lines: Sequence[Line]) -> list[Line]:
    """Lines with the hashes of their customers' ids; a withdrawal with an address is known again by that.

    Of whom the shop has an id a browser's tells nothing: after a restore, the next to sign in there would be taken for
    them.
    """
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
    hashes: dict[tuple[UUID, str], list[tuple[str, bytes]]] = defaultdict(list)
    for customer_id, kind, value in ids:
        hashes[customer_id, kind].append((kind, pseudonym(key, kind, value)))
    found = {asked: hashes[id_, IdKind.USER] or hashes[id_, IdKind.ANONYMOUS] for asked, id_ in survivors.items()}
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
    noted. They go on waiting for the other ids of their customer, whose merge was lost, too. Most shops never restore,
    and wait for nobody.
    """
    if not await session.scalar(select(exists().select_from(AwaitedLine))):
        return []
    key = await secret(session, PSEUDONYMS)
    whose = {(str(id_.kind), pseudonym(key, id_.kind, id_.value)): whose for id_, whose in arrived.items()}
    named = tuple_(AwaitedLine.kind, AwaitedLine.hash)
    statement = delete(AwaitedLine).where(named.in_(sorted(whose)))
    taken = await session.execute(statement.returning(AwaitedLine.line_id, AwaitedLine.kind, AwaitedLine.hash))
    customers = sorted({(line_id, whose[kind, hash_]) for line_id, kind, hash_ in taken})
    lines = {line.id: line for line in await lines_of(session, {line_id for line_id, _ in customers})}
    of_each = [_as_of(lines[line_id], customer_id) for line_id, customer_id in customers]
    return sorted(of_each, key=lambda line: (line.at, line.id))


def _as_of(line: Line, customer_id: UUID) -> Line:
    """A line about one of those whom its customer has become; each withdrawal is an act of its own."""
    changes: dict[str, UUID] = {"customer": customer_id}
    if isinstance(line.entry, Withdrawn):
        changes["event"] = uuid5(line.entry.event, customer_id.hex)
    return line.model_copy(update={"entry": line.entry.model_copy(update=changes)})
