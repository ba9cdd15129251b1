"""What a restore of the database must not undo, a line each: erasures, withdrawals, suppressions, restrictions.

The lines stand outside the database and name people by our own uuids and keyed hashes only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_bytes="hex", val_json_bytes="hex")


class Concerning(_Entry):
    """Of one customer. `identities`: kind and hash of the ids, for a database that does not know the uuid."""

    customer: UUID
    identities: Sequence[tuple[str, bytes]] = ()


class Erased(_Entry):
    """An erasure was asked for. `identities`: kind and hash of every id."""

    kind: Literal["erased"] = "erased"
    customers: Sequence[UUID]
    identities: Sequence[tuple[str, bytes]]


class Withdrawn(Concerning):
    """A customer took consent back, by whatever way: an event, a link in a mail, a complaint. As in `consents`."""

    kind: Literal["withdrawn"] = "withdrawn"
    purpose: str
    channel: str
    at: datetime
    sent: datetime
    source: str
    event: UUID
    address: bytes | None


class AddressSuppressed(_Entry):
    """Nothing, or no marketing, may be sent to an address any more. As in `suppressions`."""

    kind: Literal["suppressed"] = "suppressed"
    channel: str
    address: bytes
    reason: str
    at: datetime
    until: datetime | None
    actor: str | None


class Released(_Entry):
    """Somebody ended a suppression. Why stays in the database: it may say anything."""

    kind: Literal["released"] = "released"
    channel: str
    address: bytes
    reason: str
    at: datetime
    by: str


GROUNDS: Final = frozenset({"accuracy", "unlawful", "claims", "objection"})
"""Reasons of a restriction that name nobody: the grounds of article 18, paragraph 1, a to d."""


class Restricted(Concerning):
    """A customer's processing was restricted. A reason in somebody's own words stays in the database."""

    kind: Literal["restricted"] = "restricted"
    at: datetime
    by: str
    ground: str | None = None  # of GROUNDS


class RestrictionLifted(Concerning):
    """And goes on."""

    kind: Literal["restriction_lifted"] = "restriction_lifted"
    at: datetime
    by: str


Entry = Annotated[
    Erased | Withdrawn | AddressSuppressed | Released | Restricted | RestrictionLifted,
    Field(discriminator="kind"),
]


class Line(BaseModel):
    """One line of the journal."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="hex", val_json_bytes="hex")

    id: UUID
    at: datetime
    entry: Entry
