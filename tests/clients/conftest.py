"""The running API of tests/api, for real clients."""

from tests.api.conftest import api_dependencies, api_server

__all__ = ["api_dependencies", "api_server"]
