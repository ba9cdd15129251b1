"""Two customers who are one person: every row of the loser passes to the survivor, and a tombstone stays.

Which tables there are is read from the metadata (every column named `customer_id`), so a new table cannot be forgotten.
What two rows under one key become is said here per table; where nothing is said, the survivor's row stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint, delete, exists, select, text, update
from sqlalchemy import Table as SqlTable

from database.base import Table
from database.customers import Customer
from database.points import merge_accounts
from database.session import WriteSession

RENUMBERED = ("events", "runs")
"""Tables whose rows carry the customer's routing numbers."""

# How far the waits of the loser's runs have looked: what came later must stay unseen. Runs that stand at a wait have
# seen everything: what comes next is matched by the router.
_SEEN = text("""
    SELECT coalesce(min(runs.seen_number), max(customers.last_number)) AS seen, max(customers.last_number) AS last
    FROM customers
    LEFT JOIN runs ON runs.customer_id = customers.id AND runs.state = 'active' AND NOT EXISTS (
        SELECT FROM waits WHERE waits.run_id = runs.id AND waits.status = 'waiting'
    )
    WHERE customers.id = :loser
""")

# Seen events sort before all of the survivor's, so that no wait takes the joined history for news; unseen ones after
# (decision 0007).
_RENUMBER_EVENTS = text("""
    UPDATE events SET customer_id = :survivor, number = number - :seen + CASE WHEN number <= :seen THEN 0 ELSE :last END
    WHERE customer_id = :loser
""")

# An occasion that both had was two people's until now: the loser's run keeps its own, under another name.
_RENUMBER_RUNS = text("""
    UPDATE runs SET
        customer_id = :survivor,
        seen_number = greatest(seen_number - :seen, 0) + :last,
        entry_number = entry_number - :seen + CASE WHEN entry_number <= :seen THEN 0 ELSE :last END,
        occasion = CASE WHEN EXISTS (
            SELECT FROM runs AS kept
            WHERE kept.customer_id = :survivor AND kept.journey = runs.journey AND kept.occasion = runs.occasion
        ) THEN runs.occasion || ' (merged ' || runs.id || ')' ELSE runs.occasion END
    WHERE customer_id = :loser
""")

_SUM_VIEWS = text("""
    UPDATE product_views AS kept
    SET views = kept.views + gone.views, viewed_at = greatest(kept.viewed_at, gone.viewed_at)
    FROM product_views AS gone
    WHERE kept.customer_id = :survivor AND gone.customer_id = :loser AND gone.product_id = kept.product_id
""")

_KEEP_LATER_CARTS = text("""
    DELETE FROM carts AS kept USING carts AS gone
    WHERE kept.customer_id = :survivor AND gone.customer_id = :loser AND gone.cart_id = kept.cart_id
      AND (gone.changed_at, gone.changed_sent, gone.changed_by)
        > (kept.changed_at, kept.changed_sent, kept.changed_by)
""")

# Tiers follow from what both have earned together: the survivor is weighed again in the wave that merged them.
_WEIGH_AGAIN = text("UPDATE tier_standings SET due_at = to_timestamp(0) WHERE customer_id IN (:survivor, :loser)")
_FORGET_TIERS = text("DELETE FROM tier_memberships WHERE customer_id = :loser")

# Who asked for restriction of processing under either id has it under both.
_RESTRICT_BOTH = text("""
    UPDATE customers AS kept SET restricted_at = least(kept.restricted_at, gone.restricted_at)
    FROM customers AS gone
    WHERE kept.id = :survivor AND gone.id = :loser AND gone.restricted_at IS NOT NULL
""")

# The tombstone keeps no personal data: what it held is in the survivor's profile.
_BURY = text("""
    UPDATE customers SET
        merged_into = :survivor, external_id = NULL, email = NULL, zone = NULL, locale = NULL,
        traits = '{}', trait_times = '{}', observed = '{}', held_until = NULL, restricted_at = NULL
    WHERE id = :loser
""")


async def merge(session: WriteSession, loser: UUID, survivor: UUID, as_of: datetime) -> None:
    """Pass everything of `loser` to `survivor`, but for the profile, which the caller folds. Both are locked."""
    who = {"loser": loser, "survivor": survivor}
    seen, ours = (await session.execute(_SEEN, {"loser": loser})).one()
    last = await session.scalar(select(Customer.last_number).where(Customer.id == survivor)) or 0
    await session.execute(_RENUMBER_EVENTS, {**who, "seen": seen, "last": last})
    await session.execute(_RENUMBER_RUNS, {**who, "seen": seen, "last": last})
    await session.execute(
        update(Customer).where(Customer.id == survivor).values(last_number=Customer.last_number + ours - seen)
    )
    await session.execute(_SUM_VIEWS, who)
    await session.execute(_KEEP_LATER_CARTS, who)
    await session.execute(_WEIGH_AGAIN, who)
    await session.execute(_RESTRICT_BOTH, who)
    await session.execute(_FORGET_TIERS, {"loser": loser})
    for table in repointed_tables():
        await _repoint(session, table, loser, survivor)
    await merge_accounts(session, loser, survivor, as_of)
    await session.execute(_BURY, who)


def occasion_before_merge(occasion: str, run_id: UUID) -> str:
    """What a run is about, without the other name that a merge gave to an occasion that both customers had."""
    return occasion.removesuffix(f" (merged {run_id})")


def repointed_tables() -> Sequence[SqlTable]:
    """All tables with rows of a customer, except those that are renumbered at the same time."""
    tables = Table.metadata.sorted_tables
    return [table for table in tables if "customer_id" in table.columns and table.name not in RENUMBERED]


async def _repoint(session: WriteSession, table: SqlTable, loser: UUID, survivor: UUID) -> None:
    for columns in _keys_with_customer(table):
        kept = table.alias()
        others = [name for name in columns if name != "customer_id"]
        twin = exists().where(kept.c.customer_id == survivor, *(kept.c[name] == table.c[name] for name in others))
        await session.execute(delete(table).where(table.c.customer_id == loser, twin))
    await session.execute(update(table).where(table.c.customer_id == loser).values(customer_id=survivor))


def _keys_with_customer(table: SqlTable) -> list[list[str]]:
    """The unique keys of a table that a customer is part of."""
    constraints = [each for each in table.constraints if isinstance(each, PrimaryKeyConstraint | UniqueConstraint)]
    named = [[column.name for column in each.columns] for each in constraints]
    named += [[column.name for column in index.columns] for index in table.indexes if index.unique]
    return [columns for columns in named if "customer_id" in columns]
