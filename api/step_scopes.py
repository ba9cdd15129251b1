"""Whether a key may publish, enter or resume a journey: it needs the scopes of what the journey's steps do (G22)."""

from __future__ import annotations

from collections.abc import Sequence

from database.definitions import live_journeys
from database.publishing import acting_versions
from database.session import ReadSession
from domain.errors import Forbidden
from domain.journeys.definition import JourneyDefinition
from domain.journeys.step_scopes import SCOPES_OF_STEPS, needed_scopes, started_by
from domain.keys import StoredKey


async def require_step_scopes(session: ReadSession, caller: StoredKey, definition: JourneyDefinition) -> None:
    """Look through the journey and those that it starts; raises Forbidden `scope_missing` naming step and scope."""
    await _require(session, caller, [definition])


async def require_run_scopes(session: ReadSession, caller: StoredKey, journey: str) -> None:
    """The same of every version by which the journey goes on: the live one, and those of its active runs."""
    if not _may_everything(caller):
        await _require(session, caller, await acting_versions(session, journey))


def _may_everything(caller: StoredKey) -> bool:
    return all(caller.may(scope) for scope in SCOPES_OF_STEPS)


async def _require(session: ReadSession, caller: StoredKey, definitions: Sequence[JourneyDefinition]) -> None:
    if _may_everything(caller):
        return
    seen, waiting = {each.journey for each in definitions}, list(definitions)
    while waiting:
        current = waiting.pop(0)
        _refuse(caller, current)
        if started := set(started_by(current)) - seen:
            seen |= started
            waiting += await live_journeys(session, started)


def _refuse(caller: StoredKey, definition: JourneyDefinition) -> None:
    for needed in needed_scopes(definition):
        if not caller.may(needed.scope):
            detail = (
                f"The step {needed.step} ({needed.kind}) of the journey {needed.journey} needs the scope "
                f"{needed.scope}, which this key lacks."
            )
            members = {"journey": needed.journey, "step": needed.step, "scope": needed.scope}
            raise Forbidden(detail, code="scope_missing", members=members)
