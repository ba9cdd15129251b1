"""The long-running processes of a deployment. Each ends on SIGTERM or Ctrl-C after finishing what it has begun."""

from __future__ import annotations

from perennial.composition import build_api, open_database
from perennial.serving import serving, stop_requested
from perennial.settings import Settings


async def run_api(settings: Settings) -> None:
    """Serve the HTTP API."""
    async with open_database(settings, "api") as database:
        app = await build_api(settings, database)
        async with serving(app, settings.host, settings.api_port, trusted_proxies=settings.forwarded_allow_ips):
            await stop_requested()
