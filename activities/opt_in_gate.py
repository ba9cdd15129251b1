"""The limit of mails that ask a mailbox to confirm: anybody can post a request for consent with anybody's address."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import Counter

from database.messages import Message
from database.opt_in_mails import lock_opt_in_mails
from database.runs import Run
from database.session import WriteSession
from domain.addresses import TRAIT_OF_CHANNEL
from domain.consent import CONSENT_REQUESTED, TRANSACTIONAL, ConsentState, StandingConsent
from domain.messages import MessageState, Reason, Send, Skip
from domain.pseudonyms import mailbox_pseudonym
from domain.shop_settings import OptInLimit

WITHHELD = Counter("perennial_opt_in_mails_withheld", "Mails of double opt-ins that their mailbox's limit held back")


async def keep_to_limit(
    session: WriteSession, key: bytes, message: Message, address: str, *, limit: OptInLimit, as_of: datetime
) -> Send | Skip:
    """Give the message a place under its mailbox's limit, unless it has one. The caller stores it as claimed."""
    mailbox = mailbox_pseudonym(key, message.channel, address)
    if message.mailbox_hash == mailbox and message.state == MessageState.CLAIMED:
        return Send()
    asked = await lock_opt_in_mails(session, mailbox, limit.horizon(as_of), message.id)
    if limit.is_reached(asked, as_of):
        WITHHELD.inc()
        return Skip(Reason.OPT_IN_LIMIT, limit.model_dump(mode="json"))
    message.mailbox_hash = mailbox
    return Send()


def asks_for_consent(run: Run, message: Message, address_hash: bytes, consents: Iterable[StandingConsent]) -> bool:
    """Whether the message asks its mailbox to confirm: an owed one of a run that began with a request for consent, as
    long as nobody has said yes for the address since.
    """
    if message.purpose != TRANSACTIONAL or message.channel not in TRAIT_OF_CHANNEL:
        return False
    if run.entry.get("event") != CONSENT_REQUESTED:
        return False
    return not any(
        each.state == ConsentState.SUBSCRIBED and each.address == address_hash and each.at >= run.entered_at
        for each in consents
    )
