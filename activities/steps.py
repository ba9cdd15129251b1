"""What the activities of all steps share: open a step under lock, record its outcome in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.looks import exit_by_condition
from database.customers import Customer
from database.definitions import JOURNEY, flow_of
from database.documents import DocumentRow
from database.run_changes import STANDS, OpenChanges, meet_changes, open_changes, see_changes
from database.run_log import done_by
from database.runs import Run, RunStep, bind, has_pending_events, lock_run
from database.session import WriteSession
from domain.customers import Profile, profile_of
from domain.documents import DocumentState
from domain.journeys import descriptions
from domain.journeys.definition import JourneyDefinition
from domain.journeys.library import DefinitionLibrary
from domain.journeys.looks import next_look
from domain.journeys.reading import reads_customer
from domain.journeys.steps import Send, SendStep, Step
from domain.messages import Reason
from domain.runs import ALREADY_DONE, HOLDOUT, Doubt, OutcomeKind, PassedStep, RunState, StepInput, StepOutcome

_NOT_BY_BROWSERS = (
    *(None, HOLDOUT, ALREADY_DONE, Reason.NO_CONSENT, Reason.NO_ADDRESS, Reason.NOT_AFTER, Reason.FREQUENCY_CAP),
    *(Reason.QUIET_HOURS, Reason.TEMPLATE_MISSING, Reason.CHANNEL_UNAVAILABLE, Reason.RUN_ENDED),
    Reason.SILENCED,  # by one, but the run goes on as if the message had left
)
"""Why messages did not leave that no browser can have brought about."""

RESTRICTED = "restricted"
"""Why effects wait whose customer has asked for restriction of processing."""

_SETTLED = {OutcomeKind.DONE, OutcomeKind.SKIPPED, OutcomeKind.FAILED}


@dataclass(slots=True)
class OpenStep:
    """A step of an active run, about to be performed; customer and run are locked, `row` is its log entry."""

    at: StepInput
    run: Run
    customer: Customer
    definition: JourneyDefinition
    step: Step
    row: RunStep
    stopped_by: str | None  # why effects wait: the journey is `paused`, the customer's processing `restricted`

    def done(self, *, arm: str | None = None, reason: str | None = None, **detail: Any) -> StepOutcome:
        """The step did what it is for."""
        return self._settled(OutcomeKind.DONE, reason, arm, detail)

    def skipped(self, reason: str, **detail: Any) -> StepOutcome:
        """The step was left out on purpose."""
        return self._settled(OutcomeKind.SKIPPED, reason, None, detail)

    def failed(self, reason: str, **detail: Any) -> StepOutcome:
        """The step will not succeed."""
        return self._settled(OutcomeKind.FAILED, reason, None, detail)

    def held(self) -> StepOutcome:
        """The effect waits until the journey is resumed or the restriction lifted."""
        self.run.held = True
        self.row.outcome, self.row.reason = OutcomeKind.HELD, self.stopped_by
        return self._answer(OutcomeKind.HELD, self.stopped_by)

    def waiting(self, until: datetime | None, zone: str | None) -> StepOutcome:
        """The run stands at this step, until `until` or until something wakes it."""
        outcome = self._answer(OutcomeKind.LATER, None, at=until, zone=zone, look=self._next_look)
        self.row.outcome, self.run.held = "waiting", False
        self.run.waiting_for = {
            "description": descriptions.standing(self.step, outcome),
            "until": until.isoformat() if until else None,
            "zone": zone,
            "for": descriptions.awaited(self.step),
        }
        return outcome

    @property
    def context(self) -> dict[str, Any]:
        """What `{{ customer.* }}`, `{{ entry.* }}` and `{{ saved.* }}` in a step's values mean."""
        return self._context(self.profile)

    @property
    def trusted_context(self) -> dict[str, Any]:
        """The same by what trusted sources told."""
        return self._context(self.profile.trusted())

    @property
    def profile(self) -> Profile:
        """The customer as events have made it."""
        return profile_of(self.customer.traits, self.customer.trait_times, self.customer.observed)

    @property
    def is_in_doubt(self) -> bool:
        """Whether trusted facts alone could come to something else here: the run is trusted, not all of its customer
        is.
        """
        return self.run.trusted and self.profile.has_untrusted

    def doubt(self, by: Doubt) -> None:
        """Trusted facts alone would have come to something else here."""
        self.run.doubt(by, self.at.as_of, self.at.step)

    def _context(self, profile: Profile) -> dict[str, Any]:
        customer = {"id": self.customer.external_id, "traits": profile.traits}
        return {"customer": customer, "entry": self.run.entry, "saved": self.run.saved}

    def unexpected(self) -> ApplicationError:
        """The step is of another kind than the activity was made for: no retry can help."""
        return ApplicationError("a step of another kind", type="step_kind_changed", non_retryable=True)

    @property
    def _next_look(self) -> datetime | None:
        """When time alone may have made a condition true that ends the run or this wait."""
        after = next_look(self.definition, self.step)
        return None if after is None else self.at.as_of + after

    @property
    def withheld(self) -> StepOutcome | None:
        """Why an effect does not happen now: the run is in the holdout, the journey paused, the customer restricted."""
        if self.run.shadow:
            return self.skipped(HOLDOUT, would=self.row.kind)
        return self.held() if self.stopped_by else None

    def _settled(self, kind: OutcomeKind, reason: str | None, arm: str | None, detail: dict[str, Any]) -> StepOutcome:
        self.row.outcome, self.row.reason, self.row.at = kind, reason, self.at.as_of
        self.row.version = self.run.version
        self.row.detail = self.row.detail | detail | ({} if arm is None else {"arm": arm})
        self.run.waiting_for = None
        self.run.held = False
        if isinstance(self.step, SendStep) and self.run.trusted and self._leads_by_a_browser(self.step.send, reason):
            self.doubt(Doubt.MESSAGE)
        return self._answer(_as_walked(kind, reason), reason, arm=arm)

    def _leads_by_a_browser(self, send: Send, reason: str | None) -> bool:
        """Whether what becomes of the message leads elsewhere, and a browser may have brought it about: by an address
        that it told, or by taking back consent.
        """
        if not any(isinstance(each, list) for each in (send.on_skip, send.on_failure)):
            return False
        return self.profile.email != self.profile.trusted().email or reason not in _NOT_BY_BROWSERS

    def _answer(self, kind: OutcomeKind, reason: str | None, **rest: Any) -> StepOutcome:
        return StepOutcome(kind=kind, reason=reason, version=self.run.version, **rest)


