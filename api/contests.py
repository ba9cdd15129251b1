"""Contests: their life as documents, entering, freezing and drawing, and the proof that everybody may read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field, TypeAdapter

from api.auth import Caller, requires
from api.contest_answers import (
    ContestEnterAnswer,
    ContestEnterWish,
    ContestTotals,
    DisqualifyWish,
    DrawProof,
    DrawWish,
    EntryAnswer,
    PlaceAnswer,
    RuleTotal,
    WinnerAnswer,
    Winners,
)
from api.contest_kind import ContestKind
from api.customer_access import customer_not_found, lock_customer
from api.dependencies import AsOf, Reading, Writing
from api.documents import Key, document_router
from api.idempotency import concerns
from api.pages import show
from api.pagination import Page, PageRequest, Word, page, page_request
from api.routing import ApiRoute
from database.audit import write_audit
from database.contest_draws import disqualify_winner, draw_winners, freeze, places_of
from database.contest_lists import page_of_entries, people_of_places, what_entered
from database.contests import (
    ContestDraw,
    ContestPlace,
    LiveContest,
    NewEntry,
    chances,
    draw_of,
    drawn_definition,
    enter,
    entry_of,
    live_contests,
    lock_draw,
    taking_entries,
)
from database.customers import customer_of
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from domain.challenges.told import prize_as_json
from domain.contests.definition import ContestDefinition, EntryRule
from domain.contests.entries import call_source, counted_in
from domain.contests.places import PlaceState
from domain.documents import DOCUMENT_KEY
from domain.errors import Conflict, NotFound
from domain.ids import new_id
from domain.keys import Scope

router = document_router(ContestKind, read=Scope.LOYALTY_READ, write=Scope.LOYALTY_WRITE)
public = APIRouter(prefix="/contests", tags=["contests"], route_class=ApiRoute)

_PAGE: dict[str, Any] = {"description": "A page", "content": {"text/html": {"schema": {"type": "string"}}}}
READ, WRITE = [requires(Scope.LOYALTY_READ)], [requires(Scope.LOYALTY_WRITE)]
RuleAndSource = TypeAdapter(tuple[Word, Annotated[str, Field(max_length=1_200, pattern=r"^[^\x00]*$")]])
ContestKey = Annotated[str, Path(pattern=DOCUMENT_KEY, description="The contest's key.")]


@router.post("/{key}/enter", dependencies=WRITE, summary="Enter a customer in a contest")
async def enter_contest(key: Key, wish: ContestEnterWish, session: Writing, as_of: AsOf) -> ContestEnterAnswer:
    """By a rule without an event. 409 `contest_not_open` before, after and while it is paused, `entry_limit` when the
    rule allows no more.
    """
    contest, shop = await _live(session, key), await shop_settings(session)
    rule, zone = _rule(contest, wish.rule), contest.definition.zone_in(shop.zone)
    customer = await lock_customer(session, wish.customer_id)
    if customer is None:
        raise customer_not_found()
    concerns(session, customer.id)
    is_open = not contest.is_paused and contest.definition.is_open(as_of, zone)
    if not is_open or key not in await taking_entries(session, [key]):
        raise Conflict("This contest takes no entries now.", code="contest_not_open")
    entry_id = new_id()
    source = call_source(wish.reference or str(entry_id))
    earlier = await entry_of(session, key, rule.rule, source)
    if earlier is not None and earlier.customer_id != customer.id:
        raise Conflict("Another customer has entered under this reference.", code="reference_taken")
    if earlier is None:
        about = (key, rule.rule, source, customer.id, rule.entries, counted_in(rule, as_of, zone), rule.limit)
        if not await enter(session, [NewEntry(*about, as_of, entry_id)]):
            raise Conflict("This customer has entered by this rule as often as it allows.", code="entry_limit")
    return ContestEnterAnswer(
        contest=key,
        rule=rule.rule,
        entries=earlier.entries if earlier else rule.entries,
        chances=await chances(session, key, customer.id),
        repeated=earlier is not None,
    )


@router.post("/{key}/draw", dependencies=WRITE, summary="Freeze the list of a contest, and draw from it")
async def draw_contest(
    *, key: Key, session: Writing, caller: Caller, as_of: AsOf, wish: DrawWish | None = None
) -> DrawProof:
    """Freezes the list if it is not, and draws. Where the contest announced a beacon, freeze first, and draw with its
    value once it is out. A contest is drawn once: 409 `contest_drawn`.
    """
    wish = wish or DrawWish()
    row = await _locked(session, key)
    contest = await _deciding(session, row)
    if row.drawn_at is not None:
        raise Conflict("This contest was drawn; its proof says how.", code="contest_drawn")
    await _freeze(session, row, contest, wish, as_of)
    if not wish.freeze:
        await draw_winners(session, row, contest, beacon=wish.beacon, by=caller.id, as_of=as_of)
    write_audit(session, actor=caller.id, action="freeze" if wish.freeze else "draw", target=f"contest/{key}", at=as_of)
    return await _proof(session, row)


@router.post("/{key}/disqualify", dependencies=WRITE, summary="Let the next alternate win instead")
async def disqualify_contest_winner(
    key: Key, wish: DisqualifyWish, session: Writing, caller: Caller, as_of: AsOf
) -> DrawProof:
    """Nothing is drawn again. 409 `prize_given` once the prize was: the contest's `verify` says how long that takes."""
    row = await _locked(session, key)
    contest = await _deciding(session, row)
    if all(place.entry_id != wish.entry_id for place in await places_of(session, key)):
        raise NotFound("No place of this contest was drawn for this entry.", code="place_not_found")
    if not await disqualify_winner(session, contest, wish.entry_id, wish.reason, as_of):
        raise Conflict("The prize of this place was given already.", code="prize_given")
    detail = {"entry_id": str(wish.entry_id), "reason": wish.reason}
    write_audit(session, actor=caller.id, action="disqualify", target=f"contest/{key}", at=as_of, detail=detail)
    return await _proof(session, row)


