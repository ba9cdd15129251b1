"""`perennial up`: the whole product on one machine, started in order, watched, and stopped in the reverse order."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from database.migrations.upgrade import is_newest, upgrade
from perennial.builtins import publish_builtins
from perennial.embedded.accounts import close_files, make_folder
from perennial.embedded.folder import announced, held
from perennial.embedded.keyring import Keyring, ensure_keys
from perennial.embedded.namespaces import keep_namespace
from perennial.embedded.ports import PortChoice, choose_port
from perennial.embedded.postgres import EmbeddedPostgres
from perennial.embedded.services import Service
from perennial.embedded.supervision import Server, supervise
from perennial.embedded.temporal import EmbeddedTemporal
from perennial.loopback import LOOPBACK
from perennial.settings import Settings


class Stack:
    """Everything that one `perennial up` runs, and where it answers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.data_dir.absolute()
        processes = self.folder / "processes"
        self.postgres = EmbeddedPostgres(self.folder / "postgres")
        self.temporal = EmbeddedTemporal(self.folder / "temporal")
        self.api = Service("api", "api", folder=processes)
        self.router = Service("router", "router", folder=processes)
        self.worker = Service("worker", "worker", folder=processes)
        self.ports: dict[str, PortChoice] = {}

    @property
    def servers(self) -> Sequence[Server]:
        """In the order of starting."""
        return self.postgres, self.temporal, *self.services

    @property
    def services(self) -> Sequence[Service]:
        """Our own processes."""
        return self.api, self.router, self.worker

    @property
    def api_url(self) -> str:
        """Where the HTTP API answers."""
        return f"http://{LOOPBACK}:{self.ports['api'].port}"

    @property
    def temporal_ui_url(self) -> str:
        """Where Temporal's UI answers."""
        return f"http://{LOOPBACK}:{self.ports['Temporal UI'].port}"

    def choose_ports(self) -> None:
        """Give each server the port of the settings, or the next free one."""
        wanted = {
            "PostgreSQL": self.settings.postgres_port,
            "Temporal": self.settings.temporal_port,
            "Temporal UI": self.settings.temporal_ui_port,
            "api": self.settings.api_port,
            "router": self.settings.router_port,
            "worker": self.settings.worker_port,
        }
        for name, port in wanted.items():
            taken = frozenset(choice.port for choice in self.ports.values())
            self.ports[name] = choose_port(port, taken=taken)
        self.postgres.port = self.ports["PostgreSQL"].port
        self.temporal.port = self.ports["Temporal"].port
        self.temporal.ui_port = self.ports["Temporal UI"].port

    def configure_services(self) -> None:
        """Tell our processes where the others are."""
        environment = {
            "PERENNIAL_DATABASE_URL": self.postgres.url(),
            "PERENNIAL_TEMPORAL_ADDRESS": self.temporal.address,
            "PERENNIAL_TEMPORAL_UI_URL": self.temporal_ui_url,
            "PERENNIAL_PUBLIC_URL": self.api_url,
            "PERENNIAL_JOURNAL_DIR": str(self.settings.journal_dir or self.folder / "journal"),
            "PERENNIAL_HOST": LOOPBACK,
            **{f"PERENNIAL_{name.upper()}_PORT": str(self.ports[name].port) for name in ("api", "router", "worker")},
        }
        for service in self.services:
            service.configure(port=self.ports[service.child.name].port, environment=environment)

    def addresses(self, keys: Keyring) -> dict[str, str]:
        """What `dev.json` tells programs."""
        return {
            "api": self.api_url,
            "console": f"{self.api_url}/inbox",
            "inbox": f"{self.api_url}/inbox",
            "docs": f"{self.api_url}/docs",
            "temporal_ui": self.temporal_ui_url,
            "temporal_address": self.temporal.address,
            "database_url": self.postgres.url(),
            "admin_key": keys.admin_key,
            "write_key": keys.write_key,
            "browser_key": keys.browser_key,
        }


