"""Rewards that are published, how many of each were taken, and the codes that were loaded for them.

Lock order: a stock row is locked after customers and balances, codes after stock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Text, cast, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.documents import DocumentRow, DocumentVersion
from database.published import VersionText, read_version, readable
from database.session import ReadSession, WriteSession
from domain.documents import DocumentState
from domain.rewards import RewardDefinition

KIND = "reward"


class RewardStock(Table):
    """How many of a reward are taken, over all its versions; locked by the statement that takes one."""

    __tablename__ = "reward_stocks"

    reward: Mapped[str] = mapped_column(primary_key=True)
    taken: Mapped[int] = mapped_column(server_default=text("0"))


@dataclass(frozen=True, slots=True)
class PublishedReward:
    """The live version of a reward. Not `is_live`: it is paused or archived, and nobody gets it."""

    key: str
    version: int
    is_live: bool
    definition: RewardDefinition


_PUBLISHED = (
    select(DocumentRow.key, DocumentVersion.version, DocumentRow.state, cast(DocumentVersion.document, Text))
    .join(
        DocumentVersion,
        (DocumentVersion.kind == DocumentRow.kind)
        & (DocumentVersion.key == DocumentRow.key)
        & (DocumentVersion.version == DocumentRow.live_version),
    )
    .where(DocumentRow.kind == KIND)
    .order_by(DocumentRow.key)
)


async def published_reward(session: ReadSession, key: str) -> PublishedReward | None:
    """The reward of that key; None if there is none, or only a draft."""
    row = (await session.execute(_PUBLISHED.where(DocumentRow.key == key))).one_or_none()
    return None if row is None else _published(*row)


async def live_rewards(session: ReadSession) -> list[PublishedReward]:
    """The catalogue: every reward that is live, by key; without those that this release cannot read."""
    rows = await session.execute(_PUBLISHED.where(DocumentRow.state == DocumentState.LIVE))
    found = [(row, readable(RewardDefinition, VersionText(KIND, row[0], row[1], row[3]))) for row in rows]
    return [PublishedReward(row[0], row[1], is_live=True, definition=read) for row, read in found if read is not None]


async def reward_versions(
    session: ReadSession, wanted: Collection[tuple[str, int]]
) -> dict[tuple[str, int], RewardDefinition]:
    """Versions by key and number: redemptions and coupons keep the one that they were made of."""
    statement = select(DocumentVersion.key, DocumentVersion.version, cast(DocumentVersion.document, Text)).where(
        DocumentVersion.kind == KIND,
        DocumentVersion.key.in_({key for key, _ in wanted}),
        DocumentVersion.version.in_({version for _, version in wanted}),
    )
    rows = (await session.execute(statement)).all() if wanted else []
    return {
        (key, version): read_version(RewardDefinition, VersionText(KIND, key, version, document))
        for key, version, document in rows
        if (key, version) in wanted
    }


def _published(key: str, version: int, state: str, document: str) -> PublishedReward:
    definition = read_version(RewardDefinition, VersionText(KIND, key, version, document))
    return PublishedReward(key, version, state == DocumentState.LIVE, definition)


async def taken_of(session: ReadSession, rewards: Collection[str]) -> dict[str, int]:
    """How many of each are taken; those of which none ever was are left out."""
    statement = select(RewardStock.reward, RewardStock.taken).where(RewardStock.reward.in_(rewards))
    return dict((await session.execute(statement)).all()) if rewards else {}


async def take_from_stock(session: WriteSession, reward: RewardDefinition) -> bool:
    """Take one, if any is left: one statement, which waits for others who take the same and then asks again."""
    await session.execute(insert(RewardStock).values(reward=reward.reward).on_conflict_do_nothing())
    one_more = update(RewardStock).where(RewardStock.reward == reward.reward).values(taken=RewardStock.taken + 1)
    if reward.stock is not None:
        one_more = one_more.where(RewardStock.taken < reward.stock)
    taken = one_more.returning(RewardStock.taken).execution_options(synchronize_session=False)
    return (await session.execute(taken)).scalar_one_or_none() is not None


async def put_back(session: WriteSession, rewards: Sequence[str]) -> None:
    """Put one of each back; a reward may stand there several times. Locks in the order of keys."""
    for reward in sorted(set(rewards)):
        less = func.greatest(RewardStock.taken - rewards.count(reward), 0)
        statement = update(RewardStock).where(RewardStock.reward == reward).values(taken=less)
        await session.execute(statement.execution_options(synchronize_session=False))
