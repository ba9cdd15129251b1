"""Customers and the ids under which they are known. How two become one: database/merging.py."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    Text,
    case,
    column,
    func,
    literal,
    literal_column,
    not_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, Table, among
from database.session import ReadSession, WriteSession
from domain.customers import Profile, profile_of
from domain.identities import SENT_UNKNOWN, IdKind, Key, Stamp
from domain.identities import Identity as KnownId


class Customer(Table):
    """One person. Its row is locked first by everything that decides about that person."""

    __tablename__ = "customers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    external_id: Mapped[str | None]  # the shop's own id, once known
    traits: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    trait_times: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # domain.customers.Writer of each
    observed: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # timezone, locale -> [value, *Writer]
    email: Mapped[str | None]  # lower-cased copy of traits.email
    zone: Mapped[str | None]  # IANA name, from traits.timezone or context.timezone
    locale: Mapped[str | None]  # from traits.locale or context.locale
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    last_number: Mapped[int] = mapped_column(server_default=text("0"))  # routing number given last
    held_until: Mapped[datetime | None]  # an event of this customer failed and is tried again then
    merged_into: Mapped[UUID | None]
    erased_at: Mapped[datetime | None]
    restricted_at: Mapped[datetime | None]  # nothing is done with the person until it is lifted: restrictions.py
    created_at: Mapped[Created]

    __table_args__ = (
        Index(
            "uq_customers_external_id",
            "external_id",
            unique=True,
            postgresql_where=text("merged_into IS NULL AND external_id IS NOT NULL"),
        ),
        Index("ix_customers_email", "email"),
        Index("ix_customers_erased", "erased_at", postgresql_where=text("erased_at IS NOT NULL")),
    )


class Identity(Table):
    """One id under which a shop or a browser knows a customer."""

    __tablename__ = "identities"

    kind: Mapped[str]  # user | anonymous
    value: Mapped[str]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    first_seen: Mapped[datetime]  # the earliest event that names it
    superseded: Mapped[bool] = mapped_column(server_default=text("false"))  # aliased away to another user id
    linked_at: Mapped[datetime | None]  # an anonymous id: the earliest event that named it together with a user
    linked_by: Mapped[str | None]  # and that event's id; in rows of earlier releases its message id
    linked_sent: Mapped[datetime | None]
    linked_trusted: Mapped[bool | None]  # whether a trusted source sent it; null in rows of earlier releases: believed

    __table_args__ = (PrimaryKeyConstraint("kind", "value"), Index("ix_identities_customer_id", "customer_id"))


def trusted_traits() -> ColumnElement[Any]:
    """`Profile.trusted_traits` of a row of `customers`: without those whose writer ends in a JSON `false`."""
    stamps = Customer.__table__.c.trait_times
    each = func.jsonb_each(stamps).table_valued(column("key", Text), column("value", JSONB), joins_implicitly=True)
    doubted = select(each.c.key).where(each.c.value.bool_op("@>")(literal(False, JSONB))).correlate_except(each)
    has_doubted = func.jsonb_path_exists(stamps, literal_column("'$.*[*] ? (@ == false)'::jsonpath"))
    traits = Customer.__table__.c.traits
    left = traits.op("-", return_type=JSONB())(func.array(doubted.scalar_subquery(), type_=ARRAY(Text)))
    return case((not_(has_doubted), traits), else_=left)


def trusted_profile(customer: Customer) -> Profile:
    """The customer where value is decided: what a browser told is not there."""
    return profile_of(customer.traits, customer.trait_times, customer.observed).trusted()


@dataclass(frozen=True, slots=True)
class CustomerState:
    """A customer as stored, locked until the transaction ends."""

    id: UUID
    external_id: str | None
    profile: Profile
    first_seen: datetime
    last_seen: datetime
    last_number: int
    held_until: datetime | None
    is_restricted: bool = False


_STATE = (
    *(Customer.id, Customer.external_id, Customer.traits, Customer.trait_times, Customer.observed),
    *(Customer.first_seen, Customer.last_seen, Customer.last_number, Customer.held_until),
    Customer.restricted_at,
)


# Relies on pk_identities. An array, not a join: looked up first, whatever the statistics say.
_IS_NAMED = text("""
    customers.id = ANY(ARRAY(
        SELECT customer_id
        FROM unnest(CAST(:kinds AS text[]), CAST(:values AS text[])) AS wanted (kind, value)
        JOIN identities USING (kind, value)
    ))
