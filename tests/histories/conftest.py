"""The stage of tests/workflows, for recording."""

from __future__ import annotations

from tests.workflows.conftest import stage

__all__ = ["stage"]
