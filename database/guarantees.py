"""What breaks a guarantee, asked of live data: read-only, each answer a few offenders (docs: guarantees G1 to G27)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Boolean, literal_column, select, text

from database import (
    challenge_guarantees,
    erasure_guarantees,
    ledger_guarantees,
    message_guarantees,
    referral_guarantees,
    reward_guarantees,
    tier_guarantees,
    untrusted_runs,
)
from database.customers import Customer
from database.messages import OF_TRUSTED_RUN, Message
from database.session import ReadSession
from domain.messages import RESERVED, Sent
from domain.referrals import UNIQUE

LOOK_BACK = timedelta(days=32)
"""How far back messages, caps and rates are checked: the longest calendar window."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that must not be found. The statement answers one text per offender."""

    guarantee: str
    promise: str
    statement: str


# Each reads whole tables: minutes on a big database, and no locks that anybody waits for.
QUESTIONS = (
    Question(
        "G2",
        "no (source, messageId) is stored twice",
        """SELECT source || '/' || message_id FROM events GROUP BY source, message_id HAVING count(*) > 1""",
    ),
    Question(
        "G2",
        "every event is known to de-duplication",
        """SELECT e.id::text FROM events e
           WHERE NOT EXISTS (SELECT FROM event_keys k WHERE k.source = e.source AND k.message_id = e.message_id)""",
    ),
    Question(
        "G4",
        "no event waits longer than an hour to be routed",
        """SELECT id::text FROM events
           WHERE status = 'pending' AND received_at < CAST(:as_of AS timestamptz) - interval '1 hour'""",
    ),
    Question(
        "G6",
        "one run per customer, journey and occasion",
        """SELECT journey || '/' || customer_id FROM runs
           GROUP BY journey, customer_id, occasion HAVING count(*) > 1""",
    ),
    Question(
        "G7",
        "every active run has been started or its start is on its way",
        """SELECT id::text FROM runs r
           WHERE state = 'active' AND first_run_id IS NULL
             AND entered_at < CAST(:as_of AS timestamptz) - interval '10 minutes'
             AND NOT EXISTS (SELECT FROM outbox o WHERE o.workflow_id = r.workflow_id AND o.kind = 'start')""",
    ),
    Question(
        "G29",
        "no run failed because another execution of its workflow had ended",
        """SELECT id::text || ' (' || workflow_id || ')' FROM runs
           WHERE state = 'failed' AND reason = 'workflow_closed'""",
    ),
    Question(
        "G12",
        "no provider was called for a message after its run had ended",
        message_guarantees.AFTER_ITS_RUN,
    ),
    Question(
        "G13",
        "no marketing message was attempted again after it was, or may have been, accepted",
        message_guarantees.TWICE,
    ),
    Question(
        "G19",
        "no provider was called for marketing after consent had been withdrawn",
        message_guarantees.AFTER_A_WITHDRAWAL,
    ),
    Question(
        "G19",
        "no provider was called after a withdrawal that a restore had undone",
        message_guarantees.AFTER_A_FORGOTTEN_WITHDRAWAL,
    ),
    Question(
        "G19",
        "no provider was called for somebody whose processing was restricted",
        message_guarantees.WHILE_RESTRICTED,
    ),
    Question(
        "G18",
        "no provider was called for a message after its time",
        message_guarantees.AFTER_ITS_TIME,
    ),
    Question("G15", "no message is half sent for longer than an hour", message_guarantees.LEFT_HANGING),
    Question("G15", "no message stands in line past its time", message_guarantees.PAST_ITS_TIME),
    Question("G24", "nobody who was erased is known again", erasure_guarantees.KNOWN_AGAIN),
    Question("points", "every transaction of points sums to zero", ledger_guarantees.SUMS_TO_ZERO),
    Question("points", "balances equal a replay of their entries", ledger_guarantees.BALANCES),
    Question("points", "hours add up to their entries, for the liability", ledger_guarantees.TOTALS),
    Question("points", "what is left of each lot equals a replay of its uses", ledger_guarantees.LOTS),
    Question("points", "balances equal their lots and holds", ledger_guarantees.LOTS_AND_BALANCES),
    Question("points", "no points of a lot are used twice", ledger_guarantees.USED_ONCE),
    Question("points", "every hold ends once, whole", ledger_guarantees.HOLDS),
    Question("points", "nothing is due for longer than a day", ledger_guarantees.SETTLED),
    Question("points", "nobody who was erased has points", ledger_guarantees.FORFEITED),
    Question("points", "every decision about earning has paid its amount", ledger_guarantees.PAID),
    Question("points", "points that paid for an order came back with it", ledger_guarantees.CAME_BACK),
    Question("G27", "no run that a browser led on gave anything but what its step allows", untrusted_runs.GIFTS),
    Question("rewards", "no more of a reward is handed out than was taken from stock", reward_guarantees.STOCK),
    Question("rewards", "a code has one owner", reward_guarantees.ONE_OWNER),
    Question("rewards", "uses and holds of a code stay within its limit", reward_guarantees.LIMITS),
    Question("rewards", "gift cards got back their share of what was refunded", reward_guarantees.SHARES),
    Question("referrals", "nobody has brought themselves", referral_guarantees.NOT_THEMSELVES),
    Question("referrals", "nobody is brought by whom they have brought", referral_guarantees.RINGS),
    Question("referrals", "no side is rewarded before the hold is over", referral_guarantees.HOLD),
    Question("referrals", "points are paid for referrals that were rewarded", referral_guarantees.PAID),
    Question("referrals", "an order that is gone qualifies nobody", referral_guarantees.QUALIFIED),
    Question("tiers", "no period has been over for longer than a day", tier_guarantees.CLOSED),
    Question("challenges", "a completion's points are in the ledger", challenge_guarantees.PAID),
    Question("challenges", "the total of all members is the sum of their figures", challenge_guarantees.TOTALS),
)


