"""The limit on trying codes of coupons, gift cards and referrals, so that nobody finds one by guessing.

Each call spends its codes first, in a transaction of its own, and gets back what the good ones cost: only wrong codes
count, and many calls at once guess no more than one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from api.beforehand import beforehand
from api.dependencies import ApiDependencies
from api.limits import LimitReached
from database.code_tries import Budget, give_back, spend
from database.session import WriteSession
from domain.keys import StoredKey


@dataclass(frozen=True, slots=True)
class Tries:
    """So many codes tried by a key, for a customer under the shop's id. What other keys try for them is theirs."""

    dependencies: ApiDependencies
    caller: StoredKey
    customer_id: str | None
    codes: int
    as_of: datetime

    async def spend(self) -> None:
        """Raises LimitReached. Takes a connection of its own."""
        async with self.dependencies.database.transaction() as session:
            for budget, whose in self._budgets():
                spent = await spend(session, budget, whose, self.codes, self.as_of)
                if spent.wait:
                    raise LimitReached(
                        f"This {budget.name} has tried {budget.codes} wrong codes within a minute; wait a little.",
                        policy=f"codes-per-{budget.name}",
                        quota=budget.codes,
                        window=math.ceil(budget.window.total_seconds()),
                        seconds=max(1, math.ceil(spent.wait.total_seconds())),
                    )

    async def spend_before(self, session: WriteSession) -> None:
        """The same for a writing route, whose own transaction a wrong code rolls back."""
        if self.codes:
            await beforehand(session, "tried", self.spend)

    async def give_back(self, session: WriteSession, good: int | None = None) -> None:
        """So many codes were good; None: all. Holds the key's budget until the transaction ends, so it comes last."""
        for budget, whose in self._budgets():
            await give_back(session, budget, whose, self.codes if good is None else good)

    def _budgets(self) -> Iterator[tuple[Budget, str]]:
        """The customer's first: who guesses for one customer uses nothing of the key's budget up."""
        limits = self.dependencies.code_limits
        if self.customer_id is not None:
            yield Budget("customer", limits.per_customer), f"{self.caller.id}/{self.customer_id}"
        yield Budget("key", limits.per_key), self.caller.id
