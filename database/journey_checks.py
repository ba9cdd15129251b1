"""What a journey's checks need to know of everything around it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from sqlalchemy import select, text

from database.documents import DocumentRow, DocumentVersion
from database.programmes import live_programme
from database.rewards import live_rewards
from database.session import ReadSession
from database.shop_settings import shop_settings
from domain.carts import CART_EVENTS
from domain.conditions.checks import Reporters, Seen
from domain.conditions.inputs import inputs_of, inputs_of_where, union_of
from domain.conditions.model import AggregateIs, CartIs, Did
from domain.conditions.walk import leaves
from domain.documents import DocumentState
from domain.events import KIND_NAMES, EventKind
from domain.journeys.checks import Surroundings
from domain.journeys.definition import DateEntry, JourneyDefinition
from domain.journeys.identity import with_ids
from domain.journeys.matches import EventMatch, TraitMatch
from domain.journeys.places import conditions_with_places, matches_with_places, predicates_with_places
from domain.journeys.steps import WaitStep


async def surroundings(
    session: ReadSession, definition: JourneyDefinition, *, allow_private_calls: bool
) -> Surroundings:
    """What this journey refers to, as it stands now."""
    known = await _known_keys(session)
    seen = await seen_facts(session, *_read_by(definition))
    return Surroundings(
        templates=await _templates(session),
        journeys=await _journeys(session),
        rewards=frozenset(reward.key for reward in await live_rewards(session)),
        seen=replace(
            seen, tiers=await _tiers(session), templates=known.get("template", ()), journeys=known.get("journey", ())
        ),
        caps=(await shop_settings(session)).frequency_caps,
        allow_private_calls=allow_private_calls,
    )


async def _templates(session: ReadSession) -> dict[str, str]:
    """The channel of every published template that can be sent."""
    version = (
        (DocumentVersion.kind == DocumentRow.kind)
        & (DocumentVersion.key == DocumentRow.key)
        & (DocumentVersion.version == DocumentRow.live_version)
    )
    channel = DocumentVersion.document["channel"].astext
    statement = select(DocumentRow.key, channel).join(DocumentVersion, version)
    is_block = DocumentVersion.document["block"].astext == "true"
    live = statement.where(
        DocumentRow.kind == "template", DocumentRow.state != DocumentState.ARCHIVED, is_block.is_not(True)
    )
    return {key: channel or "email" for key, channel in await session.execute(live)}


async def _tiers(session: ReadSession) -> frozenset[str]:
    """The tiers of the live programme; none without one."""
    programme = await live_programme(session)
    tiers = programme.definition.tiers if programme else None
    return frozenset(level.tier for level in tiers.levels) if tiers else frozenset()


async def _journeys(session: ReadSession) -> frozenset[str]:
    statement = select(DocumentRow.key).where(
        DocumentRow.kind == "journey", DocumentRow.state != DocumentState.ARCHIVED
    )
    return frozenset((await session.execute(statement)).scalars())


async def _known_keys(session: ReadSession) -> dict[str, set[str]]:
    """The keys of all templates and journeys by kind, archived ones too: messages of theirs may be asked for."""
    found: dict[str, set[str]] = {}
    statement = select(DocumentRow.kind, DocumentRow.key).where(DocumentRow.kind.in_(["template", "journey"]))
    for kind, key in await session.execute(statement):
        found.setdefault(kind, set()).add(key)
    return found


# The latest events of each name, as samples of what its properties look like. By ix_events_name_timestamp.
_SAMPLES = text("""
    SELECT wanted.name, sample.properties
    FROM unnest(CAST(:names AS text[])) AS wanted (name)
    CROSS JOIN LATERAL (
        SELECT properties FROM events WHERE events.name = wanted.name ORDER BY timestamp DESC LIMIT :samples
    ) AS sample
""")
_SAMPLED = 50


# Who told of the latest of each name. By ix_events_name_timestamp.
_EVENT_REPORTERS = text("""
    SELECT wanted.name, bool_or(NOT sample.trusted) AS browsers, bool_or(sample.trusted) AS trusted
    FROM unnest(CAST(:names AS text[])) AS wanted (name)
    CROSS JOIN LATERAL (
        SELECT trusted FROM events WHERE events.name = wanted.name ORDER BY timestamp DESC LIMIT :samples
    ) AS sample
    GROUP BY wanted.name
""")

# Who told of traits, among the latest events that did. By ix_events_name_timestamp.
_TRAIT_REPORTERS = text("""
    SELECT told.name, bool_or(NOT sample.trusted) AS browsers, bool_or(sample.trusted) AS trusted
    FROM (
        SELECT traits, trusted FROM events WHERE name = :identified ORDER BY timestamp DESC LIMIT :samples
    ) AS sample
    CROSS JOIN LATERAL jsonb_object_keys(sample.traits) AS told (name)
    WHERE told.name = ANY(CAST(:names AS text[]))
    GROUP BY told.name
