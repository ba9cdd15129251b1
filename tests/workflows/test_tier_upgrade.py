"""The built-in journey `tier-upgrade`: a gift once, a welcome, and a reminder for whoever does not come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from database.points import balances
from domain.yaml import read_yaml
from perennial.settings import PROJECT
from tests.rewarding import publish_programme
from tests.workflows.conftest import Stage


def builtin() -> dict[str, Any]:
    path: Path = PROJECT / "templates" / "journeys" / "tier-upgrade.yaml"
    document: dict[str, Any] = read_yaml(path.read_bytes())
    return document


async def test_whoever_reaches_a_tier_is_given_something_welcomed_and_reminded(stage: Stage) -> None:
    await publish_programme(stage.database)
    await stage.publish(builtin())
    run = await stage.enter("tier-upgrade", await stage.customer())

    row = await run.ends()

    assert row.state == "completed"
    assert [step for step, _ in stage.outbox.sent] == ["welcome", "benefits"]
    async with stage.database.read() as session:
        balance = (await balances(session, "main", [run.customer_id], stage.now))[run.customer_id]
    assert balance.available == 50


async def test_whoever_orders_is_not_reminded(stage: Stage) -> None:
    await publish_programme(stage.database)
    await stage.publish(builtin())
    run = await stage.enter("tier-upgrade", await stage.customer())
    await run.stands_at("next-order")

    await run.met("next-order", 0, await stage.event(run.customer_id, "Order Completed"))
    await run.ends()

    assert [step for step, _ in stage.outbox.sent] == ["welcome"]
