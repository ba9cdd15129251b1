"""Who is who, as the database ends up: merges, shared browsers, tombstones, and that no table is forgotten."""

from __future__ import annotations

from sqlalchemy import Table as SqlTable
from sqlalchemy import select

from database.customers import Customer
from database.merging import RENUMBERED, merge, repointed_tables
from database.tables import metadata
from domain.events import EventKind
from tests.triggers.shop import Shop, abandoned_cart


async def test_an_anonymous_history_joins_the_customer_and_leaves_an_empty_tombstone(shop: Shop) -> None:
    await shop.identify({"plan": "gold"}, user_id="u-1")
    await shop.identify({"email": "ann@shop.example", "plan": "basic"}, anonymous_id="a", timestamp=shop.now)
    await shop.track("Page Viewed", anonymous_id="a")
    await shop.identify(user_id="u-1", anonymous_id="a")
    customer = await shop.customer()
    assert customer.traits == {"email": "ann@shop.example", "plan": "basic"}
    assert [event.number for event in await shop.events_of(customer.id)] == [-1, 0, 1, 2]
    async with shop.database.read() as session:
        tombstone = (await session.execute(select(Customer).where(Customer.merged_into == customer.id))).scalar_one()
    assert (tombstone.traits, tombstone.email, tombstone.external_id) == ({}, None, None)


async def test_a_shared_browser_never_makes_two_users_one(shop: Shop) -> None:
    await shop.track("Page Viewed", anonymous_id="family")
    await shop.identify(user_id="ann", anonymous_id="family")
    await shop.identify(user_id="bob", anonymous_id="family")
    await shop.track("Page Viewed", anonymous_id="family")
    ann, bob = await shop.customer("ann"), await shop.customer("bob")
    assert ann.id != bob.id
    assert [event.name for event in await shop.events_of(ann.id)] == ["Page Viewed", "Identified", "Page Viewed"]
    assert [event.name for event in await shop.events_of(bob.id)] == ["Identified"]


async def test_an_earlier_link_that_comes_late_takes_the_history_with_it(shop: Shop) -> None:
    early = shop.now
    shop.later(hours=1)
    await shop.identify({"email": "ann@shop.example"}, anonymous_id="family")
    await shop.track("Product Viewed", {"product_id": "p"}, anonymous_id="family")
    await shop.identify(user_id="bob", anonymous_id="family")
    assert (await shop.customer("bob")).email == "ann@shop.example"
    await shop.identify(user_id="ann", anonymous_id="family", timestamp=early)
    ann, bob = await shop.customer("ann"), await shop.customer("bob")
    assert (ann.email, bob.email) == ("ann@shop.example", None)
    assert [event.name for event in await shop.events_of(bob.id)] == ["Identified"]


async def test_alias_makes_two_users_one_and_the_new_name_counts(shop: Shop) -> None:
    await shop.identify({"a": 1}, user_id="old")
    await shop.identify({"b": 2}, user_id="new")
    for _ in range(2):
        await shop.post(shop.event(kind=EventKind.ALIAS, user_id="new", previous_id="old"))
        await shop.route()
    customer = await shop.customer("old")
    assert (customer.external_id, customer.traits) == ("new", {"a": 1, "b": 2})
    assert await shop.customer_count() == 1


async def test_an_alias_to_itself_says_nothing(shop: Shop) -> None:
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="u-1", previous_id="u-1"))
    await shop.route()
    assert (await shop.customer("u-1")).external_id == "u-1"


async def test_a_late_trait_never_undoes_a_later_one_and_null_deletes(shop: Shop) -> None:
    earlier = shop.now
    shop.later(hours=1)
    await shop.identify({"plan": "gold", "city": None})
    await shop.identify({"plan": "basic", "city": "Rome", "size": "M"}, timestamp=earlier)
    assert (await shop.customer()).traits == {"plan": "gold", "size": "M"}


def test_every_table_with_rows_of_customers_is_passed_on_in_a_merge() -> None:
    passed_on = {table.name for table in repointed_tables()} | set(RENUMBERED)
    naming = {table.name for table in metadata.sorted_tables if "customer_id" in table.columns}
    assert naming == passed_on
    assert all(_refers_by_that_name(table) for table in metadata.sorted_tables)


def _refers_by_that_name(table: SqlTable) -> bool:
    """A reference to customers under another name would be forgotten."""
    keys = [key for key in table.foreign_keys if key.column.table.name == "customers"]
    return all(key.parent.name == "customer_id" for key in keys)


async def test_a_merge_keeps_both_runs_of_one_occasion_and_what_runs_have_seen(shop: Shop) -> None:
    await shop.publish(abandoned_cart())
    for user in ("one", "two"):
        await shop.track("Page Viewed", user_id=user)
        await shop.track("Product Added", {"cart_id": "c"}, user_id=user)
        await shop.track("Page Viewed", user_id=user)
    survivor, loser = await shop.customer("one"), await shop.customer("two")
    async with shop.database.transaction() as session:
        await merge(session, loser.id, survivor.id, loser.last_seen)
    runs = {run.id: run for run in await shop.runs()}
    kept, passed = sorted(runs.values(), key=lambda run: len(run.occasion))
    assert (kept.occasion, kept.seen_number) == ("c", 2)
    assert passed.occasion.startswith("c (merged ")
    numbers = [event.number for event in await shop.events_of(survivor.id)]
    assert numbers == [-1, 0, 1, 2, 3, 4]  # what the passed run had seen, then ours, then what it had not
    assert passed.seen_number == 3
