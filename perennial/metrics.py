"""What Prometheus scrapes: our own metrics and, in processes that speak with Temporal, those of its SDK."""

from __future__ import annotations

from datetime import timedelta

import httpx
from prometheus_client import REGISTRY, generate_latest
from temporalio.runtime import LoggingConfig, PrometheusConfig, Runtime, TelemetryConfig, TelemetryFilter

from perennial.loopback import LOOPBACK


class Metrics:
    """The text of `/metrics` for one process. `sdk_address` is where the Temporal SDK's own exporter listens."""

    def __init__(self, sdk_address: str | None = None) -> None:
        self._sdk_address = sdk_address

    async def text(self) -> bytes:
        """Prometheus text format; the SDK's part is left out while its exporter does not answer."""
        return generate_latest(REGISTRY) + await self._sdk_text()

    async def _sdk_text(self) -> bytes:
        if self._sdk_address is None:
            return b""
        try:
            async with httpx.AsyncClient(timeout=2) as client:
                return (await client.get(f"http://{self._sdk_address}/metrics")).content
        except httpx.HTTPError:
            return b""


def build_runtime(port: int) -> Runtime:
    """The Temporal SDK's runtime, its metrics on a loopback port that only `Metrics` reads."""
    return Runtime(
        telemetry=TelemetryConfig(
            metrics=PrometheusConfig(bind_address=f"{LOOPBACK}:{port}", durations_as_seconds=True, unit_suffix=True),
            logging=LoggingConfig(filter=TelemetryFilter(core_level="WARN", other_level="ERROR")),
        ),
        worker_heartbeat_interval=timedelta(seconds=60),
    )
