"""A guard over connection pools: a request that takes a second connection while it holds one is caught in the act."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import event

from database.session import Database


class NestedCheckouts:
    """Watches databases; `found` names the requests that held one connection and asked for another."""

    def __init__(self, *databases: Database) -> None:
        self.found: list[str] = []
        self._held: dict[int, asyncio.Task[Any]] = {}  # by connection record
        for database in databases:
            pool = database.engine.sync_engine.pool
            event.listen(pool, "checkout", self._take)
            event.listen(pool, "checkin", self._give_back)

    def _take(self, _: Any, record: object, __: Any) -> None:
        task = asyncio.current_task()
        if task is None or "run_asgi" not in getattr(task.get_coro(), "__qualname__", ""):
            return  # a test's own
        if task in self._held.values():
            self.found.append(str(task))
            raise AssertionError("a second connection in one request")
        self._held[id(record)] = task

    def _give_back(self, _: Any, record: object) -> None:
        self._held.pop(id(record), None)
