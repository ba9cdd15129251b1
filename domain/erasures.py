"""What the workflow and the activities of an erasure say to each other: ids and times, never whom it is about."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from domain.runs import Wire


class ErasureInput(Wire):
    """Which erasure to carry out."""

    erasure_id: UUID


class ProofInput(Wire):
    """Search once more. When the search finds nothing, or this is the `last` round, the job is complete."""

    erasure_id: UUID
    as_of: datetime
    last: bool = False
