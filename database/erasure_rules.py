"""What an erasure does to each table: remove the rows, blank what is personal in them, or leave the table alone.

Counts that reports are made of (runs, steps, messages) stay, without anything that leads to a person. A table that is
named nowhere here fails a test, so that nobody adds personal data that erasures do not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Result,
    Text,
    case,
    delete,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.sql.functions import concat

from database.base import Table
from database.challenge_progress import ChallengeCompletion, ChallengeProgress
from database.consent import Consent, MailboxAnswer
from database.contests import ContestEntry, ContestTicket
from database.coupons import Coupon, CouponUse
from database.customers import Customer, Identity
from database.earnings import Earning
from database.erased_events import remember_events
from database.erasure_search import mentions
from database.erasures import Traces
from database.journeys import DateDue, EntryDecision
from database.keys import IdempotencyKey
from database.leaderboard_closing import LeaderboardEntrant
from database.leaderboards import LeaderboardRank
from database.ledger import PointNote
from database.messages import Message, MessageEvent
from database.orders import Cart, Order, Refund
from database.outbox import Command
from database.point_boosts import PointBoost
from database.products import ProductView
from database.redemptions import Redemption, let_go
from database.referral_codes import ReferralCode
from database.referral_signals import ReferralSignal
from database.referrals import Referral
from database.refused_merges import RefusedMerge
from database.restrictions import Restriction
from database.runs import Run, RunStep, Wait
from database.session import WriteSession
from database.shares import ShareLink, Submission
from database.tables import metadata
from database.tiers import TierMembership, TierOverride, TierStanding
from database.waiting_prizes import WaitingPrize
from domain.consent import TRIAL
from domain.coupons import CouponState
from domain.redemptions import RedemptionState
from domain.referrals import OPEN, WITHOUT_FRIEND, ReferralState
from domain.referrals import Reason as ReferralReason

EVENTS_AT_ONCE: Final = 2_000
"""Events per transaction, so that an erasure never holds locks for long."""

REMOVED: Final[Sequence[type[Table]]] = (
    *(ReferralCode, ShareLink, Submission, TierMembership, TierStanding, TierOverride),
    *(ChallengeProgress, ChallengeCompletion, LeaderboardRank, LeaderboardEntrant, ContestEntry, ContestTicket),
    *(Earning, PointBoost, WaitingPrize),
    *(
        Wait,
        EntryDecision,
        DateDue,
        Consent,
        MailboxAnswer,
        Restriction,
        Cart,
        ProductView,
        Refund,
        Order,
        PointNote,
        Identity,
    ),
)
"""Tables whose rows name the customer in `customer_id` and go."""

KEPT: Final[Mapping[str, str]] = {
    "ageing": "how far forgetting has come, and counts",
    "audit_log": "names customers by our own uuid; who did what must stay, without the words of earlier releases",
    "suppressions": "keyed hashes, kept so that the erased get no marketing; what is written with them is blanked",
    "awaited_lines": "keyed hashes, kept so that a restore does not undo what people asked for",
    "backfills": "how far passes over old rows have come",
    "challenge_errands": "what is sent to many members, and how far that has come",
    "community_levels": "what all members reached together",
    "contest_draws": "lists of random ids, that can be recomputed forever",
    "contest_places": "places of random ids; who stood behind them is removed",
    "document_changes": "counts changes of documents",
    "document_versions": "written by marketers",
    "documents": "written by marketers",
    "erased_events": "keyed hashes, kept so that a replay does not bring the erased back",
    "erased_links": "keyed hashes, kept so that links in mails of the erased answer kindly and unsubscribe",
    "erased_identities": "keyed hashes, kept so that an import does not bring the erased back",
    "erasures": "the proof; what a job looked for is emptied when it completes",
    "keys": "of programs, not of customers",
    "point_balances": "figures under our own uuid; the ledger stays whole",
    "point_consumptions": "which lots points came out of",
    "point_entries": "figures under our own uuid; the ledger stays whole",
    "point_holds": "figures under our own uuid; the ledger stays whole",
    "point_lots": "figures under our own uuid; the ledger stays whole",
    "point_thresholds": "written by marketers, in journeys",
    "point_transactions": "figures under our own uuid, keys as hashes; the ledger stays whole",
    "point_total_changes": "the total of all points of an hour",
    "point_totals": "the total of all points of an hour",
    "leaderboard_closings": "which periods are being made final",
    "leaderboard_snapshots": "which periods are final; the members' places are removed",
    "passes": "how far jobs have come",
    "challenge_total_changes": "the total of all members of a period",
    "challenge_totals": "the total of all members of a period",
    "code_tries": "keyed hashes that last a day",
    "products": "the catalogue",
    "provider_places": "pace of sending",
    "provider_rates": "pace of sending",
    "referral_clicks": "counts visits by code and day",
    "restore_journal": "our own uuids and keyed hashes: what a restore must not undo",
    "reward_stocks": "counts of rewards",
    "run_changes": "what marketers decided about a journey's runs, with counts",
    "schedule_fires": "times of schedules; how far entering an audience has come, by our own uuid",
    "secrets": "of the program itself",
    "share_visits": "keyed hashes of visitors that lead nowhere; they go with the link",
    "shop_settings": "of the shop",
    "social_posts": "the shop's own posts, with their figures",
    "temporal_mark": "how we recognise our Temporal",
    "tier_sweeps": "counts versions of the programme",
    "undertakings": "our own uuids and times; done when the work is",
    "unread_reports": "counts of webhook items by provider and reason",
}
"""Tables that hold nothing of a customer, or nothing that leads to one, with the reason."""

GOES_WITH_ITS_OWNER: Final = frozenset(
    {"events", "event_keys", "links", "outbox", "idempotency_keys", "referral_signals", "refused_merges"}
)
"""Removed as well, found by the event, message, run, answer or id that they belong to."""

ROWS_AT_ONCE: Final = 5_000
"""Other rows per transaction, likewise."""

Removal = tuple[type[Table], ColumnElement[bool]]
"""A table and which of its rows go."""

IDEMPOTENCY_KEYS: Final = metadata.tables["idempotency_keys"]

# Events of these customers, and those not routed yet or quarantined under their ids, each with its key; what comes in
# after the request the router judges, so that this ends however fast the ids are named again. Relies on
# ix_events_customer_number, ix_events_pending_subject and ix_events_quarantined.
_REMOVE_EVENTS = text("""
    WITH gone AS MATERIALIZED (
        SELECT id, source, message_id FROM events WHERE customer_id = ANY(CAST(:customers AS uuid[]))
        UNION SELECT id, source, message_id FROM events
            WHERE status = 'pending' AND subject = ANY(:subjects)
                AND received_at <= coalesce(CAST(:asked_at AS timestamptz), 'infinity')
        UNION SELECT id, source, message_id FROM events WHERE status = 'quarantined' AND subject = ANY(:subjects)
        LIMIT :limit
    ), keys AS (
        DELETE FROM event_keys USING gone
        WHERE event_keys.source = gone.source AND event_keys.message_id = gone.message_id
    )
    DELETE FROM events USING gone WHERE events.id = gone.id RETURNING events.source, events.message_id
