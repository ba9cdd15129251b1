"""The shop's settings: what its people change while the program runs. Where things run is perennial/settings.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, Field, StringConstraints

from domain.conditions.subject import ShopDefaults
from domain.consent import PURPOSE, ConsentState
from domain.document import Document, WholeNumber
from domain.durations import PeriodText, parse_duration
from domain.languages import Language
from domain.local_time import ZONES
from domain.retention import Retention
from domain.wire_addresses import needs_smtputf8, wire_address


def _known_zone(name: str) -> str:
    if name not in ZONES:
        raise ValueError("not an IANA time zone; write one such as Europe/Berlin")
    return name


LINE = r"^[^\x00-\x1f\x7f]*$"
Line = Annotated[str, StringConstraints(pattern=LINE, max_length=200)]
"""Text that may stand in a mail header: no control characters."""
BLANKS = r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
"""Control characters and all blanks, spelt out: what `\\s` means differs between Python, Rust and JSON Schema."""
ADDRESS = rf"^[^{BLANKS}@<>,;:\"()\[\]\\]+@[^{BLANKS}@<>,;]+$"
Address = Annotated[str, StringConstraints(pattern=ADDRESS, max_length=254)]
Zone = Annotated[
    str, AfterValidator(_known_zone), Field(examples=["Europe/Berlin"], json_schema_extra={"enum": sorted(ZONES)})
]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), Field(examples=["EUR"])]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"), Field(examples=["22:00"])]
WebAddress = Annotated[str, StringConstraints(pattern=rf"^https?://[^{BLANKS}\"'<>]+$", max_length=500)]
DomainName = Annotated[
    str, StringConstraints(pattern=r"^[^\s/:@?#.]+(\.[^\s/:@?#.]+)+$", max_length=253), Field(examples=["shop.example"])
]
Purpose = Annotated[str, StringConstraints(pattern=PURPOSE)]
SettingsChannel = Literal["email", "push", "sms", "webhook"]


def _fault_of(address: str) -> str | None:
    if needs_smtputf8(address):
        return "write the part before the @ in ASCII: most mail servers take no other letters there"
    return "no domain can be called so" if wire_address(address) is None else None


class Sender(Document):
    """Whom messages come from."""

    name: Line = "My shop"
    email: Address = "hello@shop.example"
    reply_to: Address | None = None

    def unwritable(self) -> dict[str, str]:
        """Which of its addresses cannot stand in every mail, by member, with what to do about it."""
        given = {"email": self.email, "reply_to": self.reply_to}
        return {name: each for name, address in given.items() if address and (each := _fault_of(address))}


class QuietHours(Document):
    """From when to when, in the customer's zone, nothing but transactional messages leaves; may span midnight."""

    from_: TimeOfDay = Field(validation_alias=AliasChoices("from", "start"), serialization_alias="from")
    to: TimeOfDay = Field(validation_alias=AliasChoices("to", "end"))


class FrequencyCap(Document):
    """At most this many messages of a channel (and purpose, if named) to one person in any window of `per`."""

    channel: SettingsChannel = "email"
    purpose: Purpose | None = None
    at_most: WholeNumber = Field(ge=0, le=10_000)
    per: PeriodText | Literal["day", "week", "month"] = Field(
        description="A rolling window such as 7d, or a day, week or month of the customer's calendar"
    )


class OptInLimit(Document):
    """How often one mailbox is asked to confirm a double opt-in, whoever asks for it and however it is written. What
    trusted sources ask for and what browsers ask for are counted apart, and so are, by `at_most` alone, all other
    messages of untrusted runs to an address that is not confirmed.
    """

    at_most: WholeNumber = Field(default=3, ge=1, le=1_000, description="Mails in any window of `per`")
    per: PeriodText = "24h"
    apart: PeriodText = Field(default="10m", description="The least time between two of them")

    def horizon(self, as_of: datetime) -> datetime:
        """The earliest time that the limit looks back to."""
        return min(parse_duration(each).before(as_of) for each in (self.per, self.apart))

    def is_used_up(self, asked: Sequence[datetime], as_of: datetime) -> bool:
        """Whether one more mail now, after these, would be too many."""
        return sum(at > parse_duration(self.per).before(as_of) for at in asked) >= self.at_most

    def is_too_soon(self, asked: Sequence[datetime], as_of: datetime) -> bool:
        """Whether one more mail now would follow one of these too closely."""
        return any(at > parse_duration(self.apart).before(as_of) for at in asked)


