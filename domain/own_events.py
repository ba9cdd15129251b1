"""The names of the product's own events. Only `events.own` makes an event one of them; a name alone never does.

Under these names the shop may report events of its own. Nothing that journeys and shares say to record may bear them:
it would be read as the product's word.
"""

from __future__ import annotations

from typing import Final

from domain.lookalikes import look

OWN_EVENTS: Final = frozenset(
    {
        *("Challenge Completed", "Challenge Recount Requested", "Challenge Revoked", "Community Level Reached"),
        *("Leaderboard Finished", "Contest Won"),
        *("Email Bounced", "Email Delivered", "Email Link Clicked", "Email Marked as Spam", "Email Opened"),
        *("Unsubscribed", "Journey Entry Due", "Journey Start Requested", "Merge Requested", "Order Revised"),
        *("Points Expiring", "Points Fell Below", "Points Reached", "Tier Left", "Tier Reached"),
        *("Referral Claimed", "Referral Clicked", "Referral Expired", "Referral Invited", "Referral Qualified"),
        *("Referral Rejected", "Referral Revoked", "Referral Rewarded"),
        *("Reward Cancelled", "Reward Expired", "Reward Fulfilled", "Reward Issued", "Reward Redeemed"),
        *("Share Ordered", "Share Verified", "Submission Approved", "Submission Rejected"),
    }
)
_LOOKS: Final = frozenset(look(name) for name in OWN_EVENTS)


def is_own_name(name: str) -> bool:
    """Whether an event of this name would be read as one of the product's own."""
    return look(name) in _LOOKS
