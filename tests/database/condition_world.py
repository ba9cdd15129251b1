"""A small world of customers with every kind of odd JSON, for both evaluators of conditions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import insert

from database.conditions import ShopDefaults, Subject
from database.consent import Consent
from database.customers import Customer
from database.events import Event
from database.messages import Message, MessageEvent
from database.session import Database
from domain.carts import CART_EVENTS
from domain.conditions.history import History, PastConsent, PastEvent, PastMessage, Report
from domain.conditions.scope import Scope
from domain.customers import profile_of
from domain.local_time import resolve_zone
from tests.database.cart_world import NAMED, carts_of, store_carts
from tests.database.loyalty_world import TIERS, loyalty_of, store_loyalty
from tests.programmes import publish_programme

SHOP = ShopDefaults(zone="Europe/Berlin", consent={"newsletter": "subscribed"})

# Moments around changes of the clocks, leap days and the turn of a year.
MOMENTS = [
    datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
    datetime(2026, 3, 8, 7, 30, tzinfo=UTC),
    datetime(2024, 2, 29, 12, 0, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 30, tzinfo=UTC),
    datetime(2026, 4, 29, 0, 30, 0, 1, tzinfo=UTC),
]
DATES = [
    *(moment.date().isoformat() for moment in MOMENTS),
    *(moment.isoformat() for moment in MOMENTS),
    *("2026-03-29T02:30", "2026-03-28 23:30:00-0530", "2024-02-29T10:00:00.123456789Z", "1999-12-31", "2000-02-29"),
    *("2024-02-30", "2024-13-01", "2024-02-30T10:00:00Z", "2024-02-29T24:00:00Z", "2024-02-29T10:00:60Z", "2024-2-9"),
    *("9999-12-31", "9999-12-31T23:59:59Z", "9998-12-31T23:59:59-14:00", "1000-01-01T00:00:00+14:59", "0999-01-01"),
    *("2024-02-29\n", "2024-02-29T10:00:00Z ", "２０２４-02-29", "2024-02-29T10:00:00+15:00", "2026-10-25T02:30:00"),
]
TEXTS = [
    *(
        "",
        "a",
        "A",
        "ab",
        "Ä",
        "ä",
        "ß",
        "SS",
        "İ",
        "i̇",
        "ς",
        "Σ",
        "é",
        "e\u0301",
        "日本",
        "😀",
        "\uffff",
        "\u2028",
        "\n",
    ),
    *("a*b", "a%b", "a_b", "a\\b", "axb", "\\", "%", "*", "{}", "'", '"', "1", "1.0", "true", "null", "vip", "VIP"),
    *DATES,
]
NUMBERS = [
    *(0, -0.0, 1, 1.0, -3, 0.1, 0.2, 0.3, 0.30000000000000004, 14.28, 14.280000000000001, 99.99, 100, 5e-324, 1e-7),
    *(2**53, 2**53 + 1, float(2**53), 1e22, 1e23, 1e308, -1e308, 2**63 - 1, float(2**63)),
]
SCALARS: list[Any] = [*TEXTS, *NUMBERS, *NUMBERS, True, False, None]
KEYS = ["a", "b", "items", "0", "тег", "$", "a b", "'", '"', "%s", ":x", "{", "-1", "; --"]
NAMES = ["Order Completed", "Product Added", "x' OR 1=1 --", "{}"]
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "Pacific/Apia", "America/Havana"]
ODD_ZONES = [None, "", "BC", "PM", "Nowhere/Bogus", "infinity", "localtime", "+05"]
STEPS = ["split", "b' --"]


def _json(random: Random, depth: int = 3) -> Any:
    """Any JSON, from the pools, so that equal values meet often."""
    kind = random.random()
    if depth == 0 or kind < 0.55:
        return random.choice(random.choice([SCALARS, DATES, NUMBERS, TEXTS[:12]]))
    if kind < 0.75:
        return [_json(random, depth - 1) for _ in range(random.randrange(4))]
    return _object(random, depth - 1)


def _object(random: Random, depth: int = 3) -> dict[str, Any]:
    keys = [*random.sample(KEYS[:3], random.randrange(1, 4)), *random.sample(KEYS[3:], random.randrange(4))]
    return {key: _json(random, depth) for key in keys}


@dataclass(frozen=True)
class Person:
    """A customer as both evaluators see it: a subject for SQL, history and scope for memory.

    `trusted_scope` is the scope without what browsers told.
    """

    subject: Subject
    history: History
    scope: Scope
    trusted_scope: Scope


class World:
    """The people, each once outside of any run and once in one, and the moment at which audiences are judged.

    Not a dataclass: Hypothesis would print all of it beside a counterexample.
    """

    def __init__(self, outside: list[Person], within_runs: list[Person], audience_at: datetime) -> None:
        self.outside = outside
        self.within_runs = within_runs
        self.audience_at = audience_at


async def populate(database: Database, random: Random, size: int) -> World:
    """Make and store `size` customers."""
    audience_at = MOMENTS[0]
    await publish_programme(database, MOMENTS[0], tiers=TIERS)
    outside, within_runs = [], []
    for number in range(size):
        customer_id = UUID(int=random.getrandbits(128), version=4)
        row: dict[str, Any] = {
            "id": customer_id,
            "external_id": random.choice([None, f"u{number}"]),
            "traits": _object(random) | random.choice([{}, {"timezone": random.choice([*ZONES, *ODD_ZONES[1:], 7])}]),
            "zone": random.choice(ZONES + ODD_ZONES),
        }
        row["trait_times"] = {name: _stamp(random) for name in row["traits"]}
        row["observed"] = random.choice([{}, {"timezone": [random.choice(ZONES), *_stamp(random)]}])
        events, messages, consents = _events(random), _messages(random), _consents(random)
        loyalty = loyalty_of(random, MOMENTS)
        carts = carts_of(random, customer_id, MOMENTS)
        await _store(database, row, events, messages, consents)
        async with database.transaction() as session:
            await store_loyalty(session, customer_id, loyalty)
            await store_carts(session, customer_id, carts)
        full = History(
            loyalty=loyalty,
            customer_id=customer_id,
            events=events,
            messages=messages,
            consents=consents,
            consent_defaults=SHOP.consent,
            carts=carts,
            browser_carts=any(event.name in CART_EVENTS and not event.trusted for event in events),
            currency=SHOP.currency,
        )
        outside.append(_outside(row, full, audience_at))
        within_runs.append(_within_run(random, row, full))
    return World(outside, within_runs, audience_at)


def _outside(row: dict[str, Any], history: History, as_of: datetime) -> Person:
    subject = Subject(customer_id=history.customer_id, as_of=as_of)
    scopes = [_scope(each, as_of, None, {}) for each in (row, _trusted(row))]
    return Person(subject, history, *scopes)


def _within_run(random: Random, row: dict[str, Any], full: History) -> Person:
    as_of, saved = random.choice(MOMENTS), _object(random)
    entry = {"event": "x", "properties": _object(random) | random.choice(NAMED)}
    variants = {step: random.choice(["a", "b"]) for step in random.sample(STEPS, random.randrange(3))}
    number = random.randrange(8)
    history = History(
        customer_id=full.customer_id,
        events=[event for event in full.events if event.number <= number],
        messages=full.messages,
        consents=full.consents,
        consent_defaults=SHOP.consent,
        loyalty=full.loyalty,
        carts=full.carts,
        browser_carts=full.browser_carts,
        currency=full.currency,
        variants=variants,
        entered_at=random.choice([None, *MOMENTS]),
        entry_number=random.choice([None, 1, 3]),
    )
    subject = Subject(
        customer_id=full.customer_id,
        as_of=as_of,
        number=number,
        entry=entry,
        saved=saved,
        variants=variants,
        entered_at=history.entered_at,
        entry_number=history.entry_number,
    )
    scopes = [_scope(each, as_of, entry, saved) for each in (row, _trusted(row))]
    return Person(subject, history, *scopes)


def _stamp(random: Random) -> list[Any]:
    """When a trait was told, and sometimes that a browser told it."""
    return ["2026-01-01T00:00:00.000000+00:00", "m", random.choice([True, False])]


def _trusted(row: dict[str, Any]) -> dict[str, Any]:
    """The customer without the traits that a browser told, in the zone that a trusted source told."""
    profile = profile_of(row["traits"], row["trait_times"], row["observed"]).trusted()
    return row | {"traits": profile.traits, "zone": profile.zone}


def _scope(row: dict[str, Any], as_of: datetime, entry: dict[str, Any] | None, saved: dict[str, Any]) -> Scope:
    customer = {"id": row["external_id"], "traits": row["traits"]}
    return Scope(as_of=as_of, zone=resolve_zone(row["zone"], SHOP.zone), entry=entry, customer=customer, saved=saved)


def _near(random: Random) -> datetime:
    return random.choice(MOMENTS) + random.choice([-1, 0, 1]) * timedelta(
        seconds=random.choice([0, 1, 3_600, 2_592_000])
    )


def _events(random: Random) -> list[PastEvent]:
    return [
        PastEvent(
            name=random.choice(NAMES),
            timestamp=_near(random),
            number=number,
            properties=_object(random) | _amounts(random),
            context=_object(random, 1),
            trusted=random.random() < 0.6,
        )
        for number in range(random.randrange(8))
    ]


CURRENCIES: list[Any] = [
    None,
    None,
    "",
    [],
    "EUR",
    "EUR",
    " usd\xa0",
    "US$",
    "€",
    "Euros",
    "JPY",
    "$",
    "uſd",
    "Eur",
    "GBp",
    "yen",
    7,
    {"a": 1},
]


def _amounts(random: Random) -> dict[str, Any]:
    """What an order costs, in whatever currency it and its products say."""

    def priced(name: str) -> dict[str, Any]:
        return {name: random.choice([10, 2.5, "5", None]), "currency": random.choice(CURRENCIES)}

    products = [random.choice([priced("price"), {"price": 4}, 4]) for _ in range(random.randrange(3))]
    return random.choice([{}, priced("total"), {"products": products}, {**priced("total"), "products": products}])


def _messages(random: Random) -> list[PastMessage]:
    return [
        PastMessage(
            template=random.choice(["t", "u' --"]),
            channel=random.choice(["email", "webhook"]),
            journey=random.choice([None, "j"]),
            campaign=random.choice([None, "c"]),
            sent_at=random.choice([None, _near(random)]),
            reports=[
                Report(
                    random.choice(["delivered", "opened", "clicked", "bounced", "complained"]),
                    _near(random),
                    random.choice([None, "human", "machine", "unknown"]),
                )
                for _ in range(random.randrange(4))
            ],
        )
        for _ in range(random.randrange(3))
    ]


def _consents(random: Random) -> list[PastConsent]:
    return [
        PastConsent(
            random.choice(["marketing", "newsletter"]),
            random.choice(["email", "webhook"]),
            random.choice(["subscribed", "unsubscribed", "pending"]),
            _near(random),
            trusted=random.random() < 0.6,
        )
        for _ in range(random.randrange(4))
    ]


async def _store(
    database: Database,
    customer: dict[str, Any],
    events: list[PastEvent],
    messages: list[PastMessage],
    consents: list[PastConsent],
) -> None:
    async with database.transaction() as session:
        await session.execute(insert(Customer).values(first_seen=MOMENTS[0], last_seen=MOMENTS[0], **customer))
        for event in events:
            await session.execute(insert(Event).values(_event_row(customer["id"], event)))
        for position, message in enumerate(messages):
            message_id = UUID(int=customer["id"].int ^ position)
            await session.execute(insert(Message).values(_message_row(customer["id"], message_id, message)))
            for number, report in enumerate(message.reports):
                await session.execute(insert(MessageEvent).values(_report_row(message_id, number, report)))
        for position, consent in enumerate(consents):
            row = _consent_row(customer["id"], position, consent)
            await session.execute(insert(Consent).values(row))
            if not consent.trusted:
                told = PastEvent(name="Consent Withdrawn", timestamp=consent.at, number=100 + position, trusted=False)
                await session.execute(insert(Event).values(_event_row(customer["id"], told) | {"id": row["event_id"]}))


def _event_row(customer_id: UUID, event: PastEvent) -> dict[str, Any]:
    return {
        "id": UUID(int=customer_id.int ^ event.number),
        "source": "test",
        "message_id": f"{customer_id}/{event.number}",
        "kind": "track",
        "name": event.name,
        "subject": f"u:{customer_id}",
        "timestamp": event.timestamp,
        "received_at": event.timestamp,
        "properties": event.properties,
        "traits": {},
        "context": event.context,
        "trusted": event.trusted,
        "status": "routed",
        "customer_id": customer_id,
        "number": event.number,
    }


def _message_row(customer_id: UUID, message_id: UUID, message: PastMessage) -> dict[str, Any]:
    return {
        "id": message_id,
        "customer_id": customer_id,
        "channel": message.channel,
        "purpose": "marketing",
        "template": message.template,
        "journey": message.journey,
        "campaign": message.campaign,
        "state": "accepted" if message.sent_at else "skipped",
        "created_at": MOMENTS[0],
        "accepted_at": message.sent_at,
    }


def _report_row(message_id: UUID, number: int, report: Report) -> dict[str, Any]:
    return {
        "provider": "test",
        "provider_event_id": f"{message_id}/{number}",
        "message_id": message_id,
        "kind": report.kind,
        "actor": report.actor,
        "at": report.at,
        "detail": {},
    }


def _consent_row(customer_id: UUID, position: int, consent: PastConsent) -> dict[str, Any]:
    return {
        "id": UUID(int=(customer_id.int >> 8 << 8) + position),  # later records have greater ids
        "customer_id": customer_id,
        "purpose": consent.purpose,
        "channel": consent.channel,
        "state": consent.state,
        "at": consent.at,
        "source": "api",
        "evidence": {},
        "event_id": UUID(int=(customer_id.int >> 8 << 8) + position),
    }
