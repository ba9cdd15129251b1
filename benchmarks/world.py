"""The servers that the measures run on: a durable PostgreSQL, a Temporal development server, and our own processes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # journeys are any JSON

import asyncpg
import httpx
from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from database.migrations.upgrade import upgrade
from database.session import Database
from perennial import temporal
from perennial.embedded.keyring import Keyring, ensure_keys
from perennial.embedded.postgres import EmbeddedPostgres
from perennial.embedded.services import Service
from perennial.embedded.temporal import EmbeddedTemporal
from perennial.loopback import LOOPBACK, any_free_port


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line lets people choose."""

    waiting_runs: tuple[int, ...] = (2_000, 6_000)
    expiring_lots: int = 50_000


@dataclass
class World:
    """Servers shared by all measures; each measure takes a database of its own."""

    folder: Path
    postgres: EmbeddedPostgres
    temporal: EmbeddedTemporal
    options: Options

    async def client(self) -> Client:
        """A client of Temporal whose workers keep to themselves what they think of a busy machine."""
        quiet = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
        runtime = Runtime(telemetry=TelemetryConfig(logging=quiet))
        return await temporal.connect(self.temporal.address, "default", runtime=runtime)

    async def new_database(self) -> str:
        """The URL of a fresh, migrated database."""
        name = f"bench_{secrets.token_hex(4)}"
        connection = await asyncpg.connect(self.postgres.url())
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        url = self.postgres.url(name)
        await asyncio.to_thread(upgrade, url)
        return url

    @asynccontextmanager
    async def deployment(self, *processes: str, **settings: str) -> AsyncIterator[Deployment]:
        """Our own processes (`api`, `router`, `worker`) on a fresh database, stopped at the end."""
        url = await self.new_database()
        folder = self.folder / secrets.token_hex(4)
        folder.mkdir()
        deployment = Deployment(url, await ensure_keys(url, folder / "keys.json"))
        async with AsyncExitStack() as running:
            running.push_async_callback(deployment.database.close)
            for name in processes:
                service = Service(name, name, folder=folder)
                service.configure(
                    port=deployment.ports[name], environment=deployment.environment(self.temporal) | settings
                )
                running.push_async_callback(service.stop)
                await service.start()
                deployment.services[name] = service
            yield deployment


@dataclass
class Deployment:
    """Processes on one database, and how to reach them."""

    url: str
    keys: Keyring
    services: dict[str, Service] = field(default_factory=dict)
    ports: dict[str, int] = field(
        default_factory=lambda: {name: any_free_port() for name in ("api", "router", "worker")}
    )

    def __post_init__(self) -> None:
        self.database = Database(self.url, pool_size=4, application_name="benchmark")

    @property
    def api(self) -> str:
        """Where the API answers."""
        return f"http://{LOOPBACK}:{self.ports['api']}"

    async def publish(self, journey: Mapping[str, Any]) -> None:
        """Save and publish a journey; raises RuntimeError with the findings when it is faulty."""
        headers = {"Authorization": f"Bearer {self.keys.admin_key}"}
        async with httpx.AsyncClient(base_url=self.api, headers=headers, timeout=30) as client:
            (await client.put(f"/v1/journeys/{journey['journey']}", json=dict(journey))).raise_for_status()
            answer = await client.post(f"/v1/journeys/{journey['journey']}/publish", json={})
            if answer.is_error:
                raise RuntimeError(answer.text)

    def environment(self, temporal: EmbeddedTemporal) -> dict[str, str]:
        """The settings of these processes."""
        return {
            "PERENNIAL_DATABASE_URL": self.url,
            "PERENNIAL_TEMPORAL_ADDRESS": temporal.address,
            "PERENNIAL_PUBLIC_URL": self.api,
            "PERENNIAL_HOST": LOOPBACK,
            "PERENNIAL_LOG_LEVEL": "WARNING",
            **{f"PERENNIAL_{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
        }


@asynccontextmanager
async def open_world(folder: Path, options: Options) -> AsyncIterator[World]:
    """Start the servers in `folder`; fsync is on, as in production."""
    postgres = EmbeddedPostgres(folder / "postgres", durable=True)
    temporal = EmbeddedTemporal(folder / "temporal")
    async with AsyncExitStack() as started:
        for server in (postgres, temporal):
            started.push_async_callback(server.stop)
            await server.start()
        yield World(folder, postgres, temporal, options)
