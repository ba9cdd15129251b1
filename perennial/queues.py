"""The names of the task queues that workers serve."""

from __future__ import annotations

from enum import StrEnum


class Queue(StrEnum):
    """A task queue of Temporal; each scales by processes of its own."""

    JOURNEYS = "journeys"  # workflows and the decisions of their steps
    MESSAGES = "messages"  # calls to providers and to the shop
