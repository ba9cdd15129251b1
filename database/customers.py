"""Customers: profile, identities and how they merge."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, Table


class Customer(Table):
    """One person. Its row is locked first by everything that decides about that person."""

    __tablename__ = "customers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    external_id: Mapped[str | None]  # the shop's own id, once known
    traits: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    trait_times: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # trait -> [timestamp, message id] of its last writer
    email: Mapped[str | None]  # lower-cased copy of traits.email
    zone: Mapped[str | None]  # IANA name, from traits.timezone or context.timezone
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    last_number: Mapped[int] = mapped_column(server_default=text("0"))  # routing number given last
    merged_into: Mapped[UUID | None]
    erased_at: Mapped[datetime | None]
    created_at: Mapped[Created]

    __table_args__ = (
        Index("uq_customers_external_id", "external_id", unique=True, postgresql_where=text("merged_into IS NULL AND external_id IS NOT NULL")),
        Index("ix_customers_email", "email"),
    )


class Identity(Table):
    """One id under which a shop or a browser knows a customer."""

    __tablename__ = "identities"

    kind: Mapped[str]  # user | anonymous
    value: Mapped[str]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    first_seen: Mapped[datetime]
    superseded: Mapped[bool] = mapped_column(server_default=text("false"))  # aliased away to another user id

    __table_args__ = (PrimaryKeyConstraint("kind", "value"), Index("ix_identities_customer_id", "customer_id"))
