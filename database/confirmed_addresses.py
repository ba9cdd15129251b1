"""Which addresses that only browsers named take messages of value: those named before a trusted source knew whose.

Anybody can name an address in anybody's name, and then answer from it. Computed from what is stored, so it is the same
for any order of routing, and after merges.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text

from database.consent import MailboxAnswer
from database.customers import Customer
from database.secrets import PSEUDONYMS, known_secret
from database.session import ReadSession
from domain.addresses import TRAIT_OF_CHANNEL, Standing, address_of, is_trusted_address
from domain.journeys.value import EVENTS_OF_VALUE
from domain.pseudonyms import address_pseudonym

# The addresses that a user id was given before the first trusted event that named it: by receipt, since a browser may
# claim any time. What a guest named counts from when a browser says who that is, or at once where a trusted source
# does; it comes first where it came before all that is known of the customer. Relies on ix_events_customer_name.
_NAMED_FIRST = text("""
    WITH named AS (
        SELECT events.customer_id, events.user_id, events.traits -> CAST(:trait AS text) AS address, events.id,
            CASE WHEN coalesce(links.linked_trusted, true) THEN events.received_at
            ELSE greatest(events.received_at, links.linked_at) END AS at
        FROM events LEFT JOIN identities AS links
            ON events.user_id IS NULL AND links.kind = 'anonymous' AND links.value = events.anonymous_id
        WHERE events.customer_id = ANY(CAST(:customers AS uuid[])) AND events.name = 'Identified'
            AND events.kind = 'identify' AND events.traits ? CAST(:trait AS text)
    ), known AS MATERIALIZED (
        SELECT DISTINCT ON (customer_id, user_id) customer_id, user_id, timestamp AS at, id
        FROM (
            SELECT customer_id, user_id, timestamp, id FROM events
            WHERE customer_id = ANY(CAST(:customers AS uuid[])) AND trusted AND user_id IS NOT NULL
                AND (own IS NOT TRUE OR name = ANY(CAST(:of_value AS text[])))
            UNION ALL
            SELECT customer_id, previous_id, timestamp, id FROM events
            WHERE customer_id = ANY(CAST(:customers AS uuid[])) AND name = 'Aliased' AND kind = 'alias' AND trusted
        ) AS trusted
        ORDER BY customer_id, user_id, timestamp, id
    )
    SELECT DISTINCT customer_id, address FROM named
    WHERE NOT EXISTS (
        SELECT FROM known
        WHERE known.customer_id = named.customer_id AND (named.user_id IS NULL OR known.user_id = named.user_id)
            AND (known.at, known.id) < (named.at, named.id)
    )
""")

# Relies on ix_messages_created_at.
_WITHHELD = text("""
    SELECT coalesce(customers.external_id, customers.id::text) AS who, count(*) AS times,
        max(messages.created_at) AS last
    FROM messages JOIN customers ON customers.id = messages.customer_id
    WHERE messages.created_at >= :since AND messages.reason = 'address_unconfirmed'
    GROUP BY customers.id
    ORDER BY last DESC
    LIMIT :limit
""")


async def named_first(
    session: ReadSession, key: bytes, channel: str, present: Mapping[UUID, bytes]
) -> Collection[UUID]:
    """Those of these customers (with the hash of their address) whose address was named before they were known."""
    if not present:
        return set()
    trait = TRAIT_OF_CHANNEL[channel]
    asked = {"customers": sorted(present), "trait": trait, "of_value": sorted(EVENTS_OF_VALUE)}
    return {
        row.customer_id
        for row in await session.execute(_NAMED_FIRST, asked)
        if (named := address_of({trait: row.address}, channel)) is not None
        and address_pseudonym(key, channel, named) == present[row.customer_id]
    }


async def standing_of(session: ReadSession, customer: Customer, channel: str) -> Standing | None:
    """How far a customer's present address is confirmed; None without one."""
    return (await standings_of(session, [customer], channel)).get(customer.id)


async def standings_of(session: ReadSession, customers: Collection[Customer], channel: str) -> dict[UUID, Standing]:
    """The same for many customers; those without an address are left out."""
    standings: dict[UUID, Standing] = {}
    doubted: dict[UUID, str] = {}
    for each in customers:
        if (address := address_of(each.traits, channel)) is None:
            continue
        is_trusted = is_trusted_address(each.traits, each.trait_times, channel)
        standings[each.id] = Standing.TRUSTED if is_trusted else Standing.UNANSWERED
        if not is_trusted:
            doubted[each.id] = address
    key = await known_secret(session, PSEUDONYMS) if doubted else None
    if key is None:  # nobody has ever answered
        return standings
    hashes = {id_: address_pseudonym(key, channel, address) for id_, address in doubted.items()}
    answers = select(MailboxAnswer.customer_id, MailboxAnswer.address_hash).where(
        MailboxAnswer.customer_id.in_(hashes), MailboxAnswer.channel == channel
    )
    answered = {id_: found for id_, found in await session.execute(answers) if hashes[id_] == found}
    first = await named_first(session, key, channel, answered)
    return standings | {id_: Standing.ANSWERED if id_ in first else Standing.NAMED_LATE for id_ in answered}


async def withheld_since(session: ReadSession, since: datetime, limit: int) -> Sequence[str]:
    """Customers whose messages of value went nowhere for want of a confirmed address, the latest first."""
    rows = await session.execute(_WITHHELD, {"since": since, "limit": limit})
    return [
        f"{row.who}: {row.times} withheld, last {row.last:%Y-%m-%d}: send traits.email from your backend"
        for row in rows
    ]
