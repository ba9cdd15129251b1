"""Orders of people who came by a shared link: whoever shared it hears of the first one."""

from __future__ import annotations

from database.share_verifying import note_order
from database.shares import lock_share, share_by
from domain.commerce import ORDER_COMPLETED
from triggers.batch import BatchEvent, Wave

PROPERTY = "share"
"""In which `Order Completed` names the token that the visitor came with (`?share=` of the page they landed on)."""


async def follow_shares(wave: Wave) -> None:
    """Note the wave's orders that name a link of somebody else's."""
    for event in wave.events:
        if token := _token_of(event):
            found = await share_by(wave.session, token)
            if found is not None and found.customer_id != event.customer.id:
                share = await lock_share(wave.session, found.id)
                if share is not None:
                    await note_order(wave.session, share, wave.as_of)


def _token_of(event: BatchEvent) -> str | None:
    token = event.event.properties.get(PROPERTY)
    is_order = event.event.name == ORDER_COMPLETED and event.counts_for_value and not event.is_history
    return token if is_order and isinstance(token, str) else None
