"""The command line: one file per group of commands, each with a `--help` that teaches."""

from __future__ import annotations

import typer

from perennial.cli import (
    doctor,
    imports,
    journeys,
    keys,
    migrate,
    processes,
    quarantine,
    replay,
    restore,
    suppressions,
    up,
)

app = typer.Typer(
    name="perennial",
    help="Customer journeys for shops: events in, journeys on Temporal, email through one gate.",
    epilog="Start with [bold]perennial up[/bold]: everything on this machine, addresses and keys in one table.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

up.register(app)
processes.register(app)
migrate.register(app)
keys.register(app)
journeys.register(app)
imports.register(app)
quarantine.register(app)
suppressions.register(app)
doctor.register(app)
replay.register(app)
restore.register(app)
