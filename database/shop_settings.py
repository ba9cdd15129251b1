"""The shop's settings: one row."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table


class ShopSettings(Table):
    """Name, zone, currency, sender, quiet hours, frequency caps, consent defaults: see domain/shop_settings.py."""

    __tablename__ = "shop_settings"

    only: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    document: Mapped[Json]
    etag: Mapped[str]
    updated_at: Mapped[datetime]