""")
_REPORTS = 2_000

# What traits have come as: in the latest events that set some, and in profiles (imports need not have events). A sample
# is enough for a warning. Without any traits at all nothing can be said (`known`).
_TRAIT_SAMPLES = text("""
    WITH told AS MATERIALIZED (
        (SELECT traits FROM events WHERE name = :identified ORDER BY timestamp DESC LIMIT :samples)
        UNION ALL
        (SELECT traits FROM customers LIMIT :samples)
    )
    SELECT wanted.name, sample.value, (SELECT bool_or(traits <> CAST('{}' AS jsonb)) FROM told) AS known
    FROM unnest(CAST(:names AS text[])) AS wanted (name)
    LEFT JOIN LATERAL (
        SELECT traits -> wanted.name AS value FROM told WHERE jsonb_exists(traits, wanted.name) LIMIT :values
    ) AS sample ON true
""")


async def seen_facts(session: ReadSession, events: frozenset[str], traits: frozenset[str] = frozenset()) -> Seen:
    """What has come in of these events and traits so far: of what types, and who told of it."""
    asked = {"names": sorted(events), "samples": _REPORTS}
    event_reporters = await session.execute(_EVENT_REPORTERS, asked)
    asked = {"names": sorted(traits), "samples": _REPORTS, "identified": KIND_NAMES[EventKind.IDENTIFY]}
    trait_reporters = await session.execute(_TRAIT_REPORTERS, asked) if traits else ()
    return replace(
        await _seen_events(session, events),
        traits=await _seen_traits(session, traits),
        event_reporters={name: Reporters(browsers, trusted) for name, browsers, trusted in event_reporters},
        trait_reporters={name: Reporters(browsers, trusted) for name, browsers, trusted in trait_reporters},
    )


async def _seen_events(session: ReadSession, names: frozenset[str]) -> Seen:
    """The types of the properties of events that have come in, told from the latest of each name."""
    found: dict[str, dict[str, set[str]]] = {}
    for name, properties in await session.execute(_SAMPLES, {"names": sorted(names), "samples": _SAMPLED}):
        _add_types(properties, "", found.setdefault(name, {}))
    return Seen(events=found)


async def _seen_traits(session: ReadSession, names: frozenset[str]) -> dict[str, set[str]] | None:
    """The types of these traits and of what is in them; None where no customer has any trait yet."""
    if not names:
        return None
    asked = {
        "names": sorted(names), "samples": _REPORTS, "values": _SAMPLED, "identified": KIND_NAMES[EventKind.IDENTIFY],
    }  # fmt: skip
    found: dict[str, set[str]] = {}
    is_known = False
    for name, value, known in await session.execute(_TRAIT_SAMPLES, asked):
        is_known = bool(known)
        if value is not None:
            _add_types(value, name, found)
    return found if is_known else None


def _add_types(value: Any, path: str, types: dict[str, set[str]]) -> None:  # any JSON
    """The types at each path below a value: `total`, `products[].sku`."""
    if path:
        types.setdefault(path, set()).add(_JSON_TYPES[type(value)])
    if isinstance(value, dict):
        for name, inner in value.items():
            _add_types(inner, f"{path}.{name}" if path else name, types)
    elif isinstance(value, list):
        for inner in value:
            _add_types(inner, f"{path}[]", types)


_JSON_TYPES = {
    str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object", type(None): "null",
}  # fmt: skip


def _read_by(definition: JourneyDefinition) -> tuple[frozenset[str], frozenset[str]]:
    """The names of all events that a journey speaks of, and the traits that it looks at."""
    written = with_ids(definition)
    looked_at = union_of(inputs_of(condition) for condition, _ in conditions_with_places(written)).traits
    compared = union_of(inputs_of_where([predicate]) for predicate, _ in predicates_with_places(written)).traits
    return names_of(definition), looked_at | compared | _traits_by_path(written)


def _traits_by_path(definition: JourneyDefinition) -> frozenset[str]:
    """The top-level keys of traits that entries, matches and waits name by their path."""
    paths = [entry.date.trait for entry in definition.enter.entries if isinstance(entry, DateEntry)]
    paths += [match.trait for match, _ in matches_with_places(definition) if isinstance(match, TraitMatch)]
    paths += [
        step.wait.trait for step in definition.walk() if isinstance(step, WaitStep) and step.wait.trait is not None
    ]
    return frozenset(re.split(r"[.\[]", path, maxsplit=1)[0] for path in paths)


def names_of(definition: JourneyDefinition) -> frozenset[str]:
    """The names of all events that a journey speaks of."""
    written = with_ids(definition)
    names = {match.event for match, _ in matches_with_places(written) if isinstance(match, EventMatch)}
    for condition, _ in conditions_with_places(written):
        for _, leaf in leaves(condition):
            match leaf:
                case Did(did=event) | AggregateIs(over=event):
                    names.add(event)
                case CartIs():
                    names |= CART_EVENTS
                case _:
                    pass
    return frozenset(names)
