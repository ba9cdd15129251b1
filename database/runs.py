"""Runs: one customer's way through one version of a journey. The rows are the truth; Temporal carries the time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, ForeignKey, Index, PrimaryKeyConstraint, UniqueConstraint, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, JsonList, Table
from database.customers import Customer
from database.events import Event
from database.outbox import CommandKind, NewCommand, add_commands
from database.session import ReadSession, WriteSession
from database.vouching import is_vouched
from domain.conditions.subject import Subject
from domain.errors import Unavailable
from domain.journeys.waiting import Happening
from domain.runs import Doubt, Execution, RunState, doubted

CLOSED = "workflow_closed"
"""Why a run failed whose workflow had ended without writing an end: earlier releases took other executions for it."""


STEPS_THAT_GAVE = """
    SELECT FROM run_steps WHERE run_steps.kind IN ('points', 'reward') AND run_steps.outcome = 'done'
        AND run_steps.run_id
"""
"""What moved points or gave a reward by itself; compare it with the id of a run. Relies on pk_run_steps."""


class Run(Table):
    """One run. `seen_number` is the customer's routing number up to which its waits have looked."""

    __tablename__ = "runs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    journey: Mapped[str]
    version: Mapped[int]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    occasion: Mapped[str]
    state: Mapped[str]  # active | completed | exited | failed
    reason: Mapped[str | None]  # a class, by which funnels count
    note: Mapped[str | None]  # what somebody wrote who ended it by hand; may be personal
    shadow: Mapped[bool]  # a member of the holdout: walks and logs, without effect
    held: Mapped[bool] = mapped_column(server_default=text("false"))  # an effect waits for resume
    step: Mapped[str | None]  # where it stands
    waiting_for: Mapped[dict[str, Any] | None]  # what it waits for, readable
    entry_number: Mapped[int | None]  # the entering event's routing number
    seen_number: Mapped[int]
    entry: Mapped[Json]  # {"event": name, "properties": {...}, "timestamp": ..., "event_id": ...}
    untrusted: Mapped[dict[str, Any] | None]  # {"by", "step", "at"}: why steps of value are skipped from there on
    silenced: Mapped[dict[str, Any] | None]  # {"reason", "event_id", "at"}: why no message leaves until it has given
    saved: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    variants: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # split step -> arm
    depth: Mapped[int] = mapped_column(server_default=text("0"))
    entered_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    converted_at: Mapped[datetime | None]
    conversion: Mapped[dict[str, Any] | None]  # event_id, value
    workflow_id: Mapped[str]
    first_run_id: Mapped[str | None]  # Temporal's first_execution_run_id, bound by the first activity
    execution_id: Mapped[str | None]  # Temporal's run id now: changes when it continues as new and when ops reset it
    moves: Mapped[JsonList] = mapped_column(
        server_default=text("'[]'")
    )  # [from version, to version, at], by confirmed plans

    __table_args__ = (
        UniqueConstraint("journey", "customer_id", "occasion"),  # exactly one run per customer and occasion
        UniqueConstraint("workflow_id"),
        # The router: active runs of the customers of a batch.
        Index("ix_runs_active", "customer_id", postgresql_where=text("state = 'active'")),
        # Funnel, publish plan, lists.
        Index("ix_runs_journey", "journey", "version", "state", "step"),
        Index("ix_runs_customer", "customer_id", "entered_at"),
        Index("ix_runs_entered_at", "entered_at", "id"),
        # What `call` steps saved, for as long as it is kept.
        Index("ix_runs_saved", "ended_at", postgresql_where=text("ended_at IS NOT NULL AND saved <> '{}'::jsonb")),
        # Runs whose workflow has not spoken yet: few, unless workers or Temporal are away.
        Index("ix_runs_unbound", "entered_at", postgresql_where=text("state = 'active' AND first_run_id IS NULL")),
    )

    @property
    def trusted(self) -> bool:
        """Whether trusted facts alone would have led it here. Runs of releases before are as their entry event is."""
        return self.untrusted is None and bool(self.entry.get("trusted", True))

    @property
    def versions(self) -> list[int]:
        """The versions that it has walked on, the first first."""
        return [*(move[0] for move in self.moves), self.version]

    def version_at(self, at: datetime) -> int:
        """The version that it was on then, as far as clocks agree."""
        return next((before for before, _, moved in self.moves if at <= datetime.fromisoformat(moved)), self.version)

    def doubt(self, by: Doubt, at: datetime, step: str | None = None) -> None:
        """The first difference makes it untrusted for good."""
        if self.untrusted is None:
            self.untrusted = doubted(by, at, step)


