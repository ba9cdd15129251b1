"""What the product tells members about challenges as events of theirs, so that the router acts under their lock."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from domain.challenges.definition import ChallengePrize, Prize
from domain.challenges.facts import COMPLETED

RECOUNT_REQUESTED = "Challenge Recount Requested"
COMMUNITY_REACHED = "Community Level Reached"
RANKED = "Leaderboard Finished"
ALL = frozenset({RECOUNT_REQUESTED, COMMUNITY_REACHED, RANKED, COMPLETED})


class Errand(StrEnum):
    """Why many members are told something."""

    RECOUNT = "recount"
    COMMUNITY = "community"
    LEADERBOARD = "leaderboard"


def prize_as_json(prize: Prize) -> dict[str, Any]:
    """What a prize gives, as the event carries it: the definition may have changed when the event is routed."""
    return prize.model_dump(mode="json", include=set(ChallengePrize.model_fields), exclude_none=True)


def credit_key(challenge: str, version: int, period: str, level: str, member: str) -> str:
    """The natural key of a credit: the ledger gives it once, whoever asks how often."""
    return f"challenge/{challenge}/{version}/{period}/{level}/{member}"
