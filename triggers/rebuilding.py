"""Customers folded again from their events, after an anonymous history passed from one to another."""

from __future__ import annotations

from collections.abc import Iterable

from database import histories
from database.routing import PendingEvent
from database.session import WriteSession
from domain.commerce import CommerceEvent
from domain.customers import Profile, fold_traits, observe
from domain.events import EventKind
from domain.shop_settings import ShopSettings
from triggers.batch import BatchCustomer
from triggers.commerce import is_commerce, project_behaviour


async def rebuild(session: WriteSession, customers: Iterable[BatchCustomer], shop: ShopSettings) -> None:
    """Fold profiles, views and carts of locked customers again. Runs stay: a sent mail cannot be unsent."""
    affected = sorted(customers, key=lambda customer: customer.id)
    await histories.forget(session, [customer.id for customer in affected])
    for customer in affected:
        await _refold(session, customer, shop)


async def _refold(session: WriteSession, customer: BatchCustomer, shop: ShopSettings) -> None:
    customer.profile, customer.told = Profile(), True
    doubted = await histories.doubted_visitors(session, customer.id)
    is_first = True
    async for page in histories.history(session, customer.id):
        if is_first:
            customer.first_seen = customer.last_seen = page[0].timestamp
            is_first = False
        for event in page:
            _fold(customer, event, doubted)
        await project_behaviour(session, [_commerce(customer, each) for each in page if is_commerce(each.name)], shop)


def _fold(customer: BatchCustomer, event: PendingEvent, doubted: frozenset[str]) -> None:
    customer.seen_at(event.timestamp)
    if event.kind == EventKind.IDENTIFY:
        named = event.naming
        trusted = event.trusted and (named.user_id is not None or named.anonymous_id not in doubted)
        fold = fold_traits(customer.profile, event.traits, event.stamp, trusted=trusted)
        customer.profile = fold.profile
    customer.profile = observe(customer.profile, event.context, event.stamp, trusted=event.trusted)


def _commerce(customer: BatchCustomer, event: PendingEvent) -> CommerceEvent:
    return CommerceEvent(event.id, event.name, customer.id, event.stamp, event.properties, event.trusted)
