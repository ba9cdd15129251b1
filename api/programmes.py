"""The loyalty programme: its life as a document, what a cart would earn under it, and dry runs over history."""

from __future__ import annotations

from datetime import datetime

from api.auth import Caller, requires
from api.customer_access import find_customer
from api.dependencies import AsOf, Reading
from api.documents import Key, document_router
from api.earning_answers import EarningWish, PreviewAnswer, RuleAnswer, TrialAnswer, TrialWish
from api.programme_kind import ProgrammeKind
from api.routing import only_asks
from database import documents
from database.customers import Customer
from database.earnings import paid_between
from database.programmes import KIND, live_programme
from database.session import ReadSession
from database.shop_settings import shop_settings
from domain.documents import DocumentState
from domain.drafts import read_draft
from domain.earning import EarningEvent, Programme
from domain.errors import Conflict, Forbidden, NotFound
from domain.findings import has_errors
from domain.ids import new_id
from domain.keys import Scope, StoredKey
from domain.local_time import resolve_zone
from domain.programmes.checks import check_programme
from domain.programmes.definition import ProgrammeDefinition
from domain.shop_settings import ShopSettings
from triggers.earning_facts import as_programme
from triggers.earning_trials import try_on_history, would_earn

router = document_router(ProgrammeKind, read=Scope.LOYALTY_READ, write=Scope.LOYALTY_WRITE)


@router.post("/{key}/preview", dependencies=[requires(Scope.LOYALTY_READ)], summary="What would this cart earn?")
@only_asks
async def preview_earning(key: Key, wish: EarningWish, session: Reading, caller: Caller, as_of: AsOf) -> PreviewAnswer:
    """How many points an event would earn now, and why, rule by rule. With a customer, it takes `customers:read` too.

    The live version is asked; the draft where none is live, or where `draft` says so.
    """
    shop = await shop_settings(session)
    programme, is_draft = await _programme(session, shop, key, draft=wish.draft)
    customer = await _customer(session, wish, caller)
    event = _event(wish, customer, as_of)
    decisions = await would_earn(session, shop, programme, event, customer)
    rules = {rule.rule: rule for rule in programme.definition.earn}
    return PreviewAnswer(
        programme=key,
        version=None if is_draft else programme.version,
        points=sum(decision.points for decision in decisions),
        tier=decisions[0].tier if decisions else None,
        rules=[RuleAnswer.of(decision, rules[decision.rule].name) for decision in decisions],
    )


@router.post("/{key}/dry-run", dependencies=[requires(Scope.LOYALTY_READ)], summary="Try the draft on history")
@only_asks
async def try_programme(key: Key, wish: TrialWish, session: Reading) -> TrialAnswer:
    """What the draft would have paid for the recorded events of a period; 20,000 of them at most."""
    if wish.end <= wish.start:
        raise Conflict("The period must end after it begins.", code="period_empty")
    await session.take_long()
    shop = await shop_settings(session)
    programme, _ = await _programme(session, shop, key, draft=True)
    trial, is_complete = await try_on_history(session, shop, programme, wish.start, wish.end)
    paid = await paid_between(session, key, wish.start, wish.end)
    return TrialAnswer.of(wish, trial, paid, is_complete=is_complete)


async def _programme(session: ReadSession, shop: ShopSettings, key: str, *, draft: bool) -> tuple[Programme, bool]:
    """The version that decides, and whether it is the draft."""
    live = await live_programme(session)
    if live is not None and live.key == key and not draft:
        return as_programme(live, shop), False
    row = await documents.load(session, KIND, key)
    if row is None or row.state == DocumentState.ARCHIVED:
        raise NotFound(f"There is no programme {key}.")
    read = read_draft(ProgrammeDefinition, row.draft)
    if read.document is None:
        raise Conflict(f"The draft cannot be read: {read.findings[0].message}", code="draft_unreadable")
    assert isinstance(read.document, ProgrammeDefinition)  # noqa: S101  read as one
    findings = check_programme(read.document)
    if has_errors(findings):
        raise Conflict(f"The draft has a fault: {findings[0].message}", code="draft_unreadable")
    zone = resolve_zone(read.document.zone, shop.zone)
    return Programme(key, (row.live_version or 0) + 1, read.document, zone, shop.currency), True


async def _customer(session: ReadSession, wish: EarningWish, caller: StoredKey) -> Customer | None:
    if wish.customer_id is None:
        return None
    if not caller.may(Scope.CUSTOMERS_READ):
        raise Forbidden(f"this key lacks the scope {Scope.CUSTOMERS_READ}", code="scope_missing")
    return await find_customer(session, wish.customer_id)


def _event(wish: EarningWish, customer: Customer | None, as_of: datetime) -> EarningEvent:
    """The event as if it came in now, from a trusted source."""
    id_ = new_id()
    return EarningEvent(id_, str(id_), customer.id if customer else id_, wish.event, wish.properties, as_of)
