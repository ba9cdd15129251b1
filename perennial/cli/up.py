"""`perennial up`."""

from __future__ import annotations

from typing import Annotated

import typer

from perennial.cli.terminal import console, errors, load_settings, run


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("up")(up)


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Bring a small shop to life: customers, orders, live events.")
    ] = False,
) -> None:
    """Start everything on this machine: PostgreSQL, Temporal with its UI, api, router and worker.

    Data is kept in [bold].perennial/[/bold] (PERENNIAL_DATA_DIR); a busy port gives way to the next free one.
    While it runs, [bold].perennial/dev.json[/bold] tells programs the addresses and keys. Ctrl-C stops what it started.

    [dim]Examples:[/dim]
      perennial up
      perennial up --demo
      PERENNIAL_API_PORT=9000 perennial up
    """
    from perennial import up as stack
    from perennial.embedded.faults import StartFailedError

    try:
        run(stack.run(load_settings(), demo=demo, console=console))
    except StartFailedError as error:
        errors.print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None
