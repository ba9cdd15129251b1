"""Redemptions that the shop delivers, by the real workflow, webhook and ledger; the shop is a server of ours."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.redemptions import RedemptionActivities
from connectors.webhook import Webhooks, signing_key
from database import coupons, customers
from database.points import lots_of
from database.redeeming import cancel, fulfil, lock_with_customer, redeem
from database.redemptions import Redemption, shown_code
from database.session import Database
from database.undertakings import open_undertakings
from domain.errors import Conflict
from domain.points import Balance
from domain.redemptions import RESERVED_FOR, Canceller, RedemptionInput, RedemptionStep, Standing
from tests.rewarding import (
    MAIN,
    TENNER,
    award,
    balance_of,
    coupon,
    make_member,
    publish_programme,
    publish_reward,
    redemptions_of,
    taken,
)
from tests.workflows.conftest import WEBHOOK_SECRET
from workflows.redemption import RedemptionWorkflow
from workflows.sandbox import sandbox


@dataclass
class Shop:
    """The shop's endpoint: answers with these statuses, the last one for ever; None hangs up without a word."""

    url: str = ""
    answers: list[int | None] = field(default_factory=lambda: [200])
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        self.asked.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status is not None:
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
    shop.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/deliver"
    async with server:
        yield shop


@dataclass
class Counter:
    """Where rewards are handed out: one member with 100 points, one reward, workers."""

    database: Database
    client: Client
    activities: RedemptionActivities
    shop: Shop
    ann: UUID
    now: datetime

    async def redeem(self) -> Redemption:
        async with self.database.transaction() as session:
            await customers.lock(session, [self.ann], skip_locked=False)
            return await redeem(session, self.ann, "tenner", self.now)

    async def run(self, row: Redemption) -> Standing:
        """The workflow to its end, as the relay starts it."""
        given = RedemptionInput(redemption_id=row.id)
        return await self.client.execute_workflow(
            RedemptionWorkflow.run, given, id=f"redemption/{row.id}", task_queue="journeys"
        )

    async def balance(self) -> Balance:
        return await balance_of(self.database, self.ann, self.now)

    async def under_way(self) -> int:
        """How many redemptions would be begun again if Temporal were lost."""
        async with self.database.read() as session:
            return len(await open_undertakings(session, limit=10))

    async def row(self) -> Redemption:
        [row] = await redemptions_of(self.database)
        return row


@pytest.fixture
async def counter(database: Database, time_skipping: WorkflowEnvironment, shop: Shop) -> AsyncIterator[Counter]:
    now = await time_skipping.get_current_time()
    await publish_programme(database)
    await publish_reward(database, TENNER, codes="pool", stock=1, fulfil={"url": shop.url, "within": "6h"})
    ann = await make_member(database, "ann")
    await award(database, ann, 100, expires=now + timedelta(days=3), at=now - timedelta(days=1))
    async with database.transaction() as session:
        await coupons.load_codes(session, "tenner", ["TENNER-1"])
    webhooks = Webhooks(WEBHOOK_SECRET, allow_private=True)
    activities = RedemptionActivities(database, webhooks)
    decisions = [activities.issue_redemption, activities.conclude_redemption]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            Worker(
                time_skipping.client,
                task_queue="journeys",
                workflows=[RedemptionWorkflow],
                activities=decisions,
                workflow_runner=sandbox(),
            )
        )
        await stack.enter_async_context(
            Worker(time_skipping.client, task_queue="messages", activities=[activities.ask_shop])
        )
        yield Counter(database, time_skipping.client, activities, shop, ann, now)
    await webhooks.close()


