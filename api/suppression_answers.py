"""Suppressions over HTTP: what is asked and answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from database.messages import Suppression
from domain.suppressions import MARKETING_ONLY, Cause

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


ADDRESS = r"^\s*([^\s@\x00]+@[^\s@\x00]+|\+?[0-9][0-9 ()./-]{4,30})\s*$"
"""A mail address or a phone number, roughly: what nobody has suppresses nobody."""


class Released(BaseModel):
    """Who let mail go to the address again, and why."""

    at: datetime
    by: str | None
    note: str | None


class SuppressionAnswer(BaseModel):
    """One suppression. `address` is null where only a hash is kept: after an erasure, and of earlier releases."""

    id: UUID
    channel: str
    address: str | None
    reason: str = Field(description="Its class, such as complaint, hard_bounce, objection, manual, erased.")
    covers: Literal["marketing", "everything"]
    at: datetime
    until: datetime | None = Field(description="It ends by itself then; null: it stands until it is released.")
    by: str | None = Field(description="The key that added it, or `cli`; null: the program.")
    note: str | None
    message_id: UUID | None = Field(description="The message that bounced or was complained of.")
    released: Released | None

    @classmethod
    def of(cls, row: Suppression) -> Self:
        """From the row."""
        released = None
        if row.released_at is not None:
            released = Released(at=row.released_at, by=row.released_by, note=row.release_note)
        return cls(
            id=row.id,
            channel=row.channel,
            address=row.address,
            reason=row.reason,
            covers="marketing" if row.reason in MARKETING_ONLY else "everything",
            at=row.at,
            until=row.until,
            by=row.actor,
            note=row.note,
            message_id=row.message_id,
            released=released,
        )

    def as_line(self) -> str:
        """One line of an export."""
        return self.model_dump_json(exclude={"released"}) + "\n"


class SuppressionWish(BaseModel):
    """An address, a customer's or anybody's, and why it gets no mail."""

    model_config = ConfigDict(extra="forbid")

    address: Annotated[str, StringConstraints(max_length=254, pattern=ADDRESS)]
    channel: Literal["email", "sms"] = "email"
    reason: Literal[Cause.OBJECTION, Cause.MANUAL, Cause.COMPLAINT, Cause.HARD_BOUNCE, Cause.MAILBOX] = Field(
        default=Cause.OBJECTION,
        description="`objection` covers marketing only, as the right to object does; `mailbox` ends after 14 days.",
    )
    note: Words | None = Field(default=None, description="For people; removed when the person is erased.")


class ReleaseWish(BaseModel):
    """Why mail may go to the address again."""

    model_config = ConfigDict(extra="forbid")

    reason: Words = Field(description="For people; removed when the person is erased.")
