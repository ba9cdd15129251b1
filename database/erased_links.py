"""Links that erased people had: in mails that were delivered, and those that they shared.

Only that there was such a link is kept, as a keyed hash, and of links that unsubscribe the hash of the mailbox that
the mail went to, as suppressions keep it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import LargeBinary, delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database import restore_journal
from database.base import Table
from database.customers import Customer
from database.messages import Link, Message
from database.referral_codes import ReferralCode
from database.referrals import Referral
from database.secrets import PSEUDONYMS, known_secret, secret
from database.session import ReadSession, WriteSession
from database.shares import ShareLink
from database.suppressions import suppress_hashes
from domain.addresses import TRAIT_OF_CHANNEL
from domain.pseudonyms import address_pseudonym, pseudonym
from domain.restore_journal import AddressSuppressed
from domain.suppressions import Cause

REFERRAL: Final = "referral"
SHARE: Final = "share"
UNSUBSCRIBE: Final = "unsubscribe"
LINKS_AT_ONCE: Final = 2_000
"""Links per transaction, so that an erasure never holds locks for long."""


class ErasedLink(Table):
    """One link: of a message by its kind, of a referral, or of a share."""

    __tablename__ = "erased_links"

    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    channel: Mapped[str | None]
    address_hash: Mapped[bytes | None] = mapped_column(LargeBinary)


async def erased_link(session: ReadSession, kind: str, token: str) -> ErasedLink | None:
    """The link of somebody who was erased, or whose erasure is under way; None for one that nobody ever had."""
    key = await known_secret(session, PSEUDONYMS)
    if key is None:
        return None
    known = await session.get(ErasedLink, _hash(key, kind, token))
    if known is not None:
        return known
    of_erased = (
        select(Message.channel, Message.to)
        .join(Link, Link.message_id == Message.id)
        .join(Customer, Customer.id == Message.customer_id)
        .where(Link.token == token, Link.kind == kind, Customer.erased_at.is_not(None))
    )
    found = (await session.execute(of_erased)).one_or_none()
    return None if found is None else ErasedLink(**_row(key, kind, token, found.channel, found.to))


async def remember_shared_links(session: WriteSession, customers: Sequence[UUID]) -> None:
    """Keep the hashes of the referral and share links of people who are being erased."""
    codes = await session.scalars(select(ReferralCode.code).where(ReferralCode.customer_id.in_(customers)))
    theirs = or_(Referral.referrer_id.in_(customers), Referral.referee_id.in_(customers))
    invitations = await session.scalars(select(Referral.token).where(theirs, Referral.token.is_not(None)))
    shares = await session.scalars(select(ShareLink.token).where(ShareLink.customer_id.in_(customers)))
    links = [(REFERRAL, token) for token in [*codes, *invitations] if token] + [(SHARE, token) for token in shares]
    key = await secret(session, PSEUDONYMS)
    await _keep(session, [_row(key, kind, token, None, None) for kind, token in links])


async def forget_some_links(session: WriteSession, customers: Sequence[UUID]) -> int:
    """Keep hashes of up to LINKS_AT_ONCE links of these people's messages in place of the links; answers how many."""
    some = (
        select(Link.token, Link.kind, Message.channel, Message.to)
        .join(Message, Message.id == Link.message_id)
        .where(Message.customer_id.in_(customers))
        .limit(LINKS_AT_ONCE)
    )
    links = (await session.execute(some)).all()
    key = await secret(session, PSEUDONYMS)
    await _keep(session, [_row(key, link.kind, link.token, link.channel, link.to) for link in links])
    await session.execute(delete(Link).where(Link.token.in_([link.token for link in links])))
    return len(links)


async def silence(session: WriteSession, link: ErasedLink, as_of: datetime) -> None:
    """Whoever reads the mailbox of an erased person's mail wants no more: no marketing until a later consent for it."""
    if link.channel is None or link.address_hash is None:
        return
    taken_back = AddressSuppressed(
        channel=link.channel, address=link.address_hash, reason=Cause.WITHDRAWN, at=as_of, until=None, actor=None
    )
    await suppress_hashes(session, [taken_back])
    await restore_journal.note(session, [taken_back])


async def _keep(session: WriteSession, rows: Iterable[dict[str, bytes | str | None]]) -> None:
    if known := list(rows):
        await session.execute(insert(ErasedLink).on_conflict_do_nothing(), known)


def _row(key: bytes, kind: str, token: str, channel: str | None, to: str | None) -> dict[str, bytes | str | None]:
    is_addressed = kind == UNSUBSCRIBE and channel in TRAIT_OF_CHANNEL and bool(to)
    return {
        "hash": _hash(key, kind, token),
        "channel": channel if is_addressed else None,
        "address_hash": address_pseudonym(key, channel, to) if is_addressed and channel and to else None,
    }


def _hash(key: bytes, kind: str, token: str) -> bytes:
    return pseudonym(key, f"{kind} link", token)