async def test_the_shop_is_asked_by_a_signed_webhook_and_the_customer_has_it(counter: Counter) -> None:
    row = await counter.redeem()

    standing = await counter.run(row)

    assert standing.state == "fulfilled"
    code = await coupon(counter.database, "TENNER-1")
    assert (code.state, code.customer_id) == ("active", counter.ann)
    [(headers, body)] = counter.shop.asked
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(signing_key(WEBHOOK_SECRET), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    told: dict[str, Any] = json.loads(body)
    assert told["type"] == "reward.redeemed"
    assert told["data"] == {
        "redemption_id": str(row.id),
        "customer_id": "ann",
        "reward": "tenner",
        "version": 1,
        "kind": "amount",
        "gives": {"amount": {"amount": 1_000, "currency": "EUR"}},
        "points": 100,
        "code": "TENNER-1",
    }
    assert await counter.balance() == Balance(spent=100, earned=100)


@pytest.mark.parametrize("answer", [200, 202, 422])
async def test_a_redemption_that_the_shop_has_answered_is_not_begun_again(counter: Counter, answer: int) -> None:
    counter.shop.answers = [answer]
    row = await counter.redeem()
    assert await counter.under_way() == 1

    await counter.run(row)

    assert await counter.under_way() == 0


async def test_a_shop_that_refuses_gives_points_stock_and_code_back(counter: Counter) -> None:
    """wb-gamification's RedemptionEngine.php: fulfilment failed, points and stock were kept, and it said success."""
    counter.shop.answers = [422]
    row = await counter.redeem()

    standing = await counter.run(row)

    assert (standing.state, (await counter.row()).reason) == ("cancelled", "http_422")
    assert await counter.balance() == Balance(available=100, earned=100)
    assert await taken(counter.database, "tenner") == 0
    async with counter.database.read() as session:
        [lot] = (await lots_of(session, MAIN, counter.ann, counter.now)).lots
    assert lot.expires_at is not None
    assert lot.expires_at > counter.now + timedelta(days=29)  # its own date was in three days
    code = await coupon(counter.database, "TENNER-1")
    assert (code.state, code.customer_id) == ("pooled", None)  # no customer has seen it


async def test_a_shop_that_is_away_is_asked_again_under_the_same_id(counter: Counter) -> None:
    counter.shop.answers = [503, None, 429, 204]
    row = await counter.redeem()

    standing = await counter.run(row)

    assert standing.state == "fulfilled"
    assert len(counter.shop.asked) == 4
    assert {headers["webhook-id"] for headers, _ in counter.shop.asked} == {f"redemption_{row.id.hex}"}


@pytest.mark.parametrize("unknown", [503, None])
async def test_a_refusal_after_an_unknown_attempt_is_for_a_person_to_judge(
    counter: Counter, unknown: int | None
) -> None:
    counter.shop.answers = [unknown, 422]
    row = await counter.redeem()

    standing = await counter.run(row)

    assert (standing.state, (await counter.row()).review) == ("issued", "refused_after_doubt")
    assert await counter.balance() == Balance(spent=100, earned=100)
    async with counter.database.transaction() as session:
        await cancel(session, await lock_with_customer(session, row.id), Canceller.SHOP, "not sent", counter.now)
    assert await counter.balance() == Balance(available=100, earned=100)


async def test_a_shop_that_was_too_busy_to_look_may_still_refuse(counter: Counter) -> None:
    counter.shop.answers = [429, 422]

    standing = await counter.run(await counter.redeem())

    assert standing.state == "cancelled"
    assert await counter.balance() == Balance(available=100, earned=100)


async def test_a_shop_that_never_answers_is_reviewed_and_nothing_goes_back_by_itself(counter: Counter) -> None:
    counter.shop.answers = [503]
    row = await counter.redeem()

    standing = await counter.run(row)

    assert (standing.state, standing.review, (await counter.row()).review) == ("issued", True, "no_answer")
    assert await counter.balance() == Balance(spent=100, earned=100)
    assert len(counter.shop.asked) > 10
    async with counter.database.transaction() as session:
        with pytest.raises(Conflict) as refused:
            await cancel(session, await lock_with_customer(session, row.id), Canceller.CUSTOMER, "late", counter.now)
    assert refused.value.code == "fulfilment_under_way"


async def test_a_shop_that_delivers_later_says_so_itself(counter: Counter) -> None:
    counter.shop.answers = [202]
    row = await counter.redeem()

    standing = await counter.run(row)

    assert (standing.state, standing.review) == ("issued", False)
    assert (shown_code(await counter.row()), (await coupon(counter.database, "TENNER-1")).state) == (None, "reserved")
    async with counter.database.transaction() as session:
        await fulfil(session, await lock_with_customer(session, row.id), counter.now)
    row = await counter.row()
    assert (row.state, shown_code(row)) == ("fulfilled", "TENNER-1")


async def test_what_was_cancelled_before_it_was_issued_is_never_asked_for(counter: Counter) -> None:
    row = await counter.redeem()
    async with counter.database.transaction() as session:
        await cancel(session, await lock_with_customer(session, row.id), Canceller.CUSTOMER, "no", counter.now)

    standing = await counter.run(row)

    assert (standing.state, counter.shop.asked) == ("cancelled", [])
    assert (await coupon(counter.database, "TENNER-1")).state == "pooled"


async def test_a_workflow_that_starts_after_the_reservation_gives_all_back(counter: Counter) -> None:
    """Temporal was away for longer than points are held."""
    counter.now -= RESERVED_FOR + timedelta(seconds=1)
    row = await counter.redeem()
    counter.now = datetime.now(UTC)

    standing = await counter.run(row)

    assert (standing.state, counter.shop.asked) == ("expired", [])
    assert await counter.balance() == Balance(available=100, earned=100)
    assert (await coupon(counter.database, "TENNER-1")).state == "pooled"
    assert await taken(counter.database, "tenner") == 0


async def test_issuing_twice_spends_once(counter: Counter) -> None:
    step = RedemptionStep(redemption_id=(await counter.redeem()).id, as_of=counter.now)

    standings = [await counter.activities.issue_redemption(step) for _ in range(2)]

    assert [standing.state for standing in standings] == ["issued", "issued"]
    assert await counter.balance() == Balance(spent=100, earned=100)
