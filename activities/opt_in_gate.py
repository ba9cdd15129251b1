"""The limit of mails to a mailbox that has confirmed nothing: anybody can name anybody's address in a browser.

There are separate allowances, so that what browsers ask for takes nothing from what the shop itself asks for.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from prometheus_client import Counter

from database.messages import Message
from database.opt_in_mails import lock_opt_in_mails
from database.runs import Run
from database.session import WriteSession
from domain.addresses import TRAIT_OF_CHANNEL, Standing
from domain.consent import CONSENT_REQUESTED, TRANSACTIONAL, ConsentState, StandingConsent
from domain.messages import MessageState, Reason, Send, Skip
from domain.pseudonyms import mailbox_pseudonym
from domain.shop_settings import OptInLimit

WITHHELD = Counter("perennial_opt_in_mails_withheld", "Mails that the limit of their mailbox held back")


class Allowance(StrEnum):
    """What is counted for a mailbox, each for itself. The values are in hashes that are kept."""

    ASKED_BY_BROWSERS = ""
    ASKED_BY_THE_SHOP = "trusted"
    UNCONFIRMED = "unconfirmed"  # anything else of untrusted runs


async def keep_to_limit(
    session: WriteSession,
    key: bytes,
    message: Message,
    address: str,
    allowance: Allowance,
    *,
    limit: OptInLimit,
    as_of: datetime,
) -> Send | Skip:
    """Give the message a place under its mailbox's limit, unless it has one. The caller stores it as claimed."""
    mailbox = mailbox_pseudonym(key, message.channel, address, allowance)
    if message.mailbox_hash == mailbox and message.state == MessageState.CLAIMED:
        return Send()
    asked = await lock_opt_in_mails(session, mailbox, limit.horizon(as_of), message.id)
    is_other = allowance is Allowance.UNCONFIRMED
    if limit.is_used_up(asked, as_of) or (limit.is_too_soon(asked, as_of) and not is_other):
        WITHHELD.inc()
        return Skip(Reason.UNCONFIRMED_LIMIT if is_other else Reason.OPT_IN_LIMIT, limit.model_dump(mode="json"))
    message.mailbox_hash = mailbox
    return Send()


def allowance_of(
    run: Run, message: Message, address_hash: bytes, standing: Standing, consents: Iterable[StandingConsent]
) -> Allowance | None:
    """What a message to an address counts towards; None: it is not limited. Who told of the request decides about
    requests, whatever browsers said on the way.
    """
    if _asks_for_consent(run, message, address_hash, consents):
        return Allowance.ASKED_BY_THE_SHOP if run.entry.get("trusted", True) else Allowance.ASKED_BY_BROWSERS
    return None if run.trusted or standing.is_answered else Allowance.UNCONFIRMED


def _asks_for_consent(run: Run, message: Message, address_hash: bytes, consents: Iterable[StandingConsent]) -> bool:
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
