"""What follows from events, in order. A new consequence of events is one function here, with one signature.

Each reaction gets a wave and works on all of its events at once. What it writes is there for the reactions after it:
profile and identity, then what is projected, then (later) points, challenges and segments, and journeys last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from triggers.batch import Wave
from triggers.challenges import follow_challenges
from triggers.commerce import project_commerce
from triggers.consent import record_consents
from triggers.contests import follow_contests
from triggers.coupons import follow_coupons
from triggers.dates import keep_dates
from triggers.earning import earn_points
from triggers.journeys import react_in_journeys
from triggers.maturing import mature_points
from triggers.profiles import fold_profiles
from triggers.referrals import follow_referrals
from triggers.refunds import follow_refunds
from triggers.shares import follow_shares
from triggers.tiers import weigh_tiers

Reaction = Callable[[Wave], Awaitable[None]]

REACTIONS: tuple[Reaction, ...] = (
    *(fold_profiles, record_consents, project_commerce, keep_dates),
    mature_points,
    earn_points,
    follow_refunds,
    follow_coupons,
    weigh_tiers,
    follow_referrals,
    follow_shares,
    follow_challenges,
    follow_contests,
    react_in_journeys,
)
