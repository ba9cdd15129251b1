"""Points of a customer: where they stand, what moved, and moves by the shop. How they are earned: programmes.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import TypeAdapter

from api.auth import Caller, requires
from api.customer_access import customer_not_found, find_customer, lock_customer
from api.dependencies import AsOf, Reading, Writing
from api.idempotency import concerns
from api.pagination import Page, PageRequest, page, page_request
from api.paths import CustomerRef
from api.point_answers import (
    LONGEST_HOLD,
    CaptureWish,
    Correction,
    HappenedAnswer,
    HoldAnswer,
    HoldWish,
    MoveAnswer,
    MoveWish,
    PointsAnswer,
    ReversalWish,
    Spending,
    TransferWish,
)
from api.routing import ApiRoute
from database import points, spent_points
from database.audit import write_audit
from database.customers import Customer, customer_of, lock
from database.orders import take_turns
from database.programmes import LiveProgramme, latest_key, live_programme
from database.session import ReadSession, WriteSession
from domain.errors import Conflict, FieldError, Invalid, NotFound, Unavailable
from domain.ids import new_id
from domain.keys import Scope
from domain.points import (
    Capture,
    Credit,
    CreditKind,
    Debit,
    DebitKind,
    Hold,
    Move,
    Moved,
    Refusal,
    Release,
    Restore,
    Transfer,
)

router = APIRouter(tags=["points"], route_class=ApiRoute)

READ = [requires(Scope.LOYALTY_READ)]
WRITE = [requires(Scope.LOYALTY_WRITE)]
Wanted = Annotated[PageRequest, Depends(page_request)]
_LAST_SEEN = TypeAdapter(tuple[UUID])
_HOLD_FOR = timedelta(hours=1)

_REFUSALS = {
    Refusal.INSUFFICIENT: "The customer has fewer points available than that.",
    Refusal.HOLD_ENDED: "This hold was captured or released before.",
    Refusal.HOLD_EXPIRED: "This hold has timed out, and its points are the customer's again.",
    Refusal.BEYOND_HOLD: "The hold has fewer points than that.",
}


@router.get("/v1/customers/{customer_id}/points", dependencies=READ, summary="A customer's points")
async def get_points(customer_id: CustomerRef, session: Reading, as_of: AsOf) -> PointsAnswer:
    """Balances as of now, whether or not a job has run, and the lots in the order in which they will be used.

    While no programme is live they are those of the last one.
    """
    customer = await find_customer(session, customer_id)
    return PointsAnswer.of(await points.lots_of(session, await _shown(session), customer.id, as_of))


@router.get("/v1/customers/{customer_id}/points/history", dependencies=READ, summary="What moved, the latest first")
async def list_point_history(customer_id: CustomerRef, session: Reading, wanted: Wanted) -> Page[HappenedAnswer]:
    """Every transaction, in the reverse of the order in which they were written."""
    customer = await find_customer(session, customer_id)
    programme = await _shown(session)
    after = wanted.after(_LAST_SEEN)
    rows = await points.history(session, programme, customer.id, before=after[0] if after else None, limit=wanted.probe)
    return page(rows, wanted, HappenedAnswer.of, lambda row: (row.id,))


@router.post("/v1/customers/{customer_id}/points/award", dependencies=WRITE, summary="Give points")
async def award_points(
    *, customer_id: CustomerRef, wish: MoveWish, session: Writing, caller: Caller, as_of: AsOf
) -> MoveAnswer:
    """Available at once, and never counted as earned by a rule of the programme."""
    customer, programme = await _locked(session, customer_id)
    move = Credit(
        account=customer.id,
        key=f"api/{new_id()}",
        points=wish.points,
        kind=CreditKind.AWARD,
        earned_at=as_of,
        source="award",
        expires_at=_future("/expires_at", wish.expires_at, as_of),
        reference=wish.reference,
        author=caller.id,
    )
    return await _move(session, programme, move, as_of, wish.reason)


@router.post("/v1/customers/{customer_id}/points/deduct", dependencies=WRITE, summary="Take points")
async def deduct_points(
    *, customer_id: CustomerRef, wish: Spending, session: Writing, caller: Caller, as_of: AsOf
) -> MoveAnswer:
    """Counts as spent. Refused with `insufficient_points` where there are too few, and then nothing is written."""
    customer, programme = await _locked(session, customer_id)
    move = Debit(
        account=customer.id,
        key=f"api/{new_id()}",
        points=wish.points,
        kind=DebitKind.DEDUCT,
        source="deduct",
        reference=wish.reference,
        author=caller.id,
        order_id=wish.order_id,
    )
    return await _spend(session, programme.key, move, as_of, wish.reason)


@router.post("/v1/customers/{customer_id}/points/adjust", dependencies=WRITE, summary="Correct a balance")
async def adjust_points(
    *, customer_id: CustomerRef, wish: Correction, session: Writing, caller: Caller, as_of: AsOf
) -> MoveAnswer:
    """Up or down, with a reason; who did it is kept with it and in the audit log. What is taken counts as reversed,
    not as spent, and never goes below zero.
    """
    customer, programme = await _locked(session, customer_id)
    target = f"customer/{customer.id}"
    detail = {"points": wish.points, "programme": programme.key}
    write_audit(session, actor=caller.id, action="adjust_points", target=target, at=as_of, detail=detail)
    move = _correction(customer.id, wish, caller.id, as_of)
    return await _move(session, programme, move, as_of, wish.reason)


@router.post("/v1/customers/{customer_id}/points/hold", dependencies=WRITE, summary="Reserve points")
async def hold_points(*, customer_id: CustomerRef, wish: HoldWish, session: Writing, as_of: AsOf) -> HoldAnswer:
    """For a checkout: capture the hold when it is paid, else release it. By itself it ends at `expires_at`."""
    customer, programme = await _locked(session, customer_id)
    expires_at = _future("/expires_at", wish.expires_at, as_of) or as_of + _HOLD_FOR
    if expires_at > as_of + LONGEST_HOLD:
        raise _bad_field("/expires_at", "A hold lasts a year at most.")
    hold_id = new_id()
    named = (wish.reference, wish.order_id)
    move = Hold(customer.id, f"hold/{hold_id}", hold_id, wish.points, expires_at, "hold", *named)
    await _move(session, programme, move, as_of, wish.reason)
    return HoldAnswer(hold_id=hold_id, points=wish.points, expires_at=expires_at)


@router.post("/v1/customers/{customer_id}/points/transfer", dependencies=WRITE, summary="Give points to a friend")
async def transfer_points(*, customer_id: CustomerRef, wish: TransferWish, session: Writing, as_of: AsOf) -> MoveAnswer:
    """Available points, with the dates of their lots. The balance in the answer is the giver's."""
    giver, taker = await _lock_both(session, customer_id, wish.to)
    programme = await need_programme(session)
    move = Transfer(giver, f"api/{new_id()}", taker, wish.points, "transfer", wish.reference)
    return await _move(session, programme, move, as_of, wish.reason)


