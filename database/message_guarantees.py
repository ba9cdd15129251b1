"""What breaks a guarantee about messages, asked of live data: by when a provider was called, not by what was meant.

Those of the last 32 days are looked at: a breach is found by the nightly look after it, and is not shown forever.
A message's call began at `called_at`; older releases kept only when they decided to call (`attempting_at`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import text

from database.consent import IS_STATEMENT
from database.session import ReadSession
from domain.messages import LONGEST_TRY

# What the gate sees is good for half a second, and the clocks of two machines differ a little.
AFTER_ITS_RUN = """
    SELECT m.id::text FROM messages m JOIN runs r ON r.id = m.run_id
    WHERE m.created_at >= :since AND m.state = ANY(:reserved) AND r.ended_at < coalesce(
        coalesce(m.called_at, m.attempting_at) - interval '1 second', m.created_at
    )
"""

# A statement of standing takes no withdrawal back, though earlier releases sent by it.
AFTER_A_WITHDRAWAL = f"""
    SELECT m.id::text FROM messages m
    CROSS JOIN LATERAL (
        SELECT coalesce(coalesce(m.called_at, m.attempting_at) - interval '1 second', m.created_at) AS at
    ) AS call
    JOIN LATERAL (
        SELECT c.state FROM (SELECT * FROM consents WHERE NOT {IS_STATEMENT}) c JOIN events e ON e.id = c.event_id
        WHERE c.customer_id = m.customer_id AND c.purpose = m.purpose AND c.channel IN (m.channel, 'all')
            AND c.at <= call.at AND e.routed_at < call.at
        ORDER BY c.at DESC, c.id DESC LIMIT 1
    ) latest ON latest.state = 'unsubscribed'
    WHERE m.created_at >= :since AND m.state = ANY(:reserved) AND m.purpose <> 'transactional'
      AND m.customer_id IN (SELECT customer_id FROM consents WHERE state = 'unsubscribed')
"""  # noqa: S608  a constant of ours

# A restore forgot these, and the journal knows when they were made: the event that made them may never come again.
AFTER_A_FORGOTTEN_WITHDRAWAL = """
    SELECT m.id::text FROM messages m
    CROSS JOIN LATERAL (
        SELECT coalesce(coalesce(m.called_at, m.attempting_at) - interval '1 second', m.created_at) AS at
    ) AS call
    JOIN consents c ON c.customer_id = m.customer_id AND c.purpose = m.purpose AND c.channel IN (m.channel, 'all')
        AND c.state = 'unsubscribed' AND jsonb_exists(c.evidence, 'restored_at')
    JOIN restore_journal j ON j.entry ->> 'kind' = 'withdrawn' AND j.entry ->> 'event' = c.event_id::text
        AND j.entry ->> 'purpose' = c.purpose AND j.entry ->> 'channel' = c.channel AND j.at < call.at
    WHERE m.created_at >= :since AND m.state = ANY(:reserved) AND m.purpose <> 'transactional' AND NOT EXISTS (
        SELECT FROM consents again WHERE again.customer_id = c.customer_id AND again.purpose = c.purpose
            AND again.state = 'subscribed' AND again.at > c.at AND again.at <= call.at
    )
"""

# `at` is when it was asked for, also where it was done again after a restore.
WHILE_RESTRICTED = """
    SELECT m.id::text FROM messages m JOIN restrictions r ON r.customer_id = m.customer_id
    WHERE m.created_at >= :since AND m.state = ANY(:reserved)
        AND r.at < coalesce(m.called_at, m.attempting_at) - interval '1 second'
        AND coalesce(r.lifted_at, 'infinity') > coalesce(m.called_at, m.attempting_at)
"""

AFTER_ITS_TIME = """
    SELECT id::text FROM messages WHERE created_at >= :since AND coalesce(called_at, attempting_at) > not_after
"""

TWICE = """
    SELECT m.id::text FROM messages m
    WHERE m.created_at >= :since AND m.purpose <> 'transactional' AND (
        SELECT count(*) FROM jsonb_array_elements(m.attempts) a WHERE a ->> 'outcome' IN ('accepted', 'unknown')
    ) > 1
"""

# Upkeep sees to both every ten minutes. By ix_messages_unsettled and ix_messages_claimed.
LEFT_HANGING = """
    SELECT id::text FROM messages
    WHERE state = 'attempting' AND attempting_at < CAST(:as_of AS timestamptz) - interval '1 hour'
"""

PAST_ITS_TIME = f"""
    SELECT id::text FROM messages
    WHERE state = 'claimed' AND CAST(:as_of AS timestamptz) - interval '1 hour' > coalesce(
        not_after, created_at + interval '{LONGEST_TRY.total_seconds():.0f} seconds'
    )
"""  # noqa: S608  a constant of ours

_BUSIEST = text("""
    SELECT provider, max(crowd) FROM (
        SELECT provider, count(*) OVER (
            PARTITION BY provider ORDER BY at RANGE BETWEEN interval '950 milliseconds' PRECEDING AND CURRENT ROW
        ) AS crowd
        FROM (
            SELECT provider, CAST(attempt ->> 'called_at' AS timestamptz) AS at
            FROM messages CROSS JOIN LATERAL jsonb_array_elements(attempts) AS attempt
            WHERE called_at >= :since AND provider IS NOT NULL AND attempt ->> 'called_at' IS NOT NULL
        ) AS calls
        WHERE at >= :since
    ) AS windows GROUP BY provider
""")


async def busiest_second(session: ReadSession, since: datetime) -> Mapping[str, int]:
    """The most calls that each provider had within any one second since then, as far as their clocks can tell."""
    return {provider: int(crowd) for provider, crowd in await session.execute(_BUSIEST, {"since": since})}
