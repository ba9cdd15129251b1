"""The namespace of the embedded Temporal: ours to make, and to make again when somebody has deleted it."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable, Mapping
from typing import Final

from perennial.embedded.temporal import EmbeddedTemporal
from perennial.loopback import LOOPBACK

_LOOK_EVERY_SECONDS: Final = 2.0
_KEPT: Final = "86400s"
"""How long what has ended stays in Temporal's list: as the development server keeps it in the namespace it makes."""


async def keep_namespace(server: EmbeddedTemporal, name: str, tell: Callable[[str], None]) -> None:
    """Make the namespace whenever it is missing, until cancelled. What was in it the router brings back."""
    while True:
        if await asyncio.to_thread(make_namespace, server, name):
            tell(f"Temporal had no namespace {name}: made it.")
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


def make_namespace(server: EmbeddedTemporal, name: str) -> bool:
    """Make the namespace if the server answers and does not have it; whether it was made."""
    try:
        if _ask(server, "GET", f"/api/v1/namespaces/{name}") != http.client.NOT_FOUND:
            return False
        made = {"namespace": name, "workflowExecutionRetentionPeriod": _KEPT}
        return _ask(server, "POST", "/api/v1/namespaces", made) == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def _ask(server: EmbeddedTemporal, method: str, path: str, body: Mapping[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, server.http_port, timeout=5)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()
