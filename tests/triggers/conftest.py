"""The fixture of the router's tests."""

from __future__ import annotations

import pytest

from database.session import Database
from tests.triggers.shop import Shop


@pytest.fixture
def shop(database: Database) -> Shop:
    """A shop with an empty database."""
    return Shop(database)
