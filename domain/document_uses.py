"""What documents need of each other while they are live: rewards that they give, challenges that they require.

What journeys need: domain/journeys/uses.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from domain.challenges.definition import ChallengeDefinition
from domain.contests.definition import ContestDefinition
from domain.document import Document
from domain.programmes.definition import ProgrammeDefinition


class DocumentUse(NamedTuple):
    """A document that is needed, and where it is named (a JSON pointer)."""

    kind: str  # reward | challenge
    key: str
    pointer: str


def uses_of_document(document: Document) -> Iterator[DocumentUse]:
    """In the order in which they are written; documents of other kinds need nothing."""
    match document:
        case ProgrammeDefinition(referral=referral) if referral is not None:
            for side, gain in (("referrer", referral.referrer), ("referee", referral.referee)):
                yield from _reward(None if gain is None else gain.reward, f"/referral/{side}")
        case ChallengeDefinition(levels=levels, leaderboard=leaderboard, requires=requires):
            for position, level in enumerate(levels):
                yield from _reward(level.reward, f"/levels/{position}")
            for position, prize in enumerate(leaderboard.prizes if leaderboard else []):
                yield from _reward(prize.reward, f"/leaderboard/prizes/{position}")
            for position, key in enumerate(requires):
                yield DocumentUse("challenge", key, f"/requires/{position}")
        case ContestDefinition(prizes=prizes):
            for position, place in enumerate(prizes):
                yield from _reward(place.reward, f"/prizes/{position}")
        case _:
            pass


def _reward(key: str | None, pointer: str) -> Iterator[DocumentUse]:
    if key is not None:
        yield DocumentUse("reward", key, f"{pointer}/reward")
