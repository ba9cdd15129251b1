"""Small journeys that tests walk."""

from __future__ import annotations

from typing import Any


def journey(*steps: Any, **rest: Any) -> dict[str, Any]:
    """A journey of these steps, as JSON."""
    return {
        "journey": "welcome",
        "purpose": "marketing",
        "enter": {"on": {"event": "Signed Up"}},
        "steps": list(steps),
    } | rest
