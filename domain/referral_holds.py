"""What the workflow of a referral's hold and its activities say to each other: ids and times only."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from domain.runs import Wire

REFERRAL_HOLD: Final = "ReferralHold"


class ReferralHold(Wire):
    """One referral and when its hold ends."""

    referral_id: UUID
    due_at: datetime


class ReferralDue(Wire):
    """One referral whose hold is over as of a moment."""

    referral_id: UUID
    as_of: datetime
