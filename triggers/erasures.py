"""What a request to erase a customer sets off at once: the person cannot be found, entered, routed or mailed any more.

The rest takes longer and is the workflow's (workflows/erasure.py), which the relay starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select, text, update

from database.consent import answered_addresses
from database.customers import Customer, Identity
from database.erased_events import remember_events
from database.erased_friends import ids_of_friends
from database.erased_links import remember_shared_links
from database.erasures import (
    Erasure,
    IdentityRef,
    Traces,
    open_erasure,
    remember_erased,
    workflow_of,
)
from database.forfeiting import forfeit_points
from database.messages import Message
from database.outbox import Command
from database.redemptions import Redemption
from database.redemptions import workflow_of as redemption_workflow
from database.restore_journal import note
from database.runs import Run, end_runs
from database.session import WriteSession
from database.suppressions import keep_withdrawals, suppress
from database.undertakings import NewUndertaking, conclude, undertake
from domain.addresses import canonical_address, spellings_of
from domain.ids import new_id
from domain.restore_journal import Erased
from domain.suppressions import Cause

REASON = "erased"
_DUE_WITHIN = timedelta(days=1)

# Every address that was ever used for these customers. Relies on ix_customers, ix_events_customer_number and
# ix_messages_customer.
_ADDRESSES = text("""
    SELECT lower(email) FROM customers WHERE id = ANY(:customers) AND email IS NOT NULL
    UNION SELECT lower("to") FROM messages WHERE customer_id = ANY(:customers) AND "to" IS NOT NULL
    UNION SELECT lower(traits ->> 'email') FROM events
        WHERE customer_id = ANY(:customers) AND traits ->> 'email' LIKE '%@%'
    UNION SELECT lower(traits ->> 'email') FROM events
        WHERE status = 'pending' AND subject = ANY(:subjects) AND traits ->> 'email' LIKE '%@%'
""")

_PHONES = text("""
    SELECT traits ->> 'phone' FROM events WHERE customer_id = ANY(:customers) AND traits ->> 'phone' IS NOT NULL
    UNION SELECT traits ->> 'phone' FROM customers WHERE id = ANY(:customers) AND traits ->> 'phone' IS NOT NULL
""")

# Those of them that a trusted source stated or whose mailbox has answered, and that nobody else has: a stranger who
# names somebody's address silences nobody, nor does one of two people who share a mailbox. Relies on
# ix_events_customer_number and ix_customers_email.
_STATED = text("""
    SELECT lower(trim(traits ->> 'email')) FROM events
    WHERE customer_id = ANY(:customers) AND trusted AND traits ->> 'email' LIKE '%@%'
    UNION SELECT lower(trim(traits ->> 'email')) FROM customers
    WHERE id = ANY(:customers) AND traits ->> 'email' LIKE '%@%'
        AND trait_times -> 'email' -> -1 IS DISTINCT FROM 'false'::jsonb
""")
_LIVING = text("""
    SELECT email FROM customers
    WHERE email = ANY(:addresses) AND NOT id = ANY(:customers) AND merged_into IS NULL AND erased_at IS NULL
""")

# Events that wait to be routed would bring the customer back. Relies on ix_events_pending_subject.
_FORGET_PENDING = text("""
    WITH gone AS (
        DELETE FROM events WHERE status = 'pending' AND subject = ANY(:subjects) RETURNING source, message_id
    ), keys AS (
        DELETE FROM event_keys USING gone
        WHERE event_keys.source = gone.source AND event_keys.message_id = gone.message_id
    )
    SELECT source, message_id FROM gone