@router.post("/v1/holds/{hold_id}/capture", dependencies=WRITE, summary="Spend what was reserved")
async def capture_hold(*, hold_id: UUID, session: Writing, as_of: AsOf, wish: CaptureWish | None = None) -> MoveAnswer:
    """All of it, or fewer `points`, and the rest comes back. Refused at and after the hold's `expires_at`."""
    programme, account = await _lock_hold(session, hold_id)
    wish = wish or CaptureWish()
    order_id = wish.order_id or await spent_points.order_of_hold(session, hold_id)
    move = Capture(account, f"capture/{hold_id}", hold_id, wish.points, order_id)
    return await _spend(session, programme, move, as_of)


@router.post("/v1/holds/{hold_id}/release", dependencies=WRITE, summary="Give back what was reserved")
async def release_hold(*, hold_id: UUID, session: Writing, as_of: AsOf) -> MoveAnswer:
    """Into its lots with their dates: what would have expired meanwhile expires now."""
    programme, account = await _lock_hold(session, hold_id)
    (moved,) = await points.post(session, programme, [Release(account, f"release/{hold_id}", hold_id)], as_of)
    _ended_now(moved)
    return _answer(moved)


@router.post(
    "/v1/points/transactions/{transaction_id}/reverse", dependencies=WRITE, summary="Give back points that were spent"
)
async def reverse_spending(
    *, transaction_id: UUID, wish: ReversalWish, session: Writing, caller: Caller, as_of: AsOf
) -> MoveAnswer:
    """What has not come back yet of a capture or deduction, into its lots; what would lapse at once can be used for the
    programme's `restore_grace`. A second time it is 409 `already_reversed`, other moves are 409 `not_reversible`.
    """
    found = await _lock_spending(session, transaction_id)
    if not found.is_reversible:
        raise Conflict("Only deductions and captures of the shop's own holds can be reversed.", code="not_reversible")
    detail = {"transaction": str(transaction_id), "programme": found.programme}
    target = f"customer/{found.account}"
    write_audit(session, actor=caller.id, action="reverse_points", target=target, at=as_of, detail=detail)
    move = Restore(
        account=found.account,
        key=f"reverse/{transaction_id}",
        of=transaction_id,
        restore_until=await _restored_until(session, as_of),
        author=caller.id,
    )
    (moved,) = await points.post(session, found.programme, [move], as_of, reasons={move.key: wish.reason})
    if moved.repeated or moved.refusal is not None:
        raise Conflict("All of these points have already been given back.", code="already_reversed")
    return _answer(moved)


async def need_programme(session: ReadSession) -> LiveProgramme:
    """The live programme; raises Conflict `no_programme`."""
    programme = await live_programme(session)
    if programme is None:
        raise Conflict("No loyalty programme is live: publish one first.", code="no_programme")
    return programme


async def _shown(session: ReadSession) -> str:
    """The programme whose points are looked at: also of one that is archived nothing is lost."""
    return await latest_key(session) or (await need_programme(session)).key