""")


async def erased_since(session: ReadSession, since: datetime) -> Sequence[UUID]:
    """Customers who were erased since then, by our own ids."""
    return (await session.execute(select(Customer.id).where(Customer.erased_at >= since))).scalars().all()


async def lock_named(session: WriteSession, keys: Collection[Key]) -> dict[UUID, CustomerState]:
    """Lock the customers who are known by these ids and read them; whom somebody else holds is left out."""
    named = {"kinds": [key.kind for key in keys], "values": [key.value for key in keys]}
    statement = select(*_STATE).where(_IS_NAMED).order_by(Customer.id).with_for_update(skip_locked=True)
    return {row.id: _state(row) for row in await session.execute(statement, named)}


async def lock(session: WriteSession, ids: Collection[UUID], *, skip_locked: bool = True) -> dict[UUID, CustomerState]:
    """Lock customers in the order of their ids and read them. Whom somebody else holds is left out, or waited for."""
    statement = (
        select(*_STATE).where(among(Customer.id, ids)).order_by(Customer.id).with_for_update(skip_locked=skip_locked)
    )
    return {row.id: _state(row) for row in await session.execute(statement)} if ids else {}


def _state(row: Any) -> CustomerState:  # a row of _STATE
    profile = profile_of(row.traits, row.trait_times, row.observed)
    return CustomerState(
        *(row.id, row.external_id, profile, row.first_seen, row.last_seen, row.last_number, row.held_until),
        is_restricted=row.restricted_at is not None,
    )


async def customer_of(session: ReadSession, user_id: str) -> Customer | None:
    """The customer that the shop knows under this id, also under one that was aliased to another."""
    statement = (
        select(Customer)
        .join(Identity, Identity.customer_id == Customer.id)
        .where(Identity.kind == IdKind.USER, Identity.value == user_id)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def customers_of(session: ReadSession, user_ids: Collection[str]) -> dict[str, UUID]:
    """The same for many ids, by our own ids of the customers. Relies on pk_identities."""
    statement = select(Identity.value, Identity.customer_id).where(
        Identity.kind == IdKind.USER, Identity.value.in_(user_ids)
    )
    return dict((await session.execute(statement)).all())


async def holder_of(session: ReadSession, anonymous_id: str) -> Customer | None:
    """Whose this anonymous id is: a visitor's whom nobody knows, or a customer's."""
    statement = (
        select(Customer)
        .join(Identity, Identity.customer_id == Customer.id)
        .where(Identity.kind == IdKind.ANONYMOUS, Identity.value == anonymous_id)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def external_ids(session: ReadSession, ids: Collection[UUID]) -> dict[UUID, str]:
    """The shop's own id of each customer; whoever has none is left out."""
    statement = select(Customer.id, Customer.external_id).where(among(Customer.id, ids))
    found = (await session.execute(statement)).all() if ids else []
    return {id_: name for id_, name in found if name is not None}


async def identities_of(session: ReadSession, customer_id: UUID) -> Sequence[Identity]:
    """The ids of one customer, the oldest first."""
    statement = (
        select(Identity).where(Identity.customer_id == customer_id).order_by(Identity.first_seen, Identity.value)
    )
    return (await session.execute(statement)).scalars().all()


async def erased_among(session: ReadSession, ids: Collection[UUID]) -> set[UUID]:
    """Those of these customers who were erased."""
    statement = select(Customer.id).where(Customer.id.in_(ids), Customer.erased_at.is_not(None))
    return set(await session.scalars(statement)) if ids else set()


