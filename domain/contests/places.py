"""The places of a draw: who wins, who follows whom, and what became of those who may not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID


class PlaceState(StrEnum):
    """What a place is worth."""

    WON = "won"
    ALTERNATE = "alternate"
    DISQUALIFIED = "disqualified"


class Disqualification(StrEnum):
    """Why somebody may not win; published with the proof, so no free text."""

    INELIGIBLE = "ineligible"
    UNREACHABLE = "unreachable"
    DECLINED = "declined"
    FRAUD = "fraud"
    SAME_PERSON = "same_person"  # two lines of the list turned out to be one customer
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Place:
    """One place in the order drawn. `prize_place`: whose prize a winner gets, from 1."""

    place: int
    entry_id: UUID
    state: PlaceState = PlaceState.ALTERNATE
    prize_place: int | None = None
    reason: Disqualification | None = None


def settle(places: Sequence[Place], winners: int) -> list[Place]:
    """Let the first who are not disqualified win. Who has won keeps the prize; the next takes the first free one."""
    ordered = sorted(places, key=lambda each: each.place)
    taken = {each.prize_place for each in ordered if each.state is PlaceState.WON}
    free = [number for number in range(1, winners + 1) if number not in taken]
    settled = []
    for each in ordered:
        if each.state is PlaceState.ALTERNATE and free:
            each = replace(each, state=PlaceState.WON, prize_place=free.pop(0))  # noqa: PLW2901  the place, promoted
        settled.append(each)
    return settled


def disqualify(places: Sequence[Place], entry_ids: Collection[UUID], reason: Disqualification) -> list[Place]:
    """Take places out. Whoever is out already keeps the first reason."""
    return [
        replace(each, state=PlaceState.DISQUALIFIED, prize_place=None, reason=reason)
        if each.entry_id in entry_ids and each.state is not PlaceState.DISQUALIFIED
        else each
        for each in places
    ]
