"""What the `perennial up` that runs here tells the commands beside it. Imports nothing: production has it too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

ANNOUNCEMENT = "dev.json"


def announcement(folder: Path) -> Mapping[str, str]:
    """Addresses and keys by their names in `dev.json` of the data folder; empty if nothing runs on it."""
    try:
        announced: dict[str, str] = json.loads((folder / ANNOUNCEMENT).read_text())
    except (FileNotFoundError, PermissionError):
        return {}
    return announced
