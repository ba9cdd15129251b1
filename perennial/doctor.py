"""`perennial doctor`: are the guarantees kept on live data? Reads only, and says what it found with examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from database import ageing
from database.challenge_guarantees import drifted_progress
from database.confirmed_addresses import withheld_since
from database.doubted_suppressions import doubted_suppressions
from database.doubtful_orders import nameless_orders, oversized_orders, shared_order_ids
from database.doubtful_refunds import doubtful_refunds
from database.forgotten_suppressions import sent_before_done_again
from database.guarantees import (
    LOOK_BACK,
    QUESTIONS,
    Question,
    ReservedMessage,
    offenders,
    reserved_since,
)
from database.guest_earnings import claimed_by_browsers
from database.keys import everything
from database.message_guarantees import busiest_second
from database.migrations.upgrade import current_revision, newest_revision, serves
from database.misread_events import misread_since
from database.outages import LOCK_TIMEOUT, STATEMENT_TIMEOUT, sqlstate_of
from database.provider_rates import ill_providers
from database.published import unread_documents
from database.referral_guarantees import paid_for_customers
from database.refused_merges import open_refusals
from database.restrictions import restricted_customers
from database.session import Database, ReadSession
from database.shop_settings import ShopSettingsRow, shop_settings
from database.tier_guarantees import drifted_tiers
from database.trait_trust import presumed_addresses
from database.unread_reports import unread_since
from domain.consent import TRANSACTIONAL, Permission
from domain.messages import Candidate, Reason, Sent, Skip, decide
from domain.shop_settings import ShopSettings
from domain.sources import clashes

FORGOTTEN_WITHIN = timedelta(hours=1)
"""How soon a router looks whether something is over its time."""
RESTRICTED_SHOWN = 5
"""Restricted customers that are named."""
ORDERS_SHOWN = 5
"""Doubtful orders of a kind that are named."""
MOST_REFUSALS = 50
"""Refused merges that are listed, the latest first."""

ILL_FOR_LONG = timedelta(minutes=15)
"""Longer than what passes by itself."""

UNREAD_SHOWN = timedelta(days=30)
"""How long what could not be read, of webhooks and refunds, is listed after the last of its kind."""


MOST_MISREAD = 10
"""Kinds of what cannot be read that are listed, the most frequent first."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise and the first few that break it. A notice is for people to look at; nothing is broken by it."""

    guarantee: str
    promise: str
    offenders: Sequence[str]
    skipped: str = ""
    """Why it could not be looked at."""
    is_notice: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether nothing was found that breaks a promise."""
        return self.is_notice or not self.offenders


async def examine(database: Database, as_of: datetime, *, email_per_second: float, provider: str) -> list[Verdict]:
    """A verdict for each promise that the data can show."""
    async with database.read() as session:
        # One snapshot: what is compared below belongs together, whatever is written meanwhile.
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        revision = await current_revision(session)
        if not serves(revision):
            return [Verdict("schema", "the database is at this release's schema", [f"revision {revision}"])]
        return [
            _schema(revision),
            *[await _answer(session, each, as_of) for each in QUESTIONS],
            Verdict(
                *("G19", "no provider was called for an address whose suppression a restore had undone"),
                await sent_before_done_again(session, as_of - LOOK_BACK, 5),
            ),
            Verdict("G27", "no browser key has a server's or a reserved source", clashes(await everything(session))),
            Verdict("G28", "this release reads every published document whole", await unread_documents(session)),
            await _rates(session, as_of, email_per_second, provider),
            await _ill(session, as_of),
            await _caps(session, as_of),
            await _refused(session),
            await _sender(session),
            await _unread(session, as_of),
            await _doubted(session, as_of),
            await _misread(session, as_of),
            await _refunds(session, as_of),
            await _orders(session, as_of),
            Verdict(
                "G27", "every e-mail and phone has a known source", await presumed_addresses(session, 5), is_notice=True
            ),
            Verdict(
                *("G27", "no message of value was withheld for want of a confirmed address"),
                await withheld_since(session, as_of - LOOK_BACK, 5),
                is_notice=True,
            ),
            await _retention(session, as_of),
            await _overdue(session, as_of),
            await _restricted(session),
            Verdict(
                *("G27", "a trusted source says whose guests' orders are that would earn"),
                await claimed_by_browsers(session, 5),
                is_notice=True,
            ),
            Verdict(
                *("referrals", "no friend of a paid referral had ordered before the claim"),
                await paid_for_customers(session, 5),
                is_notice=True,
            ),
            Verdict("tiers", "tiers equal a replay of what counts", await drifted_tiers(session, as_of)),
            Verdict("challenges", "progress equals a recount of events", await drifted_progress(session, as_of)),
        ]


async def _answer(session: ReadSession, question: Question, as_of: datetime) -> Verdict:
    """What takes too long does not keep the other promises from being looked at."""
    try:
        async with session.begin_nested():
            found = await offenders(session, question, as_of)
    except DBAPIError as error:
        if sqlstate_of(error) not in (STATEMENT_TIMEOUT, LOCK_TIMEOUT):
            raise
        return Verdict(question.guarantee, question.promise, [], skipped="the database did not answer in time")
    return Verdict(question.guarantee, question.promise, found)


def _schema(revision: str | None) -> Verdict:
    newer = [] if revision == newest_revision() else [f"revision {revision}, of a newer release: finish the deploy"]
    return Verdict("G33", "the database is at this release's schema", newer, is_notice=True)


async def _retention(session: ReadSession, as_of: datetime) -> Verdict:
    """What the shop's retention forgets, and whether somebody sees to it. A notice while nothing is set."""
    kept = (await shop_settings(session)).retention.kept_since(as_of)
    if not kept:
        promise = "nothing is kept for longer than the shop says: `retention` in its settings is not set"
        return Verdict("retention", promise, [])
    looked = await ageing.looked_at(session)
    changed = await session.scalar(select(ShopSettingsRow.updated_at))
    is_new = changed is not None and as_of - changed < FORGOTTEN_WITHIN
    late = [
        f"{each}: not looked at since {looked[each][0]:%Y-%m-%d %H:%M}" if each in looked else f"{each}: not begun"
        for each in kept
        if not is_new and (each not in looked or as_of - looked[each][0] > FORGOTTEN_WITHIN)
    ]
    return Verdict("retention", f"nothing is kept for longer than the shop says ({', '.join(kept)})", late)


