"""The audit log: who changed, exported or erased what, and when. Append-only; customers are named by our own uuid."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.session import WriteSession
from domain.ids import new_id


class AuditEntry(Table):
    """One act of a person or program. Nothing updates or deletes these rows."""

    __tablename__ = "audit_log"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str]  # key id, "cli" or "system"
    action: Mapped[str]
    target: Mapped[str]
    detail: Mapped[Json]

    __table_args__ = (Index("ix_audit_log_at", "at", "id"),)


def write_audit(
    session: WriteSession,
    *,
    actor: str,
    action: str,
    target: str,
    at: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Note in the act's own transaction who did it. `target` is like `journey/welcome`, never a person's name."""
    session.add(AuditEntry(id=new_id(), at=at, actor=actor, action=action, target=target, detail=dict(detail or {})))