async def run(settings: Settings, *, demo: bool, console: Console) -> None:
    """Start everything, tell where it is, watch it until SIGINT, SIGTERM or SIGHUP; raises StartFailedError."""
    _stop_on_signals()
    stack = Stack(settings)
    with held(stack.folder):
        async with AsyncExitStack() as started:
            started.callback(console.print, "Stopped. The data is kept for the next start.")
            try:
                keys = await _start(stack, started, console)
                with announced(stack.folder, stack.addresses(keys)):
                    console.print(_table(stack.addresses(keys), stack.folder))
                    await _watch(stack, keys, demo=demo, console=console)
            except asyncio.CancelledError:
                console.print("Stopping what was started here ...")


async def _start(stack: Stack, started: AsyncExitStack, console: Console) -> Keyring:
    make_folder(stack.folder / "processes")
    close_files(stack.folder / "processes")
    await _end_orphans(stack, console)
    stack.choose_ports()
    _tell_moved_ports(stack, console)
    if stack.postgres.is_moved:
        where = stack.postgres.folder
        console.print(
            f"PostgreSQL refuses to run as root, and others may not enter this folder: its data is in {where}"
        )
    for server, says in ((stack.postgres, "PostgreSQL 18"), (stack.temporal, "Temporal with its UI")):
        await _start_one(server, says, started, console)
    with _step(console, "Database schema"):
        if not await is_newest(stack.postgres.url()):
            await asyncio.to_thread(upgrade, stack.postgres.url())
    with _step(console, "Keys"):
        keys = await ensure_keys(stack.postgres.url(), stack.folder / "keys.json")
    stack.configure_services()
    with _step(console, "API, router and worker"):
        for service in stack.services:
            started.push_async_callback(service.stop)
        await _start_together(stack.services)
    with _step(console, "Built-in journeys and templates"):
        await publish_builtins(stack.api_url, keys.admin_key, stack.settings.templates_dir)
    return keys


async def _start_together(services: Sequence[Service]) -> None:
    """Start them side by side; the first that fails is what is told, and it stops the others' starting."""
    try:
        async with asyncio.TaskGroup() as starting:
            for service in services:
                starting.create_task(service.start())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _start_one(server: Server, says: str, started: AsyncExitStack, console: Console) -> None:
    with _step(console, says):
        started.push_async_callback(server.stop)
        await server.start()


async def _watch(stack: Stack, keys: Keyring, *, demo: bool, console: Console) -> None:
    async with asyncio.TaskGroup() as running:
        running.create_task(supervise(stack.servers, console.print))
        running.create_task(keep_namespace(stack.temporal, stack.settings.temporal_namespace, console.print))
        if demo:
            from perennial.demo import run_demo

            running.create_task(run_demo(stack.api_url, keys.admin_key, keys.write_key, tell=console.print))


async def _end_orphans(stack: Stack, console: Console) -> None:
    ended = [server.child.name for server in reversed(stack.servers) if await server.end_orphan()]
    if ended:
        console.print(f"An earlier run was killed; stopped what it had left: {', '.join(ended)}.")


def _tell_moved_ports(stack: Stack, console: Console) -> None:
    for name, choice in stack.ports.items():
        if choice.holder is not None:
            console.print(f"Port {choice.wanted} is taken by {choice.holder}; {name} uses {choice.port} instead.")


@contextmanager
def _step(console: Console, name: str) -> Iterator[None]:
    """Show that the step runs, then how long it took."""
    started = time.monotonic()
    with console.status(f"{name} ..."):
        yield
    console.print(f"[green]✓[/green] {name:<40} {time.monotonic() - started:5.1f} s")


def _table(addresses: dict[str, str], folder: Path) -> Table:
    table = Table(title="Perennial is up", caption=f"Logs and data: {folder}   Stop: Ctrl-C", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # keys and addresses are for copying: never cut
    for name, value in addresses.items():
        table.add_row(name.replace("_", " "), value)
    return table


def _stop_on_signals() -> None:
    """The first signal asks the main task to end; it stops everything in order, so later ones change nothing."""
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    requested = False

    def request_stop() -> None:
        nonlocal requested
        if main is not None and not requested:
            requested = True
            main.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, request_stop)