async def known_ids(session: ReadSession, keys: Collection[Key]) -> dict[Key, KnownId]:
    """What is known of these ids. Relies on pk_identities."""
    found = await session.execute(_KNOWN, {"kinds": [key.kind for key in keys], "values": [key.value for key in keys]})
    return {Key(IdKind(row.kind), row.value): _known(row) for row in found}


async def hold(session: WriteSession, ids: Collection[UUID], until: datetime) -> None:
    """Nothing of these customers is routed before `until`: an event of theirs failed and is tried again then."""
    await session.execute(update(Customer).where(among(Customer.id, ids)).values(held_until=until))


_KNOWN = text("""
    SELECT kind, value, customer_id, first_seen, superseded, linked_at, linked_sent, linked_by, linked_trusted
    FROM unnest(CAST(:kinds AS text[]), CAST(:values AS text[])) AS wanted (kind, value)
    JOIN identities USING (kind, value)
""")


def _known(row: Any) -> KnownId:  # a row of _KNOWN
    linked = None if row.linked_at is None else Stamp(row.linked_at, *_link_of(row))
    return KnownId(row.customer_id, row.first_seen, linked, row.superseded, row.linked_trusted is not False)


def _link_of(row: Any) -> tuple[datetime, UUID]:
    try:
        return row.linked_sent or SENT_UNKNOWN, UUID(row.linked_by)
    except (TypeError, ValueError):  # a message id, of an earlier release
        return SENT_UNKNOWN, UUID(int=0)


async def user_ids(session: ReadSession, customer_ids: Collection[UUID]) -> dict[UUID, dict[str, KnownId]]:
    """The shop's own ids of each of these customers."""
    statement = select(Identity).where(among(Identity.customer_id, customer_ids), Identity.kind == IdKind.USER)
    found: dict[UUID, dict[str, KnownId]] = {id_: {} for id_ in customer_ids}
    for identity in (await session.execute(statement)).scalars():
        found[identity.customer_id][identity.value] = _known_of(identity)
    return found


async def user_id_counts(session: ReadSession, customer_ids: Collection[UUID]) -> dict[UUID, int]:
    """How many of the shop's own ids each of these customers has. Relies on ix_identities_customer_id."""
    statement = (
        select(Identity.customer_id, func.count())
        .where(among(Identity.customer_id, customer_ids), Identity.kind == IdKind.USER)
        .group_by(Identity.customer_id)
    )
    return {row[0]: row[1] for row in await session.execute(statement)} if customer_ids else {}


def _known_of(identity: Identity) -> KnownId:
    return KnownId(identity.customer_id, identity.first_seen, None, identity.superseded)


# Customers that are new with this batch. Their rows are ours alone until we commit, so this takes their locks too.
_CREATE = text("""
    INSERT INTO customers (id, first_seen, last_seen)
    SELECT id, seen, seen FROM unnest(CAST(:ids AS uuid[]), CAST(:seen AS timestamptz[])) AS new (id, seen)
""")

# Sorted by key, so that routers that meet the same new ids take the index entries in one order. A key that another
# transaction took meanwhile is not returned.
_ADD_IDS = text("""
    INSERT INTO identities (
        kind, value, customer_id, first_seen, superseded, linked_at, linked_sent, linked_by, linked_trusted
    )
    SELECT kind, value, customer_id, first_seen, superseded, linked_at, linked_sent, linked_by, linked_trusted
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        kind text, value text, customer_id uuid, first_seen timestamptz, superseded boolean,
        linked_at timestamptz, linked_sent timestamptz, linked_by text, linked_trusted boolean
    )
    ORDER BY kind, value
    ON CONFLICT (kind, value) DO NOTHING
    RETURNING kind, value
""")

