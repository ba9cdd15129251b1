"""How many connections a process holds, and how long it lets each wait: so that nobody waits forever."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Final, Self


@dataclass(frozen=True, slots=True)
class Pool:
    """One process's connections. Times are in seconds; PostgreSQL ends what takes longer, 0 is without end."""

    size: int
    statement: float
    lock: float
    idle: float  # in a transaction
    transaction: float
    wait: float  # for a free connection

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in asdict(self).items())

    def changed(self, written: str) -> Self:
        """The same but for what is written, such as `size=20 lock=2.5`. Raises ValueError."""
        changes: dict[str, float] = {}
        for part in written.split():
            name, _, value = part.partition("=")
            if name not in self.__slots__:
                raise ValueError(f"{name} is none of {', '.join(self.__slots__)}")
            changes[name] = int(value) if name == "size" else float(value)
            if changes[name] < (name == "size"):
                raise ValueError(f"{name} is too small")
        return replace(self, **changes)  # type: ignore[arg-type]  # named and typed above

    def server_settings(self) -> dict[str, str]:
        """What each session is told when it begins."""
        limits = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle,
            "transaction_timeout": self.transaction,
        }
        return {name: str(round(seconds * 1_000)) for name, seconds in limits.items()}


INGEST: Final = Pool(4, 5, 3, 5, 10, 3)
"""Keys and events at the ingest paths: nothing else can take these connections."""
API: Final = Pool(10, 10, 3, 10, 20, 3)
ROUTER: Final = Pool(10, 60, 5, 60, 120, 10)
WORKER: Final = Pool(10, 15, 5, 15, 30, 10)
COMMAND: Final = Pool(10, 300, 5, 300, 0, 10)
"""What a person runs and watches."""

LONG: Final = 300
"""Seconds that exports, erasures, sweeps, dry runs and simulations may take: `ReadSession.take_long()`."""