async def open_step(session: WriteSession, library: DefinitionLibrary, at: StepInput) -> OpenStep | StepOutcome:
    """Lock customer and run and open the step, or answer at once: the run is over, or the step was settled before."""
    locked = await lock_run(session, at.run_id)
    if locked is None:
        return StepOutcome(kind=OutcomeKind.EXITED, reason="erased")
    run = locked.run
    if at.execution is not None and not bind(run, at.execution):
        return StepOutcome(kind=OutcomeKind.EXITED, reason="superseded")
    if run.state != RunState.ACTIVE:
        return StepOutcome(kind=OutcomeKind.EXITED, reason=run.reason)
    await see_changes(session, run.journey)
    row, is_paused, changes = await _read_entry(session, at, run.journey)
    if await meet_changes(session, run, row, changes, at.as_of):
        return StepOutcome(kind=OutcomeKind.EXITED, reason=run.reason)
    await write_passed(session, at.passed, run)
    if row is not None and row.outcome in _SETTLED:
        return _as_recorded(row, run)
    flow = await flow_of(session, library, run.journey, run.version)
    step = flow.step(at.step)
    if step is None:
        raise ApplicationError("the version has no such step", type="step_not_found", non_retryable=True)
    may_have_moved = row is None or row.outcome == OutcomeKind.HELD
    former = await done_by(session, library, run, step) if may_have_moved and run.moves else None
    reached_at = at.as_of if row is None else row.reached_at
    if (
        former is None
        and reads_customer(step)
        and await has_pending_events(session, run, locked.customer.id, until=reached_at)
    ):
        raise _not_yet_routed()
    run.step = at.step
    is_begun = row is not None and row.outcome not in STANDS  # it is under way, be it with somebody outside
    if not is_begun and await exit_by_condition(session, run, locked.customer, flow.definition, at.as_of):
        return StepOutcome(kind=OutcomeKind.EXITED, reason=run.reason)
    opened = OpenStep(
        at=at,
        run=run,
        customer=locked.customer,
        definition=flow.definition,
        step=step,
        row=row or _new_entry(session, at, step),
        stopped_by="paused" if is_paused else RESTRICTED if locked.customer.restricted_at else None,
    )
    return opened if former is None else opened.skipped(ALREADY_DONE, stands_for=former)


def _not_yet_routed() -> ApplicationError:
    """Ask again: what was stored before the step, be it by an `update` of the same run, is not in the profile yet."""
    return ApplicationError("try again", type="events_pending", category=ApplicationErrorCategory.BENIGN)


async def write_passed(session: WriteSession, passed: tuple[PassedStep, ...], run: Run) -> None:
    """Write the steps to the run log that were passed without an activity of their own. Repeatable."""
    for step in passed:
        if await session.get(RunStep, (run.id, step.step, step.visit)) is None:
            session.add(
                RunStep(
                    run_id=run.id,
                    step=step.step,
                    visit=step.visit,
                    kind="goto",
                    reached_at=step.at,
                    at=step.at,
                    outcome=step.kind,
                    reason=step.reason,
                    version=run.version,
                    detail={},
                )
            )


def _as_recorded(row: RunStep, run: Run) -> StepOutcome:
    """The answer that was given before, under the version of then: effects are keyed by step and visit."""
    kind, version = _as_walked(OutcomeKind(row.outcome), row.reason), row.version or run.version
    return StepOutcome(kind=kind, reason=row.reason, arm=row.detail.get("arm"), version=version)


def _as_walked(kind: OutcomeKind, reason: str | None) -> OutcomeKind:
    """After a message that is silenced the run goes on as if it had left: a browser does not choose its way."""
    return OutcomeKind.DONE if reason == Reason.SILENCED else kind


async def _read_entry(session: WriteSession, at: StepInput, journey: str) -> tuple[RunStep | None, bool, OpenChanges]:
    """The step's entry in the run log, whether the journey is paused, and what was decided about its runs.

    Read after the locks, so as they are now.
    """
    entry = (RunStep.run_id == at.run_id) & (RunStep.step == at.step) & (RunStep.visit == at.visit)
    statement = (
        select(RunStep, DocumentRow.state, open_changes(DocumentRow.key))
        .select_from(DocumentRow)
        .outerjoin(RunStep, entry)
        .where(DocumentRow.kind == JOURNEY, DocumentRow.key == journey)
        .execution_options(populate_existing=True)
    )
    row, state, changes = (await session.execute(statement)).one()
    return row, state == DocumentState.PAUSED, changes


def _new_entry(session: WriteSession, at: StepInput, step: Step) -> RunStep:
    row = RunStep(
        run_id=at.run_id,
        step=at.step,
        visit=at.visit,
        kind=step.kind,
        reached_at=at.as_of,
        at=None,
        outcome="reached",
        reason=None,
        version=None,
        detail={},
    )
    session.add(row)
    return row
