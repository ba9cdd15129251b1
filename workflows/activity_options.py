"""How activities are called, by name: never numbers inline."""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import Priority, RetryPolicy
from temporalio.workflow import ActivityConfig, LocalActivityConfig

MESSAGES_QUEUE = "messages"
"""Where calls to providers and shops run, apart from the decisions on `journeys`."""

_DECISION = LocalActivityConfig(
    start_to_close_timeout=timedelta(seconds=15),
    # A database that is away costs time, not runs: local retries for a while, then timers, forever.
    local_retry_threshold=timedelta(seconds=10),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=200), backoff_coefficient=2, maximum_interval=timedelta(minutes=1)
    ),
)

_DELIVERY = ActivityConfig(
    task_queue=MESSAGES_QUEUE,
    start_to_close_timeout=timedelta(minutes=2),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(minutes=5)
    ),
)


def decision(summary: str) -> LocalActivityConfig:
    """One transaction in our database; a local activity. `summary` is what the Temporal UI shows for it."""
    return LocalActivityConfig(**_DECISION, summary=summary)


_FIRST, _ORDINARY = Priority(priority_key=1), Priority(priority_key=3)


def delivery(summary: str, *, is_transactional: bool = False) -> ActivityConfig:
    """A call to a provider or to the shop; retried until the activity itself says that it is too late (`not_after`).

    Where tasks queue up, transactional messages overtake all others.
    """
    return ActivityConfig(**_DELIVERY, summary=summary, priority=_FIRST if is_transactional else _ORDINARY)


_SWEEP = ActivityConfig(
    start_to_close_timeout=timedelta(minutes=5),
    heartbeat_timeout=timedelta(minutes=1),
    retry_policy=RetryPolicy(maximum_attempts=3),
)


def sweep(summary: str, *, task_queue: str | None = None) -> ActivityConfig:
    """One pass of upkeep; the next pass of its schedule does what this one could not."""
    return ActivityConfig(**_SWEEP, summary=summary, task_queue=task_queue)


_ENTERING = ActivityConfig(
    start_to_close_timeout=timedelta(minutes=5),
    heartbeat_timeout=timedelta(minutes=1),
    schedule_to_close_timeout=timedelta(hours=1),  # as late as a schedule's time may still begin
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(minutes=1)
    ),
)


def entering(summary: str) -> ActivityConfig:
    """A stretch of a schedule's audience: its time does not come again, so it is tried until it would be too late."""
    return ActivityConfig(**_ENTERING, summary=summary)


_ERASING = ActivityConfig(
    start_to_close_timeout=timedelta(hours=2),
    heartbeat_timeout=timedelta(minutes=2),  # what a worker that dies costs; a living one beats, whatever it waits for
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(minutes=5)
    ),
)


def erasing(summary: str) -> ActivityConfig:
    """A step of an erasure: may read every table in full, and is repeated until it succeeds."""
    return ActivityConfig(**_ERASING, summary=summary)


_REWARDING = ActivityConfig(
    start_to_close_timeout=timedelta(minutes=1),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(minutes=5)
    ),
)


def rewarding(summary: str) -> ActivityConfig:
    """Pays what is due; what it refuses for now is tried again until the row says otherwise."""
    return ActivityConfig(**_REWARDING, summary=summary)


_SETTLING = ActivityConfig(
    start_to_close_timeout=timedelta(hours=2),
    heartbeat_timeout=timedelta(minutes=2),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2,
        maximum_interval=timedelta(minutes=5),
        maximum_attempts=10,
    ),
)


def settling(summary: str) -> ActivityConfig:
    """A time job of the loyalty programme: many pages, each a transaction, so that a retry goes on behind them."""
    return ActivityConfig(**_SETTLING, summary=summary)