""")


async def remove_some_events(session: WriteSession, traces: Traces, as_of: datetime) -> int:
    """Remove up to EVENTS_AT_ONCE events with their keys; answers how many, 0 when none are left.

    The keys go too, since a message id may be personal; a hash of each stays, by which a replay is recognised.
    """
    whose = {"customers": traces.customers, "subjects": traces.subjects, "asked_at": traces.asked_at}
    bounds = {**whose, "limit": EVENTS_AT_ONCE}
    gone = (await session.execute(_REMOVE_EVENTS, bounds)).all()
    await remember_events(session, [(row.source, row.message_id) for row in gone], as_of)
    return len(gone)


def removals(traces: Traces) -> list[Removal]:
    """What goes: all rows that are the customers' own, table by table."""
    customers = traces.customers
    kept_answer = IdempotencyKey.customer_id.in_(customers) | mentions(IDEMPOTENCY_KEYS, traces.needles, body="body")
    return [
        (Command, Command.workflow_id.in_(select(Run.workflow_id).where(Run.customer_id.in_(customers)))),
        (IdempotencyKey, kept_answer),
        (RefusedMerge, _was_refused(traces)),
        (ReferralSignal, ReferralSignal.referral_id.in_(select(Referral.id).where(_refers(customers)))),
        *((table, table.__table__.c.customer_id.in_(customers)) for table in REMOVED),
    ]


async def remove_some_rows(session: WriteSession, removal: Removal) -> int:
    """Remove up to ROWS_AT_ONCE rows of a table; answers how many."""
    table, belongs = removal
    place: ColumnElement[str] = literal_column(f'"{table.__tablename__}".ctid')
    some = select(place).select_from(table).where(belongs).limit(ROWS_AT_ONCE).correlate(None)
    return _rows(await session.execute(delete(table).where(place.in_(some))))


Blanking = tuple[type[Table], ColumnElement[bool], Mapping[str, Any]]
"""A table, which of its rows stay without what is personal, and what stands in its place."""


async def blank_redemptions(session: WriteSession, customers: Sequence[UUID]) -> dict[str, int]:
    """Put back what is only reserved and blank the redemptions, in one transaction: nothing is put back twice. Answers
    table -> rows."""
    await let_go(session, customers)
    theirs = (Redemption, Redemption.customer_id.in_(customers), _BLANK_REDEMPTION)
    counts = {Redemption.__tablename__: 0}
    while count := await blank_some_rows(session, theirs):
        counts[Redemption.__tablename__] += count
    return counts


