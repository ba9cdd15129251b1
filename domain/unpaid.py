"""Why a rule of the programme paid nothing, or less than it came to."""

from __future__ import annotations

from enum import StrEnum


class Unpaid(StrEnum):
    """Why a rule paid nothing. Under `clipped` it paid less than it would have.

    `edited`: later edits left nothing of the order. `edit_window_over`: an edit that came too late to count.
    """

    WHERE = "where"
    CONDITION = "condition"
    VERIFY = "needs_verification"
    CURRENCY = "currency_mismatch"
    AMOUNT = "no_amount"
    NOTHING = "rounds_to_nothing"
    ONCE = "already_earned"
    LIMIT = "limit_reached"
    CLIPPED = "clipped"
    GUEST = "guest"
    UNTRUSTED = "untrusted"
    HISTORY = "imported"
    EDITED = "edited"
    EDITED_LATE = "edit_window_over"


TAKES_ITS_OCCASION = (None, Unpaid.CLIPPED, Unpaid.LIMIT, Unpaid.EDITED)
"""What is decided for good: the same order is not judged again. Anything else may still earn by a later event."""
