"""Whose rows of an export are that name an e-mail address and no customer (decision 0019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select, text

from database.base import among
from database.customers import Customer, trusted_profile
from database.session import ReadSession
from domain.customers import Profile
from domain.imported_rows import SOURCE
from domain.imports import Row, RowProblem

# Whether an import has told of people whom no router has looked at yet. Relies on ix_events_waiting.
_WAITING = text("""
    SELECT EXISTS (
        SELECT FROM events
        WHERE status = 'pending' AND history_mark AND source = :source AND kind = 'identify'
    )
""")

_SEVERAL = (
    "several customers have the address {email}: add the customer's id (column Customer ID for Shopify, customer_id "
    "for WooCommerce), or merge the customers, and import this file again"
)
_PENDING = "no customer has this address yet, and imported customers are still being processed: import again later"


async def name_owners(session: ReadSession, rows: Iterable[Row | RowProblem]) -> list[Row | RowProblem]:
    """The rows, those without an id as the customer's who has their address by a trusted source's word; else as a
    guest's, whose id is the address. Rows of which that cannot be said are refused."""
    told = list(rows)
    wanted = {email for row in told if (email := _email_only(row)) is not None}
    if not wanted:
        return told
    owners = await _owners(session, wanted)
    is_waiting = bool(await session.scalar(_WAITING, {"source": SOURCE}))
    return [_owned(row, owners, is_waiting=is_waiting) for row in told]


def _owned(row: Row | RowProblem, owners: Mapping[str, Sequence[str]], *, is_waiting: bool) -> Row | RowProblem:
    email = _email_only(row)
    if email is None or not isinstance(row, Row):
        return row
    match owners.get(email, ()):
        case [user_id]:
            return Row(row.number, {**row.values, "user_id": user_id})
        case [] if is_waiting:
            return RowProblem(row.number, "customer_pending", _PENDING)
        case []:
            return Row(row.number, {**row.values, "user_id": email}, guest=email)
        case _:
            return RowProblem(row.number, "email_ambiguous", _SEVERAL.format(email=email))


def _email_only(row: Row | RowProblem) -> str | None:
    """The address of a row that names no id."""
    if isinstance(row, RowProblem) or row.values.get("user_id") is not None:
        return None
    return Profile({"email": row.values.get("email")}).email


async def _owners(session: ReadSession, emails: set[str]) -> dict[str, list[str]]:
    """The shop's ids of customers by their address. Relies on ix_customers_email."""
    found: dict[str, list[str]] = {}
    statement = select(Customer).where(
        among(Customer.email, emails), Customer.merged_into.is_(None), Customer.external_id.is_not(None)
    )
    for customer in (await session.scalars(statement)).all():
        if (email := trusted_profile(customer).trusted_email) in emails and customer.external_id is not None:
            found.setdefault(email, []).append(customer.external_id)
    return found
