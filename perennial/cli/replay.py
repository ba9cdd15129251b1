"""`perennial replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perennial.cli.terminal import console, load_settings, run

if TYPE_CHECKING:
    from perennial.replaying import Replayed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def replay(
    query: Annotated[
        str, typer.Option(metavar="QUERY", help="Which runs, in Temporal's query language.")
    ] = "ExecutionStatus = 'Running'",
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the latest first.")] = 200,
) -> None:
    """Replay runs of the live system on this version's code, before deploying it: would any of them break?

    Histories are read and nothing is changed. Ends with 1 if a run would fail on this code, naming it.

    [dim]Examples:[/dim]
      perennial replay
      perennial replay --query "Journey = 'abandoned-cart' AND Step = 'reminder'" --limit 1000
    """
    from perennial.replaying import replay_live

    replayed = run(replay_live(load_settings(), query, limit, tell=_tell))
    broken = sum(not each.is_fine for each in replayed)
    console.print(f"{len(replayed)} runs replayed, {broken} would break.")
    if broken:
        raise typer.Exit(1)


def _tell(replayed: Replayed) -> None:
    if not replayed.is_fine:
        console.print(f"{replayed.workflow_id}: {replayed.fault}", style="red", markup=False, highlight=False)