def blankings(customers: Sequence[UUID]) -> list[Blanking]:
    """What stays, table by table, without anything personal."""
    of_messages = MessageEvent.message_id.in_(select(Message.id).where(Message.customer_id.in_(customers)))
    of_runs = RunStep.run_id.in_(select(Run.id).where(Run.customer_id.in_(customers)))
    return [
        (MessageEvent, of_messages, {"detail": {}}),
        (RunStep, of_runs, {"detail": {}}),
        (Message, Message.customer_id.in_(customers), _BLANK_MESSAGE),
        # Nobody knows whose data a test of a template showed, so all of them are blanked.
        (Message, Message.customer_id.is_(None) & (Message.purpose == TRIAL), _BLANK_MESSAGE),
        (Run, Run.customer_id.in_(customers), _BLANK_RUN),
        (Customer, Customer.id.in_(customers), _BLANK_CUSTOMER),
        (CouponUse, CouponUse.customer_id.in_(customers), _BLANK_USE),
        (Coupon, Coupon.customer_id.in_(customers), {"state": CouponState.VOID}),
        (Referral, _refers(customers), _BLANK_REFERRAL),
    ]


async def blank_some_rows(session: WriteSession, blanking: Blanking, limit: int = ROWS_AT_ONCE) -> int:
    """Blank up to `limit` rows of a table that are not blank yet; answers how many, 0 when all are."""
    table, belongs, given = blanking
    columns = table.__table__.c
    blank = {name: null() if value is None else value for name, value in given.items()}
    is_personal = or_(*(columns[name].is_distinct_from(value) for name, value in blank.items()))
    place: ColumnElement[str] = literal_column(f'"{table.__tablename__}".ctid')
    some = select(place).select_from(table).where(belongs, is_personal).limit(limit).correlate(None)
    return _rows(await session.execute(update(table).where(place.in_(some)).values(blank)))


_BLANK_MESSAGE: Final[dict[str, Any]] = {
    **dict.fromkeys(("to", "subject", "html", "text", "provider_id", "mailbox_hash")),
    "headers": {},
    "attempts": [],
}
_BLANK_RUN: Final[dict[str, Any]] = {
    "entry": {},
    "saved": {},
    "waiting_for": None,
    "conversion": None,
    "note": None,
    "untrusted": None,
    "silenced": None,
    "occasion": sql_cast(Run.id, Text),
    "workflow_id": concat("erased/", sql_cast(Run.id, Text)),  # the old one held a hash of the occasion
}
_BLANK_CUSTOMER: Final[dict[str, Any]] = {
    **dict.fromkeys(("external_id", "email", "zone", "locale")),
    "restricted_at": None,
    "traits": {},
    "trait_times": {},
    "observed": {},
}
_BLANK_USE: Final[dict[str, Any]] = {"order_id": sql_cast(CouponUse.id, Text)}
_OPEN_REDEMPTION: Final = Redemption.state.in_([RedemptionState.RESERVED, RedemptionState.ISSUED])
_BLANK_REDEMPTION: Final[dict[str, Any]] = {
    **dict.fromkeys(("code", "reason", "review")),
    "key": sql_cast(Redemption.id, Text),
    "state": case((_OPEN_REDEMPTION, RedemptionState.EXPIRED), else_=Redemption.state),
}
_BLANK_REFERRAL: Final[dict[str, Any]] = {
    **dict.fromkeys(("token", "code", "order_id", "event_id")),
    "suspicions": [],
    "state": case((Referral.state.in_(OPEN | WITHOUT_FRIEND), ReferralState.EXPIRED), else_=Referral.state),
    "reason": case((Referral.state.in_(OPEN | WITHOUT_FRIEND), ReferralReason.ERASED), else_=Referral.reason),
}
"""The row stays with both uuids, for the ledger's keys lead to it; nothing is paid for whoever is gone."""
BLANKED: Final = frozenset(
    {
        "message_events",
        "run_steps",
        "messages",
        "runs",
        "customers",
        "referrals",
        "coupons",
        "coupon_uses",
        "redemptions",
    }
)


def _was_refused(traces: Traces) -> ColumnElement[bool]:
    """Refused merges of the customers, or with one of their ids on the other side."""
    return or_(
        RefusedMerge.customer_id.in_(traces.customers),
        RefusedMerge.user_id.in_(traces.user_ids),
        RefusedMerge.previous_id.in_([*traces.user_ids, *traces.anonymous_ids]),
    )


def _refers(customers: Sequence[UUID]) -> ColumnElement[bool]:
    """Referrals that the customers are on either side of."""
    return or_(Referral.referrer_id.in_(customers), Referral.referee_id.in_(customers))


def _rows(result: Result[Any]) -> int:
    """How many rows a statement that returns none has touched."""
    return cast("CursorResult[Any]", result).rowcount
