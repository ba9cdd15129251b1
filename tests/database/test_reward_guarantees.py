"""The doctor finds each broken promise about rewards, and nothing in what redeeming and using leave behind."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from database import coupon_uses, customers
from database.coupon_uses import Asked
from database.guarantees import QUESTIONS, offenders
from database.redeeming import redeem
from database.session import Database
from domain.coupons import Cart, CartLine
from tests.factories import NOON
from tests.rewarding import TENNER, make_member, publish_programme, publish_reward

CART = Cart("EUR", (CartLine(4_000, 1),))


async def broken(database: Database) -> list[str]:
    asked = [question for question in QUESTIONS if question.guarantee == "rewards"]
    async with database.read() as session:
        return [question.promise for question in asked if await offenders(session, question, NOON)]


@pytest.fixture
async def code(database: Database) -> str:
    """The code of a redemption, held for an order."""
    await publish_programme(database)
    await publish_reward(database, TENNER, stock=3)
    ann: UUID = await make_member(database, points=100)
    async with database.transaction() as session:
        await customers.lock(session, [ann], skip_locked=False)
        row = await redeem(session, ann, "tenner", NOON)
        assert row.code is not None
        await coupon_uses.hold(session, Asked((row.code,), ann, CART, "o-1"), NOON, until=NOON + timedelta(hours=1))
    return row.code


async def test_what_redeeming_and_holding_leave_behind_is_fine(database: Database, code: str) -> None:
    assert await broken(database) == []


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        ("UPDATE reward_stocks SET taken = 0", "no more of a reward is handed out than was taken from stock"),
        ("UPDATE coupons SET redemption_id = NULL", "a code has one owner"),
        ("UPDATE coupons SET uses = 0", "uses and holds of a code stay within its limit"),
    ],
)
async def test_each_broken_promise_is_found(database: Database, code: str, damage: str, promise: str) -> None:
    async with database.transaction() as session:
        await session.execute(text(damage))

    assert await broken(database) == [promise]
