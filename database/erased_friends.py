"""Who was brought once and then erased is not brought again: of what they were known by, keyed hashes are left."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import exists, select

from database.customers import Identity
from database.erasures import ErasedIdentity, IdentityRef, Traces
from database.referrals import Referral, people
from database.secrets import PSEUDONYMS, known_secret
from database.session import ReadSession
from domain.identities import IdKind
from domain.mailboxes import mailbox
from domain.phones import international
from domain.pseudonyms import pseudonym

_ID, _MAILBOX, _PHONE = "friend", "friend mailbox", "friend phone"
"""Kinds of erased identities; each value has a hash of its own for each."""


async def ids_of_friends(session: ReadSession, traces: Traces) -> list[IdentityRef]:
    """What is remembered of customers who are being erased, if somebody had brought them; else nothing."""
    brought = exists().where(Referral.referee_id.in_(traces.customers))
    if not await session.scalar(select(brought)):
        return []
    known = (await people(session, traces.customers)).values()
    return _refs(traces.user_ids, [each.trusted_email for each in known], [each.trusted_phone for each in known])


async def was_brought_before_erasure(session: ReadSession, customer_id: UUID) -> bool:
    """Whether the customer, by id or by what trusted sources told of mailbox and phone, was brought and erased once."""
    key = await known_secret(session, PSEUDONYMS)
    if key is None:
        return False
    named = select(Identity.value).where(Identity.customer_id == customer_id, Identity.kind == IdKind.USER)
    person = (await people(session, [customer_id]))[customer_id]
    refs = _refs(await session.scalars(named), [person.trusted_email], [person.trusted_phone])
    hashes = [pseudonym(key, each.kind, each.value) for each in refs]
    kinds = (_ID, _MAILBOX, _PHONE)
    found = exists().where(ErasedIdentity.kind.in_(kinds), ErasedIdentity.hash.in_(hashes))
    return bool(await session.scalar(select(found)))


def _refs(ids: Iterable[str], emails: Iterable[str | None], phones: Iterable[str | None]) -> list[IdentityRef]:
    named = {IdentityRef(_ID, each) for each in ids}
    named |= {IdentityRef(_MAILBOX, found) for each in emails if (found := mailbox(each)) is not None}
    named |= {IdentityRef(_PHONE, found) for each in phones if (found := international(each)) is not None}
    return sorted(named)
