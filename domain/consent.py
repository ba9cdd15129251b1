"""Consent as it is recorded: for a purpose on a channel, in a state, with the evidence of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from domain.addresses import TRAIT_OF_CHANNEL

PURPOSE = r"^[a-z][a-z0-9_-]{0,62}$"
MARKETING = "marketing"
TRANSACTIONAL = "transactional"
TRIAL = "test"
"""Of tests of templates, which go to whom a marketer names and may show any customer's data."""
EVERY_CHANNEL = "all"
"""A record for every channel at once."""
_NOBODY_ASKS: Final = frozenset({TRANSACTIONAL, TRIAL, EVERY_CHANNEL})
"""Words for which no consent is asked: who takes it back means marketing, with each of its topics."""
CONSENT_GRANTED = "Consent Granted"
CONSENT_REQUESTED = "Consent Requested"
"""Somebody asked for messages and is to confirm it from their own mailbox: the first half of a double opt-in."""
CONSENT_WITHDRAWN = "Consent Withdrawn"


class ConsentState(StrEnum):
    """`pending` is a double opt-in that has not been confirmed yet; it permits nothing."""

    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    PENDING = "pending"


STATE_OF_EVENT: Final = {
    CONSENT_GRANTED: ConsentState.SUBSCRIBED,
    CONSENT_REQUESTED: ConsentState.PENDING,
    CONSENT_WITHDRAWN: ConsentState.UNSUBSCRIBED,
}


class ConsentSource(StrEnum):
    """Where a consent was given or withdrawn."""

    API = "api"
    IMPORT = "import"
    EVENT = "event"
    ONE_CLICK = "one-click"
    PREFERENCES = "preferences"
    COMPLAINT = "complaint"
    DOUBLE_OPT_IN = "double-opt-in"
    MOVED = "moved"
    """A grant that followed its customer to another address, which a trusted source set."""


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """One act of consent. `event_id` is the event that tells the same, so that it is never recorded twice.

    `address`: the one that it names. None: the customer's at that moment, else the first that a trusted source sets.
    """

    customer_id: UUID
    purpose: str
    channel: str
    state: ConsentState
    at: datetime
    source: ConsentSource
    event_id: UUID
    evidence: Mapping[str, Any] = field(default_factory=dict)  # text version, ip, user agent, form
    address: str | None = None
    sent: datetime | None = None  # orders what was said at the same instant; None: at that instant


def consent_of_event(name: str, properties: Mapping[str, Any]) -> tuple[str, str, ConsentState] | None:
    """Purpose, channel and state of one of the events of `STATE_OF_EVENT`, or None for any other.

    `purpose` may be absent (marketing) and so may `channel` (email). What is stated but cannot be read permits nothing
    (`unread_of_event`), and takes back everything: who says no in a way that we do not understand has said no.
    """
    state = STATE_OF_EVENT.get(name)
    if state is None:
        return None
    purpose = _word(properties.get("purpose"), absent=MARKETING)
    channel = _word(properties.get("channel"), absent="email")
    if state is ConsentState.UNSUBSCRIBED:
        return MARKETING if purpose is None or purpose in _NOBODY_ASKS else purpose, channel or EVERY_CHANNEL, state
    return None if unread_of_event(properties) or purpose is None or channel is None else (purpose, channel, state)


def unread_of_event(properties: Mapping[str, Any]) -> list[str]:
    """Which of `purpose` and `channel` nobody can consent to: no name of at most 63 characters, or one of ours."""
    purpose = _word(properties.get("purpose"), absent=MARKETING)
    is_read = {
        "purpose": purpose is not None and purpose not in _NOBODY_ASKS,
        "channel": _word(properties.get("channel"), absent="email") is not None,
    }
    return [name for name, read in is_read.items() if not read]


def _word(value: Any, *, absent: str) -> str | None:  # any JSON
    """The name of a purpose or channel, whatever its case and the blanks around it; None where it is none."""
    if value is None or value == "":
        return absent
    name = value.strip().lower() if isinstance(value, str) else ""
    return name if re.fullmatch(PURPOSE, name) else None


def address_of_event(channel: str, properties: Mapping[str, Any]) -> str | None:
    """The address that such an event names: `properties.email`, or `phone` for text messages."""
    told = properties.get(TRAIT_OF_CHANNEL.get(addressed_channel(channel), ""))
    return told.strip() or None if isinstance(told, str) else None


EVIDENCE: Final = ("text", "form", "source", "url", "ip", "user_agent", "evidence")
"""Properties of an event of consent that prove how it was given: any of them makes an imported yes an act."""
GIVEN_AT: Final = "given_at"
"""In the evidence of an import: when the consent was given. Without it the import states only how things stand."""


def evidence_of_event(
    properties: Mapping[str, Any], context: Mapping[str, Any], *, source: str, message_id: str
) -> dict[str, Any]:
    """All that such an event says besides purpose and channel: the wording, the form, the address, where it came from.

    `source` is the event's; a source that the properties name, such as a form, stands as `form` where there is none.
    """
    page = context.get("page")
    seen = {
        "ip": context.get("ip"),
        "user_agent": context.get("userAgent"),
        "url": page.get("url") if isinstance(page, Mapping) else None,
        "form": properties.get("source"),
    }
    told = {name: value for name, value in properties.items() if name not in ("purpose", "channel", "source", GIVEN_AT)}
    return {
        **{name: value for name, value in seen.items() if value is not None},
        **told,
        "source": source,
        "message_id": message_id,
    }


