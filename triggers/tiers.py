"""Tiers: whoever earned, ordered or gave back rises at once; whose period has ended falls before journeys look."""

from __future__ import annotations

from database.tier_weighing import due_among, weigh
from database.tiers import ladder_by
from triggers.batch import BatchCustomer, Wave
from triggers.refunds import tells_of_orders


async def weigh_tiers(wave: Wave) -> None:
    """Weigh the customers of the wave whose tier may have changed."""
    ladder = ladder_by(wave.programmes, wave.shop.currency)
    if ladder is None:
        return
    touched = {
        event.customer.id
        for event in wave.events
        if event.identifies or event.vouches or event.event.name in ladder.earning_events or tells_of_orders(event)
    }
    touched |= set(await due_among(wave.session, [customer.id for customer in wave.customers()], wave.as_of))
    if touched:
        quiet = {customer.id for customer in wave.customers() if _is_history(wave, customer)}
        await weigh(wave.session, ladder, touched, wave.as_of, quiet=quiet)


def _is_history(wave: Wave, customer: BatchCustomer) -> bool:
    """Imported history starts nothing unless it is to."""
    theirs = [event for event in wave.events if event.customer is customer]
    return bool(theirs) and not any(event.may_enter for event in theirs)