@dataclass(frozen=True, slots=True)
class ReservedMessage:
    """A marketing message that counts towards caps, and whom it is for."""

    id: str
    customer_id: str
    zone: str | None
    sent: Sent


async def offenders(session: ReadSession, question: Question, as_of: datetime, *, limit: int = 5) -> Sequence[str]:
    """The first few that break the promise; none when it holds."""
    given: Mapping[str, object] = {
        "as_of": as_of,
        "since": as_of - LOOK_BACK,
        "reserved": [state.value for state in RESERVED],
        "live": [state.value for state in UNIQUE],
    }
    used = {name: value for name, value in given.items() if f":{name}" in question.statement}
    found = await session.scalars(text(f"{question.statement} LIMIT {limit}"), used)
    return [str(offender) for offender in found]


async def reserved_since(session: ReadSession, since: datetime) -> AsyncIterator[list[ReservedMessage]]:
    """One customer's messages after another's since then, that count towards caps, in order of their claim.

    Customers who absorbed another are left out: each half may have used its caps before the merge.
    """
    absorbed = select(Customer.merged_into).where(Customer.merged_into.is_not(None))
    was_trusted = literal_column(OF_TRUSTED_RUN, Boolean()).label("was_trusted")
    sent = (Message.created_at, Message.channel, Message.purpose, was_trusted)
    rows = await session.stream(
        select(Message.id, Message.customer_id, Customer.zone, *sent)
        .join(Customer, Customer.id == Message.customer_id)
        .where(Message.created_at >= since, Message.state.in_(RESERVED), Message.customer_id.not_in(absorbed))
        .order_by(Message.customer_id, Message.created_at, Message.id)
    )
    theirs: list[ReservedMessage] = []
    async for row in rows:  # by a cursor, however many they are
        if theirs and theirs[0].customer_id != str(row.customer_id):
            yield theirs
            theirs = []
        was = Sent(row.created_at, row.channel, row.purpose, row.was_trusted)
        theirs.append(ReservedMessage(str(row.id), str(row.customer_id), row.zone, was))
    if theirs:
        yield theirs