async def _overdue(session: ReadSession, as_of: datetime) -> Verdict:
    """What retention has still to forget. After a change of the settings, or a time without a router, it is much."""
    kept = (await shop_settings(session)).retention.kept_since(as_of)
    counts = {what: await ageing.left(session, what, since) for what, since in kept.items()}
    waiting = [f"{what}: {count:,} from before {kept[what]:%Y-%m-%d}" for what, count in counts.items() if count]
    return Verdict("overdue", "all that is over its time has been forgotten", waiting, is_notice=True)


async def _restricted(session: ReadSession) -> Verdict:
    """Nothing is done with them until somebody lifts it, so nobody should be forgotten there."""
    count, oldest = await restricted_customers(session, RESTRICTED_SHOWN)
    shown = [
        f"{each.external_id or each.id} since {each.restricted_at:%Y-%m-%d}: GET /v1/customers/<id> says why"
        for each in oldest
    ]
    more = [f"{count:,} in all, the longest restricted first"] if count > len(shown) else []
    return Verdict("restricted", "no customer's processing is restricted", [*shown, *more], is_notice=True)


async def _refused(session: ReadSession) -> Verdict:
    refused = [
        f"{each.previous_id} into {each.user_id}: {each.reason}, {each.times} times, last {each.refused_at:%Y-%m-%d}"
        for each in await open_refusals(session, MOST_REFUSALS)
    ]
    return Verdict("G27", "no merge of customers was refused", refused, is_notice=True)


async def _sender(session: ReadSession) -> Verdict:
    """Settings of an earlier release may hold a sender that stops all mail."""
    unwritable = (await shop_settings(session)).sender.unwritable()
    return Verdict(
        "G14", "the sender can stand in every mail", [f"{name}: {what}" for name, what in unwritable.items()]
    )


async def _unread(session: ReadSession, as_of: datetime) -> Verdict:
    """What a provider reported and we could not read is missing in states, suppressions and figures."""
    unread = [
        f"{each.provider}: {each.reason}, {each.items} times since {each.first_at:%Y-%m-%d}, last {each.last_at:%m-%d}"
        for each in await unread_since(session, as_of - UNREAD_SHOWN)
    ]
    return Verdict("G3", "every item of providers' webhooks could be read", unread, is_notice=True)