def _proves_itself(properties: Mapping[str, Any]) -> bool:
    """Whether an event of consent carries evidence of the act."""
    return any(properties.get(name) not in (None, "", {}, []) for name in EVIDENCE)


def is_act(properties: Mapping[str, Any], at: datetime, received_at: datetime) -> bool:
    """Whether what an import tells of a consent was done, at a time of its own and with evidence."""
    return at < received_at and _proves_itself(properties)


def is_statement(source: str, state: str, evidence: Mapping[str, Any]) -> bool:
    """Whether a record states only how things stand elsewhere: an imported yes without its own time and evidence.

    Such a statement counts for whoever has no record yet, and changes nothing for anybody else.
    """
    origin = evidence.get("granted", source)  # of a copy: what granted it
    return state == ConsentState.SUBSCRIBED and origin == ConsentSource.IMPORT and GIVEN_AT not in evidence


def addressed_channel(channel: str) -> str:
    """The channel whose address a record belongs to: consent to every channel is given with a mail address."""
    return "email" if channel == EVERY_CHANNEL else channel


class Permission(StrEnum):
    """What the consent records say about sending for a purpose on a channel."""

    GIVEN = "given"
    NEVER_GIVEN = "never_given"
    WITHDRAWN = "withdrawn"
    COMPLAINED = "complained"


Order = tuple[datetime, datetime, UUID]
"""What orders records: time, when it was sent, event."""


@dataclass(frozen=True, slots=True)
class StandingConsent:
    """A consent record as far as sending asks about it. `address`: the hash of the one that it belongs to, if any."""

    purpose: str
    channel: str
    state: str
    at: datetime
    source: str
    order: Order
    address: bytes | None = None
    counts: bool = True  # it says something about the present address
    is_statement: bool = False  # no act, only how things stand elsewhere: `is_statement`


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom a message would go to: the hash of the address (None: the channel has none), and whether it is confirmed:
    for the shop's defaults, and for messages of value."""

    address: bytes | None
    is_confirmed: bool
    takes_value: bool = True


ANYBODY: Final = Addressee(None, is_confirmed=True)
"""Whoever the shop's own systems pass a message on to."""


def permission(
    records: Iterable[StandingConsent],
    purpose: str,
    channel: str,
    defaults: Mapping[str, ConsentState],
    to: Addressee = ANYBODY,
) -> Permission:
    """Whether a message for `purpose` may be sent to an address. `records`: the person's, and its withdrawals.

    Transactional messages need no consent. A grant counts for its own address only, a withdrawal always. A topic
    without a record of its own goes by the record for marketing, and whoever withdrew marketing altogether gets no
    topic either, except one that was subscribed to later; asking for marketing again brings none of them back.
    `defaults` is the shop's word for who never said anything; it counts for confirmed addresses.
    """
    if purpose == TRANSACTIONAL:
        return Permission.GIVEN
    fitting = [record for record in records if record.channel in (channel, EVERY_CHANNEL) and _counts(record, to)]
    own, general = decisive(fitting, purpose), decisive(fitting, MARKETING)
    said = decisive([each for each in fitting if each.state != ConsentState.PENDING], MARKETING)
    is_over = own is None or said is None or own.order <= said.order or own.is_statement
    if said is not None and said.state == ConsentState.UNSUBSCRIBED and is_over:
        return _refused(said)
    found = own or general
    if found is None:
        default = defaults.get(purpose, defaults.get(MARKETING, ConsentState.UNSUBSCRIBED))
        is_given = default == ConsentState.SUBSCRIBED and to.is_confirmed
        return Permission.GIVEN if is_given else Permission.NEVER_GIVEN
    if found.state == ConsentState.PENDING:  # it answers nothing: the no before it stands until there is a yes
        answered = decisive([each for each in fitting if each.state != ConsentState.PENDING], purpose) or said
        found = answered if answered is not None and answered.state == ConsentState.UNSUBSCRIBED else found
    if found.state == ConsentState.UNSUBSCRIBED:
        return _refused(found)
    return Permission.GIVEN if found.state == ConsentState.SUBSCRIBED else Permission.NEVER_GIVEN


def _counts(record: StandingConsent, to: Addressee) -> bool:
    return to.address is None or record.state == ConsentState.UNSUBSCRIBED or record.address == to.address


def decisive(records: Iterable[StandingConsent], purpose: str) -> StandingConsent | None:
    """The record that counts: the latest. A request changes nothing for whoever had said yes before, and a statement of
    standing changes nothing for whoever had said anything."""
    found: StandingConsent | None = None
    for record in sorted((each for each in records if each.purpose == purpose), key=lambda each: each.order):
        was_given = found is not None and found.state == ConsentState.SUBSCRIBED
        is_asked = was_given and record.state == ConsentState.PENDING
        is_stated = found is not None and record.is_statement
        if not (is_asked or is_stated):
            found = record
    return found


def _refused(record: StandingConsent) -> Permission:
    return Permission.COMPLAINED if record.source == ConsentSource.COMPLAINT else Permission.WITHDRAWN