@router.get("/{key}/proof", dependencies=[requires(Scope.LOYALTY_READ)], summary="The proof of a contest")
async def get_contest_proof(key: Key, session: Reading) -> DrawProof:
    """The commitment from the first day, the list and its hash once it is frozen, secret and places once drawn."""
    return await _proof(session, await _found(session, key))


@router.get("/{key}/winners", dependencies=READ, summary="Who won, for the shop's own people")
async def list_winners(key: Key, session: Reading) -> Winners:
    """Each place with its customer and prize, from the draw on: whoever may not win is disqualified until `due_at`."""
    row = await _found(session, key)
    definition = await drawn_definition(session, row)
    places = await people_of_places(session, key)
    shown = [_winner(place, name, weight, definition) for place, name, weight in places]
    return Winners(contest=key, drawn_at=row.drawn_at, data=shown)


@router.get("/{key}/entries", dependencies=READ, summary="Who entered, by rule")
async def list_entries(
    *,
    key: Key,
    session: Reading,
    wanted: Annotated[PageRequest, Depends(page_request)],
    customer_id: Annotated[str | None, Query(max_length=1_000, description="The shop's own id.")] = None,
) -> Page[EntryAnswer]:
    """All entries, or those of a customer."""
    await _found(session, key)
    customer = None if customer_id is None else await customer_of(session, customer_id)
    if customer is None and customer_id is not None:
        return Page(data=[])
    rows = await page_of_entries(
        session,
        key,
        customer_id=customer.id if customer else None,
        after=wanted.after(RuleAndSource),
        limit=wanted.probe,
    )
    return page(rows, wanted, lambda row: EntryAnswer.of(row[0], row[1]), lambda row: (row[0].rule, row[0].source))


@router.get("/{key}/totals", dependencies=READ, summary="What entered, in all and by rule")
async def get_contest_totals(key: Key, session: Reading) -> ContestTotals:
    """Also of a contest that is frozen, drawn or archived."""
    await _found(session, key)
    found = await what_entered(session, key)
    rules = [RuleTotal(**each._asdict()) for each in found if each.rule is not None]
    total = next(each for each in found if each.rule is None)
    return ContestTotals(contest=key, people=total.people, times=total.times, chances=total.chances, rules=rules)


