"""Programmes for tests, published as the API publishes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from database import documents
from database.programmes import KIND
from database.session import Database
from domain.documents import DocumentState

LEVELS = [{"tier": "bronze", "from": 0}, {"tier": "silver", "from": 500}, {"tier": "gold", "from": 2_000}]


def tiers(measure: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The tiers of most tests: by spend in cents over a rolling year, down by one after 30 days."""
    return {
        "measure": dict(measure or {"spend": "total", "window": {"rolling": "12mo"}}),
        "levels": LEVELS,
        "downgrade": {"by": "one", "grace": "30d"},
        **changes,
    }


async def publish_programme(database: Database, as_of: datetime, **document: Any) -> None:
    """Make the next version of a programme, of `main` if nothing else is said."""
    key = document.get("programme", "main")
    draft = {"programme": key, "zone": "Europe/Berlin", "tiers": tiers(), **document}
    async with database.transaction() as session:
        row = await documents.lock(session, KIND, key)
        row = row or await documents.save_draft(session, KIND, key, draft, as_of)
        await documents.add_version(session, row, document=draft, state=DocumentState.LIVE, as_of=as_of, by="test")


async def archive_programme(database: Database) -> None:
    """The programme `main` is live no more."""
    async with database.transaction() as session:
        row = await documents.lock(session, KIND, "main")
        assert row is not None
        row.state = DocumentState.ARCHIVED
