"""What a journey's checks need to know of everything around it."""

from __future__ import annotations

from sqlalchemy import select

from database.documents import DocumentRow, DocumentVersion
from database.events import EventName
from database.session import ReadSession
from database.shop_settings import shop_settings
from domain.conditions.model import AggregateIs, Did
from domain.conditions.walk import leaves
from domain.documents import DocumentState
from domain.journeys.checks import Surroundings
from domain.journeys.definition import JourneyDefinition
from domain.journeys.identity import with_ids
from domain.journeys.matches import EventMatch
from domain.journeys.places import conditions_with_places, matches_with_places


async def surroundings(
    session: ReadSession, definition: JourneyDefinition, *, allow_private_calls: bool
) -> Surroundings:
    """What this journey refers to, as it stands now."""
    return Surroundings(
        templates=await _templates(session),
        journeys=await _journeys(session),
        events=await _seen(session, _event_names(definition)),
        caps=(await shop_settings(session)).frequency_caps,
        allow_private_calls=allow_private_calls,
    )


async def _templates(session: ReadSession) -> dict[str, str]:
    """The channel of every published template."""
    version = (
        (DocumentVersion.kind == DocumentRow.kind)
        & (DocumentVersion.key == DocumentRow.key)
        & (DocumentVersion.version == DocumentRow.live_version)
    )
    channel = DocumentVersion.document["channel"].astext
    statement = select(DocumentRow.key, channel).join(DocumentVersion, version)
    live = statement.where(DocumentRow.kind == "template", DocumentRow.state != DocumentState.ARCHIVED)
    return {key: channel or "email" for key, channel in await session.execute(live)}


async def _journeys(session: ReadSession) -> frozenset[str]:
    statement = select(DocumentRow.key).where(
        DocumentRow.kind == "journey", DocumentRow.state != DocumentState.ARCHIVED
    )
    return frozenset((await session.execute(statement)).scalars())


async def _seen(session: ReadSession, names: frozenset[str]) -> frozenset[str]:
    return frozenset((await session.execute(select(EventName.name).where(EventName.name.in_(names)))).scalars())


def _event_names(definition: JourneyDefinition) -> frozenset[str]:
    written = with_ids(definition)
    names = {match.event for match, _ in matches_with_places(written) if isinstance(match, EventMatch)}
    for condition, _ in conditions_with_places(written):
        for _, leaf in leaves(condition):
            match leaf:
                case Did(did=event) | AggregateIs(over=event):
                    names.add(event)
                case _:
                    pass
    return frozenset(names)
