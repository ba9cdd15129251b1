"""Conditions on points and tiers in SQL, by the programme that is live; without one they count as missing."""

from __future__ import annotations

from typing import assert_never

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Numeric,
    Text,
    and_,
    case,
    cast,
    column,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import aliased

from database.condition_values import Ground, Sql, figure_holds, shifted
from database.documents import DocumentRow, DocumentVersion
from database.earned_points import UNGIVEN_LOTS
from database.ledger import PointBalance, PointLot
from database.programmes import KIND
from database.tiers import TierMembership
from domain.conditions.model import PointsAre, TierAtLeast, TierIs
from domain.documents import DocumentState
from domain.durations import parse_duration


def points_hold(condition: PointsAre, customer_id: Sql, ground: Ground) -> ColumnElement[bool]:
    """Whether a figure of the customer's account compares so. Who never had any points has 0 of them."""
    programme = _live_programme()
    figure = func.coalesce(_figure(condition, customer_id, programme, ground), 0)
    known = case((programme.is_not(None), cast(figure, Numeric)))
    return func.coalesce(figure_holds(known, literal(1, Numeric), condition.comparison, ground), false())


def _live_programme() -> Sql:
    """The key of the programme that is live, else null. Relies on ix_documents_state."""
    document = aliased(DocumentRow)
    live = select(document.key).where(document.kind == KIND, document.state == DocumentState.LIVE)
    return live.limit(1).correlate_except(document).scalar_subquery()


def _figure(condition: PointsAre, customer_id: Sql, programme: Sql, ground: Ground) -> Sql:
    """The figure as of the moment, whether or not a job has settled the account; null without an account."""
    match condition.points:
        case "available":
            active = _lots(customer_id, programme, and_(_is_active(ground), _lasts(ground)))
            deficit = _balance(PointBalance.deficit.expression, customer_id, programme)
            return func.coalesce(active, 0) - func.coalesce(deficit, 0)
        case "pending":
            return _lots(customer_id, programme, not_(_is_active(ground)))
        case "expiring":
            until = shifted(ground, parse_duration(condition.within or "0d"), 1)
            soon = and_(PointLot.expires_at > ground.as_of, PointLot.expires_at <= until)
            return _lots(customer_id, programme, and_(_is_active(ground), func.coalesce(soon, false())))
        case "earned":
            given = _lots_given(customer_id, programme)
            return -_balance(PointBalance.issued.expression, customer_id, programme) - func.coalesce(given, 0)
        case "spent":
            return _balance(PointBalance.redeemed.expression, customer_id, programme)
    assert_never(condition.points)


def _is_active(ground: Ground) -> ColumnElement[bool]:
    return or_(not_(PointLot.is_pending), func.coalesce(PointLot.activates_at <= ground.as_of, false()))


def _lasts(ground: Ground) -> ColumnElement[bool]:
    return func.coalesce(PointLot.expires_at > ground.as_of, literal(True))


def _lots(customer_id: Sql, programme: Sql, counts: ColumnElement[bool]) -> Sql:
    """What is left in lots. Relies on ix_point_lots_turn."""
    summed = select(func.sum(PointLot.remaining)).where(
        PointLot.account == customer_id, PointLot.programme == programme, PointLot.remaining > 0, counts
    )
    return summed.correlate_except(PointLot).scalar_subquery()


def _lots_given(customer_id: Sql, programme: Sql) -> Sql:
    """What was issued and not earned (earned_points.py). Relies on ix_point_lots_account."""
    summed = select(func.sum(PointLot.original)).where(
        PointLot.account == customer_id,
        PointLot.programme == programme,
        PointLot.id == PointLot.origin,
        PointLot.kind.not_in(UNGIVEN_LOTS),
    )
    return summed.correlate_except(PointLot).scalar_subquery()


def _balance(column: Sql, customer_id: Sql, programme: Sql) -> Sql:
    """A figure of the balance's row, by its primary key."""
    row = select(column).where(PointBalance.account == customer_id, PointBalance.programme == programme)
    return row.correlate_except(PointBalance).scalar_subquery()


def tier_holds(condition: TierIs, customer_id: Sql, ground: Ground) -> ColumnElement[bool]:
    """Whether the customer's tier is this one, or, by the levels of the live programme, at least this one."""
    tier = _tier(customer_id, ground)
    match condition.tier:
        case TierAtLeast(at_least=lowest):
            own, least = _threshold(tier), _threshold(literal(lowest, Text))
            return func.coalesce(own >= least, false())
        case name:
            return func.coalesce(tier == literal(name, Text), false())


def _tier(customer_id: Sql, ground: Ground) -> Sql:
    """The stored tier, or the level that takes nothing. Relies on ix_tier_memberships_customer."""
    membership = aliased(TierMembership)
    levels = _levels()
    at_the_start = (
        select(levels.c.level["tier"].astext)
        .where(_from(levels.c.level) == 0)
        .limit(1)
        .correlate_except(levels)
        .scalar_subquery()
    )
    stored = (
        # The dash stands for "no tier at all", which is a tier that was stored too; no tier is called so.
        select(func.coalesce(membership.tier, literal("-", Text)))
        .where(
            membership.customer_id == customer_id,
            membership.programme == _live_programme(),
            membership.from_at <= ground.as_of,
            or_(membership.until_at.is_(None), membership.until_at > ground.as_of),
        )
        .limit(1)
        .correlate_except(membership)
        .scalar_subquery()
    )
    return func.coalesce(stored, at_the_start)


def _threshold(tier: Sql) -> Sql:
    levels = _levels()
    found = select(_from(levels.c.level)).where(levels.c.level["tier"].astext == tier)
    return found.limit(1).correlate_except(levels).scalar_subquery()


def _from(level: Sql) -> Sql:
    return cast(level["from"].astext, Numeric)


def _levels() -> FromClause:
    """The levels of the live programme, a row each."""
    document, version = aliased(DocumentRow), aliased(DocumentVersion)
    elements = func.jsonb_array_elements(version.document["tiers"]["levels"]).table_valued(column("value", JSONB))
    published = and_(
        version.kind == document.kind, version.key == document.key, version.version == document.live_version
    )
    live = and_(document.kind == KIND, document.state == DocumentState.LIVE)
    rows = select(elements.c.value.label("level")).select_from(document).join(version, published).join(elements, true())
    return rows.where(live).subquery()
