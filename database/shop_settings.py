"""The shop's settings: one row, absent until somebody changes them."""

from __future__ import annotations

import hashlib
from datetime import datetime

import orjson
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.session import ReadSession, WriteSession
from domain.published import read_published
from domain.shop_settings import ShopSettings


class ShopSettingsRow(Table):
    """Name, zone, currency, sender, quiet hours, frequency caps, consent defaults: see domain/shop_settings.py."""

    __tablename__ = "shop_settings"

    only: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    document: Mapped[Json]
    etag: Mapped[str]
    updated_at: Mapped[datetime]


async def shop_settings(session: ReadSession) -> ShopSettings:
    """The settings as they are now; the defaults where nobody has set any."""
    document = (await session.execute(select(ShopSettingsRow.document))).scalar_one_or_none()
    return ShopSettings() if document is None else read_published(ShopSettings, document)


async def lock_shop_settings(session: WriteSession) -> ShopSettings:
    """The settings, locked until the transaction ends, so that an ETag that was compared stays true."""
    await session.execute(text("LOCK TABLE shop_settings IN SHARE ROW EXCLUSIVE MODE"))
    return await shop_settings(session)


async def save_shop_settings(session: WriteSession, settings: ShopSettings, as_of: datetime) -> None:
    """Replace them all."""
    # The release before refuses settings that it does not know: only what differs from the defaults is written.
    document = settings.model_dump(mode="json", exclude_defaults=True)
    values = {"document": document, "etag": settings_tag(settings), "updated_at": as_of}
    statement = insert(ShopSettingsRow).values(only=True, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=["only"], set_=values))


def settings_tag(settings: ShopSettings) -> str:
    """The ETag's text."""
    content = orjson.dumps(settings.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:32]