# The owners of these ids are locked by the caller, and with them the ids.
_CHANGE_IDS = text("""
    UPDATE identities SET
        customer_id = r.customer_id, first_seen = r.first_seen, superseded = r.superseded,
        linked_at = r.linked_at, linked_sent = r.linked_sent, linked_by = r.linked_by,
        linked_trusted = r.linked_trusted
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        kind text, value text, customer_id uuid, first_seen timestamptz, superseded boolean,
        linked_at timestamptz, linked_sent timestamptz, linked_by text, linked_trusted boolean
    )
    WHERE identities.kind = r.kind AND identities.value = r.value
""")


async def create(session: WriteSession, first_seen: Mapping[UUID, datetime]) -> None:
    """Make customers, with the time of their first event."""
    if first_seen:
        await session.execute(_CREATE, {"ids": list(first_seen), "seen": list(first_seen.values())})


async def add_ids(session: WriteSession, ids: Mapping[Key, KnownId]) -> set[Key]:
    """Add new ids. Answers those that somebody else has added meanwhile, which are left alone."""
    if not ids:
        return set()
    added = await session.execute(_ADD_IDS, {"rows": _rows_of(ids)})
    return set(ids) - {Key(IdKind(row.kind), row.value) for row in added}


async def change_ids(session: WriteSession, ids: Mapping[Key, KnownId]) -> None:
    """Write ids that are known already, as they are now."""
    if ids:
        await session.execute(_CHANGE_IDS, {"rows": _rows_of(ids)})


def _rows_of(ids: Mapping[Key, KnownId]) -> str:
    rows = [
        {
            "kind": key.kind,
            "value": key.value,
            "customer_id": known.customer_id,
            "first_seen": known.first_seen,
            "superseded": known.superseded,
            "linked_at": known.linked and known.linked.timestamp,
            "linked_sent": known.linked and known.linked.sent,
            "linked_by": known.linked and known.linked.event_id,
            "linked_trusted": known.link_trusted if known.linked else None,
        }
        for key, known in ids.items()
    ]
    return orjson.dumps(rows).decode()


@dataclass(frozen=True, slots=True)
class ProfileWrite:
    """What a batch changed about one customer. `profile` is None where no event told anything about it."""

    id: UUID
    external_id: str | None
    first_seen: datetime
    last_seen: datetime
    last_number: int
    profile: Profile | None


# The rows are locked by the caller. Traits are written only where they changed: they may be large.
_WRITE = text("""
    UPDATE customers SET
        external_id = r.external_id,
        first_seen = r.first_seen, last_seen = r.last_seen, last_number = r.last_number, held_until = NULL,
        traits = CASE WHEN r.changed THEN r.traits ELSE customers.traits END,
        trait_times = CASE WHEN r.changed THEN r.trait_times ELSE customers.trait_times END,
        observed = CASE WHEN r.changed THEN r.observed ELSE customers.observed END,
        email = CASE WHEN r.changed THEN r.email ELSE customers.email END,
        zone = CASE WHEN r.changed THEN r.zone ELSE customers.zone END,
        locale = CASE WHEN r.changed THEN r.locale ELSE customers.locale END
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, external_id text, first_seen timestamptz, last_seen timestamptz, last_number bigint, changed boolean,
        traits jsonb, trait_times jsonb, observed jsonb, email text, zone text, locale text
    )
    WHERE customers.id = r.id
""")


async def write(session: WriteSession, writes: Iterable[ProfileWrite]) -> None:
    """Write customers that the caller has locked. Whoever was held goes on."""
    rows = [_row_of(each) for each in writes]
    if rows:
        await session.execute(_WRITE, {"rows": orjson.dumps(rows).decode()})


def _row_of(each: ProfileWrite) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": each.id,
        "external_id": each.external_id,
        "first_seen": each.first_seen,
        "last_seen": each.last_seen,
        "last_number": each.last_number,
        "changed": each.profile is not None,
    }
    if each.profile is not None:
        row |= {
            "traits": dict(each.profile.traits),
            "trait_times": dict(each.profile.trait_times),
            "observed": dict(each.profile.observed),
            "email": each.profile.email,
            "zone": each.profile.zone,
            "locale": each.profile.locale,
        }
    return row