@public.get(
    "/{contest}/proof",
    summary="The proof of a contest, as a page",
    response_class=Response,
    responses={200: _PAGE, 404: _PAGE},
)
async def show_contest_proof(contest: ContestKey, session: Reading) -> Response:
    """For everybody: what was published when, and how to recompute the draw. It names nobody."""
    row = await draw_of(session, contest)
    settings = await shop_settings(session)
    if row is None:
        return show(
            "notice",
            status=404,
            shop=settings.name,
            accent=settings.accent_color,
            heading="There is no such contest",
            text="Perhaps the address is not complete.",
        )
    proof = await _proof(session, row)
    return show("contest", shop=settings.name, accent=settings.accent_color, proof=proof)


@public.get("/{contest}/entries.txt", summary="The frozen list of a contest", response_class=PlainTextResponse)
async def get_contest_list(contest: ContestKey, session: Reading) -> PlainTextResponse:
    """The very bytes whose SHA-256 was published."""
    row = await draw_of(session, contest)
    if row is None or row.list is None:
        raise NotFound("The list of this contest is not frozen.", code="not_frozen")
    return PlainTextResponse(row.list)


async def _freeze(
    session: WriteSession, row: ContestDraw, contest: LiveContest, wish: DrawWish, as_of: datetime
) -> None:
    definition = contest.definition
    closes = definition.closes_at(definition.zone_in((await shop_settings(session)).zone))
    if row.frozen_at is None and closes is not None and as_of < closes:
        raise Conflict(f"This contest takes entries until {closes.isoformat()}.", code="contest_open")
    if definition.beacon is not None and not wish.freeze:
        if row.frozen_at is None:
            raise Conflict(
                "A beacon was announced: freeze the list first, so that its hash is older.", code="not_frozen"
            )
        if wish.beacon is None:
            raise Conflict(f"Give the value of the beacon: {definition.beacon}.", code="beacon_needed")
    if definition.beacon is None and wish.beacon is not None:
        raise Conflict("No beacon was announced, so none may be chosen now.", code="beacon_not_announced")
    if row.frozen_at is None:
        await session.take_long()
        await freeze(session, row, contest, as_of)


async def _live(session: ReadSession, key: str) -> LiveContest:
    contest = (await live_contests(session)).get(key)
    if contest is None:
        await _found(session, key)
        raise Conflict("This contest is not live.", code="not_live")
    return contest


async def _deciding(session: ReadSession, row: ContestDraw) -> LiveContest:
    """The version that the list was frozen under, whatever became of the contest since; before that, the live one."""
    if row.version is None:
        return await _live(session, row.contest)
    return LiveContest(row.contest, row.version, await drawn_definition(session, row))


async def _found(session: ReadSession, key: str) -> ContestDraw:
    row = await draw_of(session, key)
    if row is None:
        raise NotFound(f"No contest {key} was ever published.")
    return row


async def _locked(session: WriteSession, key: str) -> ContestDraw:
    row = await lock_draw(session, key)
    if row is None:
        raise NotFound(f"No contest {key} was ever published.")
    return row


async def _proof(session: ReadSession, row: ContestDraw) -> DrawProof:
    definition = await drawn_definition(session, row)
    return DrawProof.of(row, definition, await places_of(session, row.contest))


def _winner(place: ContestPlace, name: str | None, weight: int | None, definition: ContestDefinition) -> WinnerAnswer:
    prize = definition.prize_for(place.prize_place) if place.prize_place is not None else None
    return WinnerAnswer(
        **PlaceAnswer.of(place).model_dump(),
        customer_id=name,
        weight=weight,
        prize=prize_as_json(prize) if prize is not None else None,
        due_at=place.due_at if place.state == PlaceState.WON else None,
        given_at=place.given_at,
    )


def _rule(contest: LiveContest, name: str | None) -> EntryRule:
    rules = [rule for rule in contest.definition.entries if rule.on is None and name in (None, rule.rule)]
    if len(rules) != 1:
        detail = "Name a rule that has no event." if name is None else f"There is no rule {name!r} without an event."
        raise Conflict(detail, code="unknown_rule")
    return rules[0]
