"""What ops filter runs by in the Temporal UI; `workflows/` sets them on every run."""

from __future__ import annotations

from collections.abc import Mapping

SEARCH_ATTRIBUTES: Mapping[str, str] = {
    "CustomerId": "Keyword",
    "Journey": "Keyword",
    "JourneyVersion": "Int",
    "RunState": "Keyword",
    "Step": "Keyword",
}
"""Name to type, as Temporal's command line writes types."""
