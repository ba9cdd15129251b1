"""What is asked of contests, and how entries and proofs are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from database.contests import ContestDraw, ContestEntry, ContestPlace
from domain.challenges.definition import KeyText
from domain.conditions.operators import NameText, Text
from domain.contests.definition import ContestDefinition
from domain.contests.draws import ALGORITHM, read_list
from domain.contests.places import Disqualification, PlaceState


class ContestEnterWish(BaseModel):
    """Who enters by which rule of those that have no event; the only one if none is named.

    `reference`: what the shop calls this entry; the same one enters once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    customer_id: Annotated[str, Field(min_length=1, max_length=1_000)]
    rule: KeyText | None = None
    reference: NameText | None = None


class ContestEnterAnswer(BaseModel):
    """The entry, and all chances that the customer has now. `repeated`: this reference had entered before."""

    contest: str
    rule: str
    entries: int
    chances: int
    repeated: bool = False


class DrawWish(BaseModel):
    """`freeze`: only close the contest and publish the hash of its list. `beacon`: the value that was announced."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    freeze: bool = False
    beacon: Annotated[Text, Field(min_length=1)] | None = None


class DisqualifyWish(BaseModel):
    """Which line of the list may not win, and why; both are published."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entry_id: UUID
    reason: Disqualification


class PlaceAnswer(BaseModel):
    """One place in the order drawn. `prize_place`: whose prize it is."""

    place: int
    entry_id: UUID
    state: PlaceState
    prize_place: int | None
    reason: Disqualification | None

    @classmethod
    def of(cls, row: ContestPlace) -> Self:
        """From a row."""
        return cls(
            place=row.place,
            entry_id=row.entry_id,
            state=PlaceState(row.state),
            prize_place=row.prize_place,
            reason=Disqualification(row.reason) if row.reason else None,
        )


class EntryAnswer(BaseModel):
    """One entry, for the shop's own people. `source`: the order, event or call that entered."""

    customer_id: str = Field(description="The shop's own id of the customer, else ours.")
    rule: str
    source: str
    entries: int
    at: AwareDatetime

    @classmethod
    def of(cls, row: ContestEntry, customer_id: str) -> Self:
        """From a row and whose it is."""
        return cls(customer_id=customer_id, rule=row.rule, source=row.source, entries=row.entries, at=row.at)


class RuleTotal(BaseModel):
    """How many people entered by a rule, how often, and the chances that they have by it."""

    rule: str
    people: int
    times: int
    chances: int


class ContestTotals(BaseModel):
    """What came in so far, in all and by rule. What the list is drawn from counts each person once, within the rules'
    limits: `people` and `weight` of the proof.
    """

    contest: str
    people: int
    times: int
    chances: int
    rules: list[RuleTotal]


class WinnerAnswer(PlaceAnswer):
    """One place and who stands behind it, for the shop's own people: the proof names nobody."""

    customer_id: str | None = Field(description="The shop's own id of the customer, else ours; null once erased.")
    weight: int | None
    prize: dict[str, Any] | None = Field(
        description="What a winner gets, by the version that the list was frozen under."
    )
    due_at: AwareDatetime | None = Field(description="When the prize is given; until then, another can win.")
    given_at: AwareDatetime | None


class Winners(BaseModel):
    """All places in the order drawn: winners, alternates and the disqualified."""

    contest: str
    drawn_at: AwareDatetime | None
    data: list[WinnerAnswer]


class DrawProof(BaseModel):
    """Everything that it takes to recompute a draw, as far as it is published yet."""

    contest: str
    algorithm: str = ALGORITHM
    winners: int
    alternates: int
    commitment: str
    beacon_source: str | None
    opened_at: AwareDatetime
    frozen_at: AwareDatetime | None
    list_hash: str | None
    people: int | None
    weight: int | None
    list: str | None
    drawn_at: AwareDatetime | None
    secret: str | None
    beacon: str | None
    seed: str | None
    places: Sequence[PlaceAnswer]

    @classmethod
    def of(cls, row: ContestDraw, definition: ContestDefinition, places: Sequence[ContestPlace]) -> Self:
        """The secret is shown once the draw is made, and not before."""
        tickets = None if row.list is None else read_list(row.list)
        return cls(
            contest=row.contest,
            winners=definition.winners,
            alternates=definition.alternates,
            commitment=row.commitment,
            beacon_source=definition.beacon,
            opened_at=row.opened_at,
            frozen_at=row.frozen_at,
            list_hash=row.list_hash,
            people=None if tickets is None else len(tickets),
            weight=None if tickets is None else sum(ticket.weight for ticket in tickets),
            list=row.list,
            drawn_at=row.drawn_at,
            secret=row.secret.hex() if row.drawn_at else None,
            beacon=row.beacon,
            seed=row.seed,
            places=[PlaceAnswer.of(place) for place in places],
        )
