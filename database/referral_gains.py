"""What the two sides of a referral get, and how it is taken back. Keys are natural: (referral, side), once forever."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from database.documents import DocumentVersion
from database.points import payers_of, post
from database.programmes import KIND, LiveProgramme, programme_keys
from database.redeeming import withdraw
from database.redemptions import Redemption, give
from database.referrals import Referral
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from domain.earned_dates import expiry
from domain.local_time import resolve_zone
from domain.points import Clawback, Credit, CreditKind
from domain.programmes.definition import Gain, ProgrammeDefinition
from domain.published import read_published
from domain.redemptions import Given
from domain.referrals import Side


def gain_of(programme: LiveProgramme, side: Side) -> Gain | None:
    """What a side gets by a version of the programme."""
    terms = programme.definition.referral
    if terms is None:
        return None
    return terms.referrer if side is Side.REFERRER else terms.referee


async def version_of(session: ReadSession, row: Referral) -> LiveProgramme | None:
    """The version of the programme by which a referral qualified, also of one that is archived since."""
    statement = select(DocumentVersion).where(
        DocumentVersion.kind == KIND, DocumentVersion.key == row.programme, DocumentVersion.version == row.version
    )
    found = (await session.execute(statement)).scalar_one_or_none()
    if found is None:
        return None
    definition = read_published(ProgrammeDefinition, found.document)
    zone = resolve_zone(definition.zone, (await shop_settings(session)).zone)
    return LiveProgramme(found.key, found.version, definition, zone, found.published_at)


def customer_of(row: Referral, side: Side) -> UUID | None:
    """Who is on a side; nobody yet on the friend's side of an invitation."""
    return row.referrer_id if side is Side.REFERRER else row.referee_id


async def pay(
    session: WriteSession, row: Referral, side: Side, programme: LiveProgramme, as_of: datetime, *, payer: str
) -> dict[str, Any]:
    """Give a side what it gets by the version that decided; the caller has locked the customer. Answers what was given,
    for their event. `payer`: the programme that is live, in whose ledger points are.
    """
    gain, key, customer_id = gain_of(programme, side), _key(row, side), customer_of(row, side)
    given: dict[str, Any] = {}  # JSON
    if gain is None or customer_id is None:
        return given
    if gain.points:
        credit = Credit(
            account=customer_id,
            key=key,
            points=gain.points,
            kind=CreditKind.REWARD,
            earned_at=as_of,
            source="referral",
            expires_at=expiry(gain.expires or programme.definition.expires, as_of, programme.zone),
        )
        [moved] = await post(session, payer, [credit], as_of)
        given["points"] = moved.points
    if gain.reward is not None:
        answer = await give(session, customer_id, gain.reward, key, as_of)
        given["reward"] = gain.reward
        given |= {"code": answer.code} if isinstance(answer, Given) else {"not_given": str(answer.reason)}
    return given


async def take_back(session: WriteSession, row: Referral, side: Side, as_of: datetime) -> None:
    """Claw a side's points back, and the reward unless it is used or on its way. The caller has locked the customer."""
    programme, customer_id = await version_of(session, row), customer_of(row, side)
    gain = gain_of(programme, side) if programme is not None else None
    if gain is None or customer_id is None:
        return
    key = _key(row, side)
    payer = (await payers_of(session, await programme_keys(session), [key])).get(key) if gain.points else None
    if gain.points and payer is not None:
        back = Clawback(account=customer_id, key=f"{key}/revoked", of=key, target=gain.points)
        await post(session, payer, [back], as_of)
    redemption_id = await session.scalar(select(Redemption.id).where(Redemption.key == key))
    if redemption_id is not None:
        await withdraw(session, redemption_id, "referral_revoked", as_of)


def _key(row: Referral, side: Side) -> str:
    return f"referral/{row.id}/{side}"
