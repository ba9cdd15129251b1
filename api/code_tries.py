"""The limit on trying codes of coupons, so that nobody finds one by guessing."""

from __future__ import annotations

import math
from datetime import datetime

from api.dependencies import ApiDependencies
from api.limits import LimitReached
from database.code_tries import Budget, spend
from domain.keys import StoredKey


async def try_codes(
    dependencies: ApiDependencies, caller: StoredKey, customer_id: str | None, codes: int, as_of: datetime
) -> None:
    """Let so many codes be tried by the key, for the customer; raises LimitReached. Takes a connection of its own."""
    limits = dependencies.code_limits
    budgets: list[tuple[Budget, str]] = [(Budget("key", limits.per_key), caller.id)]
    if customer_id is not None:
        budgets.append((Budget("customer", limits.per_customer), customer_id))
    async with dependencies.database.transaction() as session:
        for budget, whose in reversed(budgets):  # a customer who guesses uses nothing of the key's budget up
            spent = await spend(session, budget, whose, codes, as_of)
            if spent.wait:
                raise LimitReached(
                    f"This {budget.name} has tried {budget.codes} codes within a minute; wait a little.",
                    policy=f"codes-per-{budget.name}",
                    quota=budget.codes,
                    window=math.ceil(budget.window.total_seconds()),
                    seconds=max(1, math.ceil(spent.wait.total_seconds())),
                )
