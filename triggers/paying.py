"""Paying what was decided: the credits and clawbacks that bring each decision to what it must come to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from database import earnings, points
from database.earnings import Stored
from database.session import WriteSession
from domain.earned_credits import Adjustment, Posted, Step, adjusted
from domain.earning import Decision
from domain.points import CORRECTION, Clawback, Credit, CreditKind, GiveBack, Move


@dataclass(frozen=True, slots=True)
class Due:
    """What a decision must have paid in the end: `net` points, after `taken_back` by refunds."""

    id: UUID
    account: UUID
    rule: str
    earned_at: datetime
    activates_at: datetime | None
    expires_at: datetime | None
    order_id: str | None
    net: int
    credits: Sequence[Posted] = ()
    taken_back: int = 0
    may_owe: bool = True  # whether what is taken back may become a deficit
    is_redated: bool = False  # its credits were posted as earned at another time

    @classmethod
    def of(cls, id_: UUID, decision: Decision, before: Stored | None = None) -> Due:
        """By a decision that is new, or takes the place of a stored one."""
        back = min(before.taken_back, decision.points) if before else 0
        return cls(
            *(id_, decision.event.customer_id, decision.rule, decision.event.at),
            *(decision.activates_at, decision.expires_at, decision.order_id, decision.points - back),
            credits=before.credits if before else (),
            taken_back=back,
            is_redated=before is not None and before.stamp.timestamp != decision.event.at,
        )

    @classmethod
    def returned(cls, row: Stored, back: int, *, may_owe: bool) -> Due:
        """By a stored decision of which refunds take back so many points."""
        return cls(
            *(row.id, row.customer_id, row.rule, row.stamp.timestamp),
            *(row.activates_at, row.expires_at, row.order_id, row.frozen.points - back),
            credits=row.credits,
            taken_back=back,
            may_owe=may_owe,
        )

    @classmethod
    def edited(cls, row: Stored, points: int) -> Due:
        """By a stored decision whose order was edited; what refunds take of it now is worked out after that."""
        back = min(row.taken_back, points)
        return cls(
            *(row.id, row.customer_id, row.rule, row.stamp.timestamp),
            *(row.activates_at, row.expires_at, row.order_id, points - back),
            credits=row.credits,
            taken_back=back,
        )

    @classmethod
    def withdrawn(cls, row: Stored) -> Due:
        """By a stored decision that nothing is left of."""
        return cls(
            *(row.id, row.customer_id, row.rule, row.stamp.timestamp),
            *(row.activates_at, row.expires_at, row.order_id, 0),
            credits=row.credits,
        )

    def adjustment(self) -> Adjustment:
        """What brings the credits there."""
        return adjusted(self.credits, self.net + self.taken_back, self.taken_back, f"earn/{self.rule}/{self.id}")


async def pay(
    session: WriteSession, programme: str, dues: Sequence[Due], as_of: datetime, *, kept: Collection[UUID] = ()
) -> None:
    """Bring what each decision has posted to what it must come to. `kept`: these were stored with their credits."""
    moves: list[Move] = []
    changed: dict[UUID, tuple[Sequence[Posted], int]] = {}
    for due in dues:
        adjustment = due.adjustment()
        moves += [_give_back(due, step) for step in adjustment.given_back]
        if adjustment.added is not None:
            moves.append(_credit(due, adjustment.added))
        moves += [_correction(due, step) for step in adjustment.corrected]
        moves += [_clawback(due, step.credit) for step in adjustment.returned]
        if due.id not in kept:
            changed[due.id] = (adjustment.credits, due.taken_back)
    await points.post(session, programme, moves, as_of)
    redated = [due for due in dues if due.is_redated]
    earned = {credit.key: due.earned_at for due in redated for credit in due.credits}
    await points.redate(session, programme, {due.account for due in redated}, earned, as_of)
    await earnings.write_credits(session, changed)


def _credit(due: Due, credit: Posted) -> Credit:
    return Credit(
        *(due.account, credit.key, credit.points, CreditKind.EARN),
        earned_at=due.earned_at,
        source=due.rule,
        activates_at=due.activates_at,
        expires_at=due.expires_at,
        reference=due.order_id,
    )


def _clawback(due: Due, credit: Posted) -> Clawback:
    return Clawback(due.account, _taken_key(credit), credit.key, credit.taken, may_owe=due.may_owe)


def _correction(due: Due, step: Step) -> Clawback:
    credit = step.credit
    return Clawback(due.account, _taken_key(credit), credit.key, credit.taken, source=CORRECTION, lowered_by=step.by)


def _give_back(due: Due, step: Step) -> GiveBack:
    credit = step.credit
    return GiveBack(
        *(due.account, f"{credit.key}/given-back/{credit.turn}", credit.key, credit.taken),
        earned_at=due.earned_at,
        source=due.rule,
        activates_at=due.activates_at,
        expires_at=due.expires_at,
        order_id=due.order_id,
    )


def _taken_key(credit: Posted) -> str:
    """Natural: what is left of a credit goes down only, until less came back than was told."""
    return f"{credit.key}/taken/{credit.taken}" + (f"/{credit.turn}" if credit.turn else "")
