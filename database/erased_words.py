"""Words that people of the shop wrote about somebody who is erased, where they stand beside rows that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, Result, and_, or_, select, text, update

from database.coupons import Coupon
from database.messages import Suppression
from database.secrets import PSEUDONYMS, secret
from database.session import WriteSession
from domain.pseudonyms import address_pseudonyms

# A code that somebody made by hand for one person may say who that is: it is void by then, and goes by another name.
_RENAME = text("""
    WITH own AS MATERIALIZED (
        SELECT code, 'ERASED-' || upper(gen_random_uuid()::text) AS name FROM coupons
        WHERE customer_id = ANY(CAST(:customers AS uuid[])) AND redemption_id IS NULL AND code NOT LIKE 'ERASED-%'
    ), named AS (
        INSERT INTO coupons (
            code, reward, version, state, is_loaded, customer_id, uses, uses_per_customer, valid_from, valid_until,
            created_at
        )
        SELECT
            own.name, reward, version, 'void', is_loaded, customer_id, uses, uses_per_customer, valid_from, valid_until,
            created_at
        FROM coupons JOIN own USING (code)
    ), used AS (
        UPDATE coupon_uses SET code = own.name FROM own WHERE coupon_uses.code = own.code
    )
    DELETE FROM coupons USING own WHERE coupons.code = own.code
""")


# What entries of earlier releases quote; the acts stay: who did what to which row.
_BLANK_AUDIT = text("""
    UPDATE audit_log SET detail = detail - '{reason,code,note}'::text[]
    WHERE detail ?| '{reason,code,note}'::text[] AND (
        target = ANY(CAST(:customers AS text[])) OR detail ->> 'code' = ANY(:codes)
        OR target IN (SELECT 'run/' || id FROM runs WHERE customer_id = ANY(CAST(:ids AS uuid[])))
        OR target IN (SELECT 'redemption/' || id FROM redemptions WHERE customer_id = ANY(CAST(:ids AS uuid[])))
    )
""")


async def blank_words(
    session: WriteSession, customers: Sequence[UUID], addresses: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Blank notes of suppressions, codes made by hand, and what audit entries of earlier releases quote of either or of
    reasons. `addresses`: by channel. Answers table -> rows."""
    codes = (await session.scalars(select(Coupon.code).where(Coupon.customer_id.in_(customers)))).all()
    named = {"customers": [f"customer/{each}" for each in customers]}
    return {
        "suppressions": await _blank_suppressions(session, addresses),
        "audit_log": _rows(await session.execute(_BLANK_AUDIT, {**named, "ids": list(customers), "codes": codes})),
        "coupons": _rows(await session.execute(_RENAME, {"customers": list(customers)})),
    }


async def _blank_suppressions(session: WriteSession, addresses: Mapping[str, Sequence[str]]) -> int:
    key = await secret(session, PSEUDONYMS)
    hashes = [
        hashed
        for channel, of_channel in addresses.items()
        for address in of_channel
        for hashed in address_pseudonyms(key, channel, address)
    ]
    theirs = or_(
        Suppression.address_hash.in_(hashes),
        *(and_(Suppression.channel == channel, Suppression.address.in_(some)) for channel, some in addresses.items()),
    )
    blank = dict.fromkeys(("address", "note", "release_note"))
    has_words = or_(
        Suppression.address.is_not(None), Suppression.note.is_not(None), Suppression.release_note.is_not(None)
    )
    return _rows(await session.execute(update(Suppression).where(theirs, has_words).values(blank)))


def _rows(result: Result[Any]) -> int:
    return cast("CursorResult[Any]", result).rowcount