def refused(refusal: Refusal) -> Conflict | NotFound:
    """The error that a refused move is answered with."""
    if refusal is Refusal.UNKNOWN_HOLD:
        return NotFound("There is no hold with this id.")
    return Conflict(_REFUSALS.get(refusal, "The ledger refuses this move."), code=refusal.value)


async def _locked(session: WriteSession, customer_id: str) -> tuple[Customer, LiveProgramme]:
    customer = await lock_customer(session, customer_id)
    if customer is None:
        raise customer_not_found()
    concerns(session, customer.id)
    return customer, await need_programme(session)


async def _lock_both(session: WriteSession, giver: str, taker: str) -> tuple[UUID, UUID]:
    """Both customers of a transfer, locked in order of id."""
    known = [await find_customer(session, giver), await customer_of(session, taker)]
    if known[1] is None:
        raise Conflict("No customer is known under the id in `to`.", code="recipient_not_found")
    ids = [customer.id for customer in known if customer]
    if ids[0] == ids[1]:
        raise Conflict("Points cannot be transferred to the customer who has them.", code="same_customer")
    await lock(session, ids, skip_locked=False)
    again = [await customer_of(session, giver), await customer_of(session, taker)]
    if [customer.id for customer in again if customer] != ids:
        raise Unavailable("One of the customers is being merged at this moment.", code="customer_moves", retry_after=1)
    concerns(session, ids[0])
    return ids[0], ids[1]


async def _lock_hold(session: WriteSession, hold_id: UUID) -> tuple[str, UUID]:
    """The programme and the account of a hold, whose customer is locked."""
    owner = await points.owner_of_hold(session, hold_id)
    if owner is None:
        raise refused(Refusal.UNKNOWN_HOLD)
    await lock(session, [owner[1]], skip_locked=False)
    if await points.owner_of_hold(session, hold_id) != owner:
        raise Unavailable("The customer is being merged at this moment.", code="customer_moves", retry_after=1)
    concerns(session, owner[1])
    return owner


async def _lock_spending(session: WriteSession, transaction_id: UUID) -> spent_points.Spending:
    """A transaction whose customer is locked."""
    found = await spent_points.spending(session, transaction_id)
    if found is None:
        raise NotFound("There is no transaction of points with this id.")
    await lock(session, [found.account], skip_locked=False)
    if await spent_points.spending(session, transaction_id) != found:
        raise Unavailable("The customer is being merged at this moment.", code="customer_moves", retry_after=1)
    concerns(session, found.account)
    return found


async def _spend(
    session: WriteSession, programme: str, move: Debit | Capture, as_of: datetime, reason: str | None = None
) -> MoveAnswer:
    """Spend points. What their order has given back already comes back at once."""
    if move.order_id is not None:
        await take_turns(session, [move.order_id])  # whoever reads of its refund now sees this move afterwards
    (moved,) = await points.post(
        session, programme, [move], as_of, reasons={move.key: reason} if reason is not None else {}
    )
    if isinstance(move, Capture):
        _ended_now(moved)
    if move.order_id is not None and moved.refusal is None:
        until = await _restored_until(session, as_of)
        order = [move.order_id]
        given = await spent_points.give_back(session, programme, order, [move.account], as_of, until=until)
        moved = replace(moved, balance=given[-1].balance) if given else moved
    return _answer(moved)


async def _restored_until(session: ReadSession, as_of: datetime) -> datetime | None:
    programme = await live_programme(session)
    return None if programme is None else programme.restored_until(as_of)


async def _move(
    session: WriteSession, programme: LiveProgramme, move: Move, as_of: datetime, reason: str | None
) -> MoveAnswer:
    (moved,) = await points.post(
        session, programme.key, [move], as_of, reasons={move.key: reason} if reason is not None else {}
    )
    return _answer(moved)


def _ended_now(moved: Moved) -> None:
    """Raise if the hold had ended before: who repeats a request sends its Idempotency-Key."""
    if moved.repeated or moved.refusal is Refusal.KEY_REUSED:
        raise refused(Refusal.HOLD_ENDED)


def _answer(moved: Moved) -> MoveAnswer:
    if moved.refusal is not None or moved.transaction_id is None:
        raise refused(moved.refusal or Refusal.KEY_REUSED)
    return MoveAnswer.of(moved, moved.transaction_id)


def _correction(account: UUID, wish: Correction, author: str, as_of: datetime) -> Credit | Debit:
    key = f"api/{new_id()}"
    if wish.points < 0:
        return Debit(account, key, -wish.points, DebitKind.ADJUST, "adjust", wish.reference, author)
    expires_at = _future("/expires_at", wish.expires_at, as_of)
    return Credit(
        account,
        key,
        wish.points,
        CreditKind.ADJUST,
        as_of,
        "adjust",
        expires_at=expires_at,
        reference=wish.reference,
        author=author,
    )


def _future(pointer: str, moment: datetime | None, as_of: datetime) -> datetime | None:
    if moment is not None and moment <= as_of:
        raise _bad_field(pointer, "That moment has passed.")
    return moment


def _bad_field(pointer: str, detail: str) -> Invalid:
    return Invalid(f"{pointer}: {detail}", errors=(FieldError(pointer, detail),))