async def _misread(session: ReadSession, as_of: datetime) -> Verdict:
    """What shops state of orders and carts in another form than ours counts nothing."""
    found = await misread_since(session, as_of - UNREAD_SHOWN)
    shown = [
        f"{each.source}: {each.code}, {each.times} times, last {each.last_at:%Y-%m-%d}: {each.message}"
        for each in found[:MOST_MISREAD]
    ]
    more = [f"and {len(found) - MOST_MISREAD} more kinds" for _ in found[MOST_MISREAD : MOST_MISREAD + 1]]
    return Verdict("events", "all of the latest e-commerce events can be read", [*shown, *more], is_notice=True)


async def _refunds(session: ReadSession, as_of: datetime) -> Verdict:
    """An amount in no or another currency, or products of another order: points and figures know nothing of it."""
    found = await doubtful_refunds(session, as_of - UNREAD_SHOWN)
    shown = [f"order {each.order_id}, {each.at:%Y-%m-%d %H:%M}: {each.doubt}" for each in found[:5]]
    more = [f"and {len(found) - 5} more" for _ in found[5:6]]
    return Verdict("refunds", "every refund counts as it was stated", [*shown, *more], is_notice=True)


async def _orders(session: ReadSession, as_of: datetime) -> Verdict:
    """What was not kept for want of an id, is too much to be true, or is an id that is used twice."""
    settings, since = await shop_settings(session), as_of - UNREAD_SHOWN
    found = [
        *await nameless_orders(session, since),
        *await oversized_orders(
            session, since, largest=settings.largest_order, currency=settings.currency, limit=ORDERS_SHOWN
        ),
        *await shared_order_ids(session, since, limit=ORDERS_SHOWN),
    ]
    promise = "every order has its own id and a plausible amount"
    return Verdict("orders", promise, found, is_notice=True)


async def _doubted(session: ReadSession, as_of: datetime) -> Verdict:
    doubted = await doubted_suppressions(session, as_of)
    shown = [f"{each.suppression_id}, of message {each.message_id}" for each in doubted[:5]]
    more = [f"and {len(doubted) - 5} more" for _ in doubted[5:6]]
    what = ["release each (perennial suppressions release), or add it as manual and release it"] if doubted else []
    promise = "every address suppressed as a hard bounce was said not to exist"
    return Verdict("G17", promise, [*shown, *more, *what])


async def _rates(session: ReadSession, as_of: datetime, per_second: float, provider: str) -> Verdict:
    crowds = await busiest_second(session, as_of - LOOK_BACK)
    over = [
        f"{name}: {crowd} in one second" for name, crowd in crowds.items() if name == provider and crowd > per_second
    ]
    return Verdict("G16", f"no second saw more than {per_second:g} calls of the provider", over)


async def _ill(session: ReadSession, as_of: datetime) -> Verdict:
    """A hiccup is a notice; what lasts keeps mail back and wants somebody."""
    found = await ill_providers(session)
    ill = [
        f"{each.provider}: {each.trouble} since {each.ill_since:%Y-%m-%d %H:%M:%S}, {each.failures} calls found it so"
        for each in found
    ]
    lasts = any(each.ill_since is not None and as_of - each.ill_since > ILL_FOR_LONG for each in found)
    return Verdict("G15", "providers take messages", ill, is_notice=not lasts)


async def _caps(session: ReadSession, as_of: datetime) -> Verdict:
    """Ask the gate again, message by message, about the time since the settings were last changed."""
    settings = await shop_settings(session)
    changed = await session.scalar(select(ShopSettingsRow.updated_at))
    since = max(as_of - LOOK_BACK, changed or as_of - LOOK_BACK)
    over: list[str] = []
    async for theirs in reserved_since(session, since):
        over += [message.id for message in over_cap(theirs, settings)]
    return Verdict("G17", "no frequency cap was passed", over[:5])


def over_cap(messages: Sequence[ReservedMessage], settings: ShopSettings) -> list[ReservedMessage]:
    """Those of one customer's messages that the gate would have skipped, given the ones before them."""
    earlier: list[Sent] = []
    over = []
    for message in messages:
        candidate = Candidate(
            channel=message.sent.channel,
            purpose=message.sent.purpose,
            address="known",
            zone=ZoneInfo(message.zone or settings.zone),
            permission=Permission.GIVEN,
            is_trusted=message.sent.trusted,
            sent=tuple(earlier),
        )
        verdict = decide(candidate, settings, message.sent.at)
        if (
            message.sent.purpose != TRANSACTIONAL
            and isinstance(verdict, Skip)
            and verdict.reason is Reason.FREQUENCY_CAP
        ):
            over.append(message)
        earlier.append(message.sent)
    return over