""")


async def request_erasure(session: WriteSession, customer_id: UUID, *, by: str, as_of: datetime) -> Erasure:
    """Start erasing a customer, or answer the job that is under way. In this transaction it becomes impossible to find,
    route or mail that person; what is stored goes afterwards.
    """
    customers = await _lock(session, customer_id)
    if running := await open_erasure(session, customer_id):
        return running
    traces = await _traces(session, customers)
    await end_runs(session, Run.customer_id.in_(customers), reason=REASON, as_of=as_of)
    of_runs = select(Run.workflow_id).where(Run.customer_id.in_(customers))
    await session.execute(delete(Command).where(Command.workflow_id.in_(of_runs)))
    await _end_redemptions(session, customers, as_of)
    await forfeit_points(session, customers, as_of)
    await _cancel_messages(session, customers, as_of)
    await keep_withdrawals(session, customers)
    await suppress(session, "email", await _own_addresses(session, traces), reason=Cause.ERASED, at=as_of)
    await remember_shared_links(session, customers)
    await _forget_ids(session, customers, traces, as_of)
    return await _create_job(session, customer_id, traces, by, as_of)


async def _lock(session: WriteSession, customer_id: UUID) -> Sequence[UUID]:
    """The customer and all who were merged into it, locked in the order of their ids."""
    merged = select(Customer.id).where(Customer.id == customer_id).cte("merged", recursive=True)
    merged = merged.union_all(select(Customer.id).join(merged, Customer.merged_into == merged.c.id))
    statement = select(Customer.id).where(Customer.id.in_(select(merged.c.id))).order_by(Customer.id).with_for_update()
    return (await session.execute(statement)).scalars().all()


async def _own_addresses(session: WriteSession, traces: Traces) -> list[str]:
    """The addresses that are surely theirs and nobody's else, each once."""
    stated = set(await session.scalars(_STATED, {"customers": traces.customers}))
    own = {*stated, *await answered_addresses(session, traces.customers, "email", traces.addresses)}
    spelt = {spelling: address for address in own for spelling in spellings_of("email", address)}
    spelt |= {canonical_address("email", address): address for address in own}
    living = await session.scalars(_LIVING, {"addresses": list(spelt), "customers": traces.customers})
    return sorted(own - {spelt[address] for address in living})


async def _traces(session: WriteSession, customers: Sequence[UUID]) -> Traces:
    statement = (
        select(Identity.kind, Identity.value).where(Identity.customer_id.in_(customers)).order_by(Identity.value)
    )
    ids = (await session.execute(statement)).all()
    known = Traces(
        customers=list(customers),
        user_ids=[value for kind, value in ids if kind == "user"],
        anonymous_ids=[value for kind, value in ids if kind == "anonymous"],
    )
    bounds = {"customers": customers, "subjects": known.subjects}
    addresses = (await session.execute(_ADDRESSES, bounds)).scalars().all()
    phones = (await session.execute(_PHONES, {"customers": customers})).scalars().all()
    return known.model_copy(update={"addresses": sorted(addresses), "phones": sorted(phones)})


async def _end_redemptions(session: WriteSession, customers: Sequence[UUID], as_of: datetime) -> None:
    """Nobody asks the shop to deliver any more, nor is that begun again should Temporal be lost."""
    ids = (await session.execute(select(Redemption.id).where(Redemption.customer_id.in_(customers)))).scalars()
    workflows = [redemption_workflow(id_) for id_ in ids]
    await session.execute(delete(Command).where(Command.workflow_id.in_(workflows)))
    await conclude(session, workflows, as_of)


async def _cancel_messages(session: WriteSession, customers: Sequence[UUID], as_of: datetime) -> None:
    """What has not been handed to a provider never will be."""
    stopped = update(Message).where(Message.customer_id.in_(customers), Message.state.in_(["planned", "claimed"]))
    await session.execute(stopped.values(state="cancelled", reason=REASON, settled_at=as_of))


async def _forget_ids(session: WriteSession, customers: Sequence[UUID], traces: Traces, as_of: datetime) -> None:
    ids = [IdentityRef("user", value) for value in traces.user_ids]
    ids += [IdentityRef("anonymous", value) for value in traces.anonymous_ids]
    hashes = await remember_erased(session, [*ids, *await ids_of_friends(session, traces)], as_of)
    await note(session, [Erased(customers=customers, identities=hashes)])
    pending = await session.execute(_FORGET_PENDING, {"subjects": traces.subjects})
    await remember_events(session, [(row.source, row.message_id) for row in pending], as_of)
    await session.execute(delete(Identity).where(Identity.customer_id.in_(customers)))
    erased = update(Customer).where(Customer.id.in_(customers)).values(erased_at=as_of, external_id=None)
    await session.execute(erased)


async def _create_job(session: WriteSession, customer_id: UUID, traces: Traces, by: str, as_of: datetime) -> Erasure:
    job = Erasure(
        id=new_id(),
        customer_id=customer_id,
        state="requested",
        requested_at=as_of,
        requested_by=by,
        completed_at=None,
        traces=traces.model_copy(update={"asked_at": as_of}).model_dump(mode="json"),
        proof={},
    )
    session.add(job)
    await session.flush()
    given, shown = {"erasure_id": str(job.id)}, {"summary": "Erase a customer"}
    due = as_of + _DUE_WITHIN
    await undertake(session, [NewUndertaking(workflow_of(job.id), "Erasure", given, due, shown)], as_of)
    return job
