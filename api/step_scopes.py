"""Whether a key may publish or enter a journey: it needs the scopes of what the journey's steps do (G22)."""

from __future__ import annotations

from database.definitions import live_journeys
from database.session import ReadSession
from domain.errors import Forbidden
from domain.journeys.definition import JourneyDefinition
from domain.journeys.step_scopes import SCOPES_OF_STEPS, needed_scopes, started_by
from domain.keys import StoredKey


async def require_step_scopes(session: ReadSession, caller: StoredKey, definition: JourneyDefinition) -> None:
    """Look through the journey and those that it starts; raises Forbidden `scope_missing` naming step and scope."""
    if all(caller.may(scope) for scope in SCOPES_OF_STEPS):
        return
    seen, waiting = {definition.journey}, [definition]
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