class RunStep(Table):
    """The run log: one row per step and visit, written in the transaction of its effect."""

    __tablename__ = "run_steps"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    step: Mapped[str]
    visit: Mapped[int]
    kind: Mapped[str]
    reached_at: Mapped[datetime]
    at: Mapped[datetime | None]  # when it was done
    outcome: Mapped[str]  # waiting | done | skipped | failed | held
    version: Mapped[int | None]  # of the journey, under which it was settled; None: by an earlier release
    reason: Mapped[str | None]
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'"))

    __table_args__ = (PrimaryKeyConstraint("run_id", "step", "visit"),)


class Wait(Table):
    """What a run waits for. This row, not a timer or a signal, decides between event and timer."""

    __tablename__ = "waits"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    step: Mapped[str]
    visit: Mapped[int]
    customer_id: Mapped[UUID]
    version: Mapped[int]  # of the journey, under which it last looked back
    status: Mapped[str]  # waiting | met | timed_out | cancelled
    registered_at: Mapped[datetime]
    deadline: Mapped[datetime | None]
    met_alternative: Mapped[int | None]
    met_event_id: Mapped[UUID | None]
    settled_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("run_id", "step", "visit"),
        Index("ix_waits_waiting", "customer_id", postgresql_where=text("status = 'waiting'")),
    )


@dataclass(frozen=True, slots=True)
class LockedRun:
    """A run with its customer, both locked until the transaction ends."""

    run: Run
    customer: Customer


async def lock_run(session: WriteSession, run_id: UUID) -> LockedRun | None:
    """Lock the customer first and then the run (the order of everything that decides about a customer); None if erased.

    Raises Unavailable in the moment of a merge, when the run passes to another customer: trying again is right.
    """
    statement = (
        select(Run, Customer)
        .join(Customer, Customer.id == Run.customer_id)
        .where(Run.id == run_id)
        .with_for_update(of=(Customer, Run))
        .execution_options(populate_existing=True)
    )
    found = (await session.execute(statement)).one_or_none()
    if found is not None:
        return LockedRun(*found)
    if await session.get(Run, run_id) is not None:
        raise Unavailable("The run passes to another customer at this moment.", code="run_moves")
    return None


def bind(run: Run, execution: Execution) -> bool:
    """Bind a locked run to the Temporal execution that speaks; False when it has ended as another one's.

    Raises Unavailable when an active run, or one that was failed as closed, is another one's. Temporal has one
    execution of an id at a time, so the one that speaks may be the living one of a Temporal that was put back: the
    reconciler decides, and trying again is right.

    A reset (same first execution, new id, not a continuation) opens a run again that had been cancelled, terminated or
    walked to its end: effects are keyed by step and visit, so none is repeated. What a rule, a person or an erasure
    ended stays ended.
    """
    if run.first_run_id not in (None, execution.first_run_id):
        if run.state == RunState.ACTIVE or run.reason == CLOSED:
            raise Unavailable("The run is bound to another execution in Temporal.", code="run_bound_elsewhere")
        return False
    is_reset = run.execution_id not in (None, execution.run_id, execution.continued_run_id)
    if is_reset and can_reopen(run):
        run.state, run.reason, run.ended_at = RunState.ACTIVE, None, None
    run.first_run_id, run.execution_id = execution.first_run_id, execution.run_id
    return True


STEERED = ("cancelled", "terminated")
"""Reasons of an end that ops caused in Temporal."""


def can_reopen(run: Run) -> bool:
    """Whether a reset in Temporal may set this ended run going again."""
    return run.state in (RunState.COMPLETED, RunState.FAILED) or (
        run.state == RunState.EXITED and run.reason in STEERED
    )