class ShopSettings(Document):
    """`GET/PUT /v1/settings`. A PUT replaces all of it; what is left out gets its default."""

    model_config = Document.model_config | {"defer_build": False}  # FastAPI takes only built models for bodies

    name: Line = "My shop"
    language: Annotated[Language, Field(examples=["de"])] = Field(
        default="en",
        description="The language of templates that do not name theirs, and, for customers who state none, of the "
        "footers of mails and the pages that they lead to (de, en, es, fr, it, nl; others by translation files).",
    )
    zone: Zone = "UTC"
    currency: Currency = "EUR"
    sender: Sender = Sender()
    sender_domains: list[DomainName] = Field(
        default=[],
        max_length=50,
        description="Domains besides the sender's from which the provider lets the shop write: templates may name "
        "senders there.",
    )
    quiet_hours: QuietHours | None = None
    frequency_caps: list[FrequencyCap] = Field(default=[], max_length=50)
    consent_defaults: dict[Purpose, Literal[ConsentState.SUBSCRIBED, ConsentState.UNSUBSCRIBED]] = Field(
        default={},
        max_length=100,
        description="The state of who never stated a choice, by purpose, if the address is confirmed; else "
        "unsubscribed.",
    )
    unconfirmed: Literal["ordinary", "all"] = Field(
        default="ordinary",
        description="Which messages go to addresses that only a browser has named: ordinary ones, or all, also those "
        "about coupons, rewards, points and referrals. `all` is for shops without a backend.",
    )
    opt_in_mails: OptInLimit = Field(
        default=OptInLimit(),
        description="How many messages one mailbox gets from journeys that begin with `Consent Requested`, and how "
        "many from untrusted runs while its address is not confirmed.",
    )
    postal_address: Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=500)] | None = Field(
        default=None, description="Shown at the foot of marketing mail, as the law of many countries asks."
    )
    website: WebAddress | None = Field(default=None, description="Where the shop's name in a message leads.")
    logo_url: WebAddress | None = Field(default=None, description="Shown at the head of messages, at most 160 px wide.")
    accent_color: Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")] = Field(
        default="#1f5c4d", description="Buttons and links in messages."
    )
    link_base: WebAddress | None = Field(
        default=None, description="Where tracked links and unsubscribe pages live; absent: the program's public URL."
    )
    merge_limit: WholeNumber = Field(
        default=5,
        ge=1,
        le=1_000,
        description="How many of the shop's own ids may become one customer by aliases; further merges are refused.",
    )
    largest_order: WholeNumber | None = Field(
        default=None,
        ge=1,
        le=2**53,
        description="Minor units of the shop's currency. An order above it counts, and `perennial doctor` names it.",
    )
    link_domains: list[DomainName] = Field(
        default=[],
        max_length=50,
        description="Domains besides the website's to which tracked links may lead where data names the host.",
    )
    decisions_kept_days: WholeNumber = Field(
        default=180,
        ge=1,
        le=3_650,
        description="How long the reason is kept why somebody did not enter a journey; entries are kept permanently.",
    )

    retention: Retention = Field(
        default=Retention(), description="How long personal data is kept, by class; absent: forever."
    )

    @property
    def defaults(self) -> ShopDefaults:
        """What conditions take where a customer has stated nothing."""
        return ShopDefaults(self.zone, self.consent_defaults, self.currency)

    def decisions_kept_since(self, as_of: datetime) -> datetime:
        """From when on it is remembered why somebody did not enter a journey."""
        return as_of - timedelta(days=self.decisions_kept_days)
