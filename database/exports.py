"""Everything that is stored about one customer, for the customer: each section is one query, rows as JSON objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from database.session import ReadSession

# Per section: a query for the customer's rows as JSON, in order of time. Ids of ours stay in, so that the parts can be
# put together; bookkeeping of the router (number, attempts, status) is left out.
SECTIONS: Final[Mapping[str, str]] = {
    "identities": """
        SELECT to_jsonb(t) - 'customer_id' FROM identities t WHERE customer_id = :customer ORDER BY first_seen, value
    """,
    "events": """
        SELECT to_jsonb(t) - '{customer_id,number,subject,attempts,not_before,error,status,depth}'::text[]
        FROM events t WHERE customer_id = :customer ORDER BY number
    """,
    "orders": """
        SELECT to_jsonb(t) - '{customer_id,changed_at}'::text[]
        FROM orders t WHERE customer_id = :customer ORDER BY completed_at, order_id
    """,
    "refunds": "SELECT to_jsonb(t) - 'customer_id' FROM refunds t WHERE customer_id = :customer ORDER BY at",
    "carts": """
        SELECT to_jsonb(t) - '{customer_id,changed_sent,changed_by}'::text[]
        FROM carts t WHERE customer_id = :customer ORDER BY changed_at
    """,
    "product_views": """
        SELECT to_jsonb(t) - 'customer_id' FROM product_views t WHERE customer_id = :customer ORDER BY viewed_at
    """,
    "consents": """
        SELECT to_jsonb(t) - '{customer_id,address_hash}'::text[]
        FROM consents t WHERE customer_id = :customer ORDER BY at, sent, id
    """,
    "mailbox_answers": """
        SELECT to_jsonb(t) - '{customer_id,address_hash}'::text[]
        FROM mailbox_answers t WHERE customer_id = :customer ORDER BY at
    """,
    "restrictions": """
        SELECT to_jsonb(t) - 'customer_id' FROM restrictions t WHERE customer_id = :customer ORDER BY at, id
    """,
    "messages": """
        SELECT to_jsonb(t) - 'customer_id' || jsonb_build_object('events', (
            SELECT coalesce(jsonb_agg(to_jsonb(e) - 'message_id' ORDER BY e.at), '[]')
            FROM message_events e WHERE e.message_id = t.id
        ), 'links', (
            SELECT coalesce(jsonb_agg(l.target ORDER BY l.target), '[]')
            FROM links l WHERE l.message_id = t.id AND l.target IS NOT NULL
        ))
        FROM messages t WHERE customer_id = :customer ORDER BY created_at, id
    """,
    "runs": """
        SELECT to_jsonb(t) - '{customer_id,seen_number,workflow_id,first_run_id,execution_id}'::text[]
            || jsonb_build_object('steps', (
            SELECT coalesce(jsonb_agg(to_jsonb(s) - 'run_id' ORDER BY s.reached_at, s.step, s.visit), '[]')
            FROM run_steps s WHERE s.run_id = t.id
        ))
        FROM runs t WHERE customer_id = :customer ORDER BY entered_at, id
    """,
    "journey_decisions": """
        SELECT to_jsonb(t) - 'customer_id' FROM entry_decisions t WHERE customer_id = :customer ORDER BY at
    """,
    "points": """
        SELECT to_jsonb(t) - '{account,number,key,fingerprint,answer,of}'::text[]
            || jsonb_build_object('reason', n.reason, 'reference', n.reference, 'order_id', n.order_id, 'changes', (
            SELECT coalesce(jsonb_object_agg(e.bucket, e.amount), '{}') FROM point_entries e
            WHERE e.transaction_id = t.id AND e.account = own.account
        ))
        FROM point_balances own
        JOIN point_transactions t ON t.programme = own.programme AND t.id IN (
            SELECT e.transaction_id FROM point_entries e WHERE e.programme = own.programme AND e.account = own.account
        )
        LEFT JOIN point_notes n ON n.transaction_id = t.id
        WHERE own.account = :customer OR own.merged_into = :customer
        ORDER BY t.id
    """,
    "point_lots": """
        SELECT to_jsonb(t) - '{account,origin,number,transaction_id}'::text[]
        FROM point_lots t WHERE account = :customer ORDER BY t.id
    """,
    "referral_codes": """
        SELECT to_jsonb(t) - 'customer_id' FROM referral_codes t WHERE customer_id = :customer ORDER BY made_at, code
    """,
    "referrals": """
        SELECT to_jsonb(t) - '{referrer_id,referee_id,score,suspicions,event_id,order_id}'::text[]
            || jsonb_build_object('side', CASE WHEN referrer_id = :customer THEN 'referrer' ELSE 'referee' END)
        FROM referrals t WHERE referrer_id = :customer OR referee_id = :customer ORDER BY id
    """,
    "share_links": "SELECT to_jsonb(t) - 'customer_id' FROM share_links t WHERE customer_id = :customer ORDER BY id",
    "submissions": "SELECT to_jsonb(t) - 'customer_id' FROM submissions t WHERE customer_id = :customer ORDER BY id",
    "redemptions": """
        SELECT to_jsonb(t) - '{customer_id,key,programme,is_doubtful}'::text[]
        FROM redemptions t WHERE customer_id = :customer ORDER BY requested_at, id
    """,
    "coupons": """
        SELECT to_jsonb(t) - '{customer_id,number,is_loaded}'::text[]
        FROM coupons t WHERE customer_id = :customer AND state <> 'reserved' ORDER BY created_at, code
    """,
    "coupon_uses": """
        SELECT to_jsonb(t) - 'customer_id' FROM coupon_uses t WHERE customer_id = :customer ORDER BY at, id
    """,
    "tiers": """
        SELECT to_jsonb(t) - '{id,customer_id}'::text[] FROM tier_memberships t
        WHERE customer_id = :customer ORDER BY from_at
    """,
    "tier_overrides": """
        SELECT to_jsonb(t) - '{id,customer_id,author}'::text[] FROM tier_overrides t
        WHERE customer_id = :customer ORDER BY from_at, id
    """,
    "challenge_progress": """
        SELECT to_jsonb(t) - 'customer_id' FROM challenge_progress t
        WHERE customer_id = :customer ORDER BY challenge, period
    """,
    "challenge_completions": """
        SELECT to_jsonb(t) - 'customer_id' - 'credit' FROM challenge_completions t
        WHERE customer_id = :customer ORDER BY completed_at, challenge, level
    """,
    "contest_entries": """
        SELECT to_jsonb(t) - 'customer_id' FROM contest_entries t WHERE customer_id = :customer ORDER BY at, id
    """,
    "contest_tickets": """
        SELECT to_jsonb(t) - 'customer_id' || jsonb_build_object('places', (
            SELECT coalesce(jsonb_agg(to_jsonb(p) - '{contest,entry_id}'::text[] ORDER BY p.place), '[]')
            FROM contest_places p WHERE p.entry_id = t.entry_id
        ))
        FROM contest_tickets t WHERE customer_id = :customer ORDER BY contest
    """,
    "leaderboard_ranks": """
        SELECT to_jsonb(t) - 'customer_id' FROM leaderboard_ranks t
        WHERE customer_id = :customer ORDER BY challenge, period
    """,
    "earnings": """
        SELECT to_jsonb(t) - '{customer_id,owner}'::text[] FROM earnings t WHERE customer_id = :customer ORDER BY at, id
    """,
    "point_boosts": """
        SELECT to_jsonb(t) - 'customer_id' FROM point_boosts t WHERE customer_id = :customer ORDER BY start
    """,
    "dates_due": "SELECT to_jsonb(t) - 'customer_id' FROM dates_due t WHERE customer_id = :customer ORDER BY due_at",
}

NOT_EXPORTED: Final[Mapping[str, str]] = {
    "customers": "the profile, which is a section of its own",
    "event_keys": "(source, message id) of the events",
    "idempotency_keys": "answers that were given to the shop's programs",
    "leaderboard_entrants": "what stands with the challenges, while its period is being made final",
    "links": "tokens; their targets stand with the messages",
    "message_events": "stand with their messages",
    "outbox": "commands under way to Temporal",
    "point_notes": "stand with the moves of points",
    "referral_signals": "keyed hashes, good for recognising and nothing else",
    "refused_merges": "say that ids are not one person's: the others are other people's",
    "run_steps": "stand with their runs",
    "tier_standings": "the latest of the tiers, and when to look again",
    "waiting_prizes": "stand with the contests and challenges that were won",
    "waits": "stand as steps with their runs",
}
"""Tables with rows of a customer that are no section, with the reason."""


async def everything_about(session: ReadSession, customer_id: UUID) -> dict[str, list[dict[str, Any]]]:
    """Section -> rows as JSON objects."""
    return {
        name: list((await session.execute(text(query), {"customer": customer_id})).scalars().all())
        for name, query in SECTIONS.items()
    }
