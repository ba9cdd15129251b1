"""What a programme's outstanding points will cost, for finance."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.auth import requires
from api.dependencies import AsOf, Reading
from api.money import MoneyAnswer
from api.point_answers import LiabilityAnswer, RateAnswer
from api.routing import ApiRoute
from database.point_figures import figures
from database.programmes import live_programme
from domain.documents import DOCUMENT_KEY
from domain.errors import NotFound
from domain.instants import Instant
from domain.keys import Scope
from domain.liability import expected_redemption, liability

router = APIRouter(tags=["points"], route_class=ApiRoute)


@router.get(
    "/v1/programmes/{key}/liability",
    dependencies=[requires(Scope.LOYALTY_READ)],
    summary="What outstanding points will cost",
)
async def get_liability(
    *,
    key: Annotated[str, Path(pattern=DOCUMENT_KEY)],
    session: Reading,
    as_of: AsOf,
    from_: Annotated[Instant | None, Query(alias="from", description="Null: from the beginning.")] = None,
    to: Annotated[Instant | None, Query(description="Null: until now.")] = None,
) -> LiabilityAnswer:
    """Points issued, redeemed, expired and reversed, breakage, and the liability, from the ledger's own entries."""
    programme = await live_programme(session)
    if programme is None or programme.key != key:
        raise NotFound("No live programme has this key.")
    until = to or as_of
    found = await figures(session, key, from_, until)
    terms = programme.definition.points
    expected = expected_redemption(found.ended_redeemed, found.ended_expired)
    cost = Fraction(str(terms.cost_share)) * terms.value.amount if terms.value else None
    return LiabilityAnswer(
        programme=key,
        from_=from_,
        to=until,
        zone=str(programme.zone),
        issued=found.issued,
        redeemed=found.redeemed,
        expired=found.expired,
        reversed=found.reversed,
        outstanding=found.outstanding,
        redemption_rate=RateAnswer.of(found.redeemed, found.issued),
        breakage_realised=RateAnswer.of(found.expired, found.issued),
        expected_redemption_rate=RateAnswer.of(found.ended_redeemed, found.ended_redeemed + found.ended_expired),
        liability=MoneyAnswer(amount=liability(found.outstanding, cost, expected), currency=terms.value.currency)
        if terms.value and cost is not None
        else None,
    )
