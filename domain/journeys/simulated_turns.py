"""Whose turn it is in a simulation: as in production, a browser takes none of a trusted customer (decision 0013)."""

from __future__ import annotations

from collections.abc import Sequence

from domain.journeys.definition import Again
from domain.journeys.simulated_run import SimulatedRun
from domain.runs import SUPERSEDED, OutcomeKind


def turns(runs: Sequence[SimulatedRun], *, trusted: bool, gives: bool, tells: bool) -> list[SimulatedRun]:
    """The runs that count against an entry. `trusted`: trusted facts alone lead there; `gives`: the journey does;
    `tells`: it sends messages.
    """
    counts = not trusted
    return [run for run in runs if counts or run.began_trusted or _had_its_turn(run, gives=gives, tells=tells)]


def _had_its_turn(run: SimulatedRun, *, gives: bool, tells: bool) -> bool:
    done = {entry.kind for entry in run.log if entry.outcome == OutcomeKind.DONE}
    return (not tells or "send" in done) if "reward" in done else not gives and "send" in done


def take_over(runs: Sequence[SimulatedRun], reward: str) -> bool:
    """Whether a browser's run gave this and told nobody: the run that asks tells of it and gives no second one."""
    for run in runs:
        told = any(entry.kind == "send" and entry.outcome == OutcomeKind.DONE for entry in run.log)
        if run.ending is not None and not run.began_trusted and not told and reward in run.doubtful_gifts:
            run.doubtful_gifts.remove(reward)
            return True
    return False


def give_way(
    runs: Sequence[SimulatedRun], counting: Sequence[SimulatedRun], occasion: str, again: Again | None
) -> None:
    """End the runs that are passed over and stand in the way of one about `occasion`."""
    alone = again is None or not again.while_active
    for run in runs:
        if run not in counting and run.ending is None and (alone or run.occasion == occasion):
            run.exit(SUPERSEDED)