async def end_runs(
    session: WriteSession, which: ColumnElement[bool], *, reason: str, as_of: datetime, note: str | None = None
) -> Sequence[UUID]:
    """Exit all active runs of a condition with one reason, cancel their waits, wake their workflows. Answers their ids.
    `note`: what a person wrote about it.

    Locks the customers in sorted order first, as everything does that decides about them.
    """
    customers = select(Run.customer_id).where(which, Run.state == RunState.ACTIVE)
    await session.execute(select(Customer.id).where(Customer.id.in_(customers)).order_by(Customer.id).with_for_update())
    ended = (
        update(Run)
        .where(which, Run.state == RunState.ACTIVE)
        .values(state=RunState.EXITED, reason=reason, note=note, ended_at=as_of, held=False, waiting_for=None)
        .returning(Run.id, Run.workflow_id)
    )
    rows = (await session.execute(ended)).all()
    ids = [row.id for row in rows]
    await cancel_waits(session, Wait.run_id.in_(ids), as_of=as_of)
    await add_commands(session, [NewCommand(CommandKind.WAKE, row.workflow_id) for row in rows])
    return ids


async def cancel_waits(session: WriteSession, which: ColumnElement[bool], *, as_of: datetime) -> None:
    """Nobody waits any more: settle the waits and their rows of the run log as cancelled."""
    cancelled = (
        update(Wait)
        .where(which, Wait.status == "waiting")
        .values(status="cancelled", settled_at=as_of)
        .returning(Wait.run_id, Wait.step, Wait.visit)
    ).cte("cancelled")
    same = (
        (RunStep.run_id == cancelled.c.run_id)
        & (RunStep.step == cancelled.c.step)
        & (RunStep.visit == cancelled.c.visit)
    )
    await session.execute(
        update(RunStep).where(same, RunStep.outcome == "waiting").values(outcome="cancelled", at=as_of)
    )


async def happenings(
    session: ReadSession, run: Run, customer_id: UUID, *, upto: int, names: Collection[str] | None
) -> list[Happening]:
    """What a run has not seen yet of its customer's routed events, up to a number, in routing order.

    `names` None: those of every name. Imported ones from before the run do not concern it.
    """
    # By ix_events_customer_number: the few events since the run left its last wait.
    statement = select(Event, is_vouched(Event)).where(
        *(Event.customer_id == customer_id, Event.number > run.seen_number, Event.number <= upto),
        ~Event.is_history | (Event.timestamp >= run.entered_at),
    )
    if names is not None:
        statement = statement.where(Event.name.in_(names))
    rows = await session.execute(statement.order_by(Event.number))
    return [_happening(event, event.number, trusted=trusted) for event, trusted in rows if event.number is not None]


def subject_of(run: Run, customer: Customer, as_of: datetime) -> Subject:
    """A run's customer as conditions see them at this moment: with the entry, what steps saved, and the arms taken."""
    return Subject(
        customer_id=customer.id,
        as_of=as_of,
        number=customer.last_number,
        entry=run.entry,
        saved=run.saved,
        variants=run.variants,
        entered_at=run.entered_at,
        entry_number=run.entry_number,
        run_id=run.id,
    )


async def find_happening(session: ReadSession, event_id: UUID) -> Happening | None:
    """A routed event, as runs see it; None once it is erased."""
    found = (await session.execute(select(Event, is_vouched(Event)).where(Event.id == event_id))).one_or_none()
    return None if found is None or found[0].number is None else _happening(found[0], found[0].number, trusted=found[1])


def _happening(event: Event, number: int, *, trusted: bool) -> Happening:
    return Happening(
        event_id=event.id,
        number=number,
        own=event.own,
        name=event.name,
        properties=event.properties,
        changed_traits=event.changed_traits,
        timestamp=event.timestamp,
        received_at=event.received_at,
        trusted=trusted,
    )


# By pk_identities' customer index and ix_events_pending_subject.
_PENDING = text("""
    SELECT EXISTS (
        SELECT FROM events
        WHERE status = 'pending' AND received_at <= :until AND subject IN (
            SELECT left(kind, 1) || ':' || value FROM identities WHERE customer_id = :customer_id
        ) AND (history_mark IS NOT TRUE OR timestamp >= :entered_at)
    )
""")


async def has_pending_events(session: ReadSession, run: Run, customer_id: UUID, *, until: datetime) -> bool:
    """Whether events of the run's customer that were received by `until` are stored and not yet routed.

    Imported ones from before the run do not concern it.
    """
    asked = {"customer_id": customer_id, "until": until, "entered_at": run.entered_at}
    return bool((await session.execute(_PENDING, asked)).scalar_one())
