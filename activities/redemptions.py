"""Redemptions that the shop delivers: issuing, the signed call to the shop, and what its last word leads to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, assert_never
from uuid import UUID

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.retries import next_try
from connectors.webhook import Delivered, Refused, TryLater, Webhooks
from database.customers import external_ids
from database.redeeming import cancel, fulfil, issue, lock_with_customer
from database.redemptions import Redemption, mark_for_review, workflow_of
from database.rewards import reward_versions
from database.session import Database, WriteSession
from database.undertakings import conclude
from domain.durations import parse_duration
from domain.redemptions import (
    Answer,
    Answered,
    Canceller,
    Conclusion,
    RedemptionInput,
    RedemptionState,
    RedemptionStep,
    Review,
    Standing,
)
from domain.rewards import RewardDefinition

EVENT: Final = "reward.redeemed"
"""The `type` of the webhook."""
_ACCEPTED: Final = 202
_NOT_TAKEN: Final = frozenset({425, 429})
"""Answers by which the shop says that it has not even looked."""


@dataclass(frozen=True, slots=True)
class _Request:
    url: str
    body: dict[str, Any]  # JSON
    was_doubtful: bool  # an earlier attempt may have been taken
    until: datetime


class RedemptionActivities:
    """Issuing and concluding are one transaction each; asking the shop holds no lock while the shop thinks."""

    def __init__(self, database: Database, webhooks: Webhooks) -> None:
        self._database = database
        self._webhooks = webhooks

    @activity.defn
    async def issue_redemption(self, step: RedemptionStep) -> Standing:
        """Spend the points, or find that the reservation is over."""
        async with self._database.transaction() as session:
            row = await lock_with_customer(session, step.redemption_id)
            await issue(session, row, step.as_of)
            if row.state != RedemptionState.ISSUED:  # whatever ended it, the workflow has nothing more to do
                await conclude(session, [workflow_of(row.id)], step.as_of)
            return _standing(row)

    @activity.defn
    async def ask_shop(self, redemption: RedemptionInput) -> Answered:
        """One attempt; Temporal repeats it with the same webhook id until the shop answers or it is too late."""
        now = activity.info().started_time.astimezone(UTC)
        request = await self._prepare(redemption.redemption_id, now)
        if isinstance(request, Answered):
            return request
        answer = await self._webhooks.post(
            request.url, request.body, webhook_id=webhook_id(redemption.redemption_id), headers={}, as_of=now
        )
        match answer:
            case Delivered(status=status):
                return Answered(answer=Answer.LATER if status == _ACCEPTED else Answer.DELIVERED)
            case Refused(reason=reason):
                return Answered(answer=Answer.DOUBTFUL if request.was_doubtful else Answer.REFUSED, reason=reason)
            case TryLater(reason=reason, status=status, after=after):
                if status in _NOT_TAKEN and not request.was_doubtful:
                    await self._forget_attempt(redemption.redemption_id)
                raise ApplicationError("try again", type=reason, next_retry_delay=next_try(after, request.until, now))
        assert_never(answer)

    @activity.defn
    async def conclude_redemption(self, conclusion: Conclusion) -> Standing:
        """Record the shop's last word. Whatever ended it meanwhile stays."""
        async with self._database.transaction() as session:
            row = await lock_with_customer(session, conclusion.redemption_id)
            if RedemptionState(row.state).is_open:
                await _conclude(session, row, conclusion)
            await conclude(session, [workflow_of(row.id)], conclusion.as_of)
            return _standing(row)

    async def _prepare(self, redemption_id: UUID, now: datetime) -> _Request | Answered:
        """What to ask; from here on nobody can say that the shop was not asked, should we fall over."""
        async with self._database.transaction() as session:
            row = await lock_with_customer(session, redemption_id)
            reward = (await reward_versions(session, {(row.reward, row.version)}))[row.reward, row.version]
            if row.state != RedemptionState.ISSUED or reward.fulfil is None or row.issued_at is None:
                return Answered(answer=Answer.OVER)
            until = parse_duration(reward.fulfil.within).after(row.issued_at)
            if now > until:
                return Answered(answer=Answer.NO_ANSWER)
            name = (await external_ids(session, {row.customer_id})).get(row.customer_id)
            was_doubtful, row.is_doubtful = row.is_doubtful, True
            return _Request(reward.fulfil.url, _body(row, reward, name), was_doubtful, until)

    async def _forget_attempt(self, redemption_id: UUID) -> None:
        async with self._database.transaction() as session:
            row = await lock_with_customer(session, redemption_id)
            row.is_doubtful = False


def webhook_id(redemption_id: UUID) -> str:
    """The same for every attempt, so that the shop can tell a repetition."""
    return f"redemption_{redemption_id.hex}"


async def _conclude(session: WriteSession, row: Redemption, conclusion: Conclusion) -> None:
    answered = conclusion.answered
    match answered.answer:
        case Answer.DELIVERED:
            await fulfil(session, row, conclusion.as_of)
        case Answer.REFUSED:
            await cancel(session, row, Canceller.FAILURE, answered.reason or "refused", conclusion.as_of)
            row.is_doubtful = False
        case Answer.DOUBTFUL:
            await mark_for_review(session, row, Review.REFUSED_AFTER_DOUBT)
        case Answer.NO_ANSWER:
            await mark_for_review(session, row, Review.NO_ANSWER)
        case Answer.LATER | Answer.OVER:
            pass
        case _:
            assert_never(answered.answer)


def _body(row: Redemption, reward: RewardDefinition, customer_id: str | None) -> dict[str, Any]:  # JSON
    data = {
        "redemption_id": str(row.id),
        "customer_id": customer_id,
        "reward": row.reward,
        "version": row.version,
        "kind": reward.kind,
        "gives": reward.gives.model_dump(mode="json", exclude_none=True),
        "points": row.points,
        "code": row.code,
    }
    issued_at = row.issued_at and row.issued_at.isoformat()
    return {"type": EVENT, "timestamp": issued_at, "data": data}


def _standing(row: Redemption) -> Standing:
    return Standing(state=RedemptionState(row.state), review=row.review is not None)
