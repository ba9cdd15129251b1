"""The shop's settings (one row) and the audit log of what people and keys changed."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table


class ShopSettings(Table):
    """Name, zone, currency, sender, quiet hours, frequency caps, consent defaults: see domain/shop_settings.py."""

    __tablename__ = "shop_settings"

    only: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    document: Mapped[Json]
    etag: Mapped[str]
    updated_at: Mapped[datetime]


class AuditEntry(Table):
    """Who changed or exported what, and when; append-only."""

    __tablename__ = "audit_log"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str]  # key id, "cli" or "system"
    action: Mapped[str]
    target: Mapped[str]
    detail: Mapped[Json]

    __table_args__ = (Index("ix_audit_log_at", "at", "id"),)
