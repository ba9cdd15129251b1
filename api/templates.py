"""Templates: their life as documents, a preview for a customer or a sample, and a test to an address."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field

from activities.message_content import finished, link_hosts, words_of
from activities.trial_messages import Trial
from api.auth import Caller, requires
from api.beforehand import beforehand, occasion
from api.customer_access import find_customer
from api.dependencies import AsOf, Dependencies, Writing
from api.documents import Key, document_router
from api.idempotency import concerns
from api.message_answers import MessageAnswer
from api.routing import only_asks
from api.template_contexts import ADDRESSES, context_for, sample_context
from api.template_kind import TemplateKind
from database import documents
from database.customers import Customer
from database.message_lists import find_message
from database.session import ReadSession
from database.shop_settings import shop_settings
from database.templates import KIND, frame_of
from domain.consent import MARKETING
from domain.document import AnyObject
from domain.documents import DocumentState
from domain.drafts import read_draft
from domain.emails import sender_line
from domain.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from domain.keys import Scope, StoredKey
from domain.languages import Language, languages_of
from domain.message_context import message_context
from domain.messages import ADDRESS
from domain.shop_settings import Purpose, ShopSettings
from domain.template_senders import sender_for
from domain.templates import TemplateDocument, email_content

_TESTS = UUID("5f0e1c3a-5d0b-5b63-9d4c-0d8f3a1f7c11")
"""Under which the ids of test messages are named."""
router = document_router(TemplateKind, read=Scope.TEMPLATES_READ, write=Scope.TEMPLATES_WRITE)


class PreviewWish(BaseModel):
    """Whose data to show the template with; without either, its own sample."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    sample: AnyObject | None = None  # any JSON: parts of the context
    locale: Language | None = Field(default=None, description="A language, instead of the customer's own")
    purpose: Purpose = Field(
        default=MARKETING, description="Of the journey that sends it; all but transactional mail shows a way out."
    )


class TestWish(PreviewWish):
    """The same, and the address to send it to."""

    __test__ = False  # not a test class

    to: Annotated[str, Field(pattern=f"^{ADDRESS}$", max_length=254, examples=["you@example.com"])]


class Preview(BaseModel):
    """The draft as it would be sent, with links that nobody counts. `missing` names values that were not there."""

    sender: str | None = None
    reply_to: str | None = None
    subject: str | None = None
    preheader: str | None = None
    html: str | None = None
    text: str | None = None
    missing: list[str] = []
    url: str | None = None
    body: dict[str, Any] | None = None  # any JSON: a webhook's


@router.post("/{key}/preview", dependencies=[requires(Scope.TEMPLATES_READ)], summary="Render the draft")
@only_asks
async def preview_template(
    *,
    key: Key,
    caller: Caller,
    dependencies: Dependencies,
    as_of: AsOf,
    wish: PreviewWish | None = None,
) -> Preview:
    """Nothing is sent or kept. With a customer, it takes `customers:read` too."""
    wish = wish or PreviewWish()
    async with dependencies.database.read() as session:
        template, settings = await _draft(session, key), await shop_settings(session)
        customer = await _customer(session, wish, caller)
        context = await _context(session, wish, template, customer, settings, as_of=as_of)
        frame = await frame_of(session, template)
    if template.channel == "webhook":
        parts = {"url": template.url, "body": template.body}
        filled = await dependencies.renderer.render_strings(parts, context)
        return Preview(url=filled["url"], body=filled["body"])
    languages = context["message"]["languages"]
    content = email_content(template, languages, frame=frame, shop_language=settings.language)
    rendered = await dependencies.renderer.render(content, context)
    hosts = link_hosts(template, frame, settings)
    words = words_of(content, languages, settings)
    html, text = finished(rendered, wish.purpose, ADDRESSES, hosts, words=words)
    sender = sender_for(template.sender, settings)
    return Preview(
        sender=sender_line(sender.name, sender.email),
        reply_to=sender.reply_to,
        subject=rendered.subject,
        preheader=rendered.preheader,
        html=html or None,
        text=text,
        missing=list(rendered.missing),
    )


@router.post("/{key}/test", dependencies=[requires(Scope.TEMPLATES_WRITE)], summary="Send the draft to an address")
async def send_test(
    *, key: Key, wish: TestWish, session: Writing, caller: Caller, dependencies: Dependencies, as_of: AsOf
) -> MessageAnswer:
    """One message, past no gate: whoever may write templates vouches for the address. It counts towards no cap."""
    trials = dependencies.trials
    if trials is None:
        raise Unavailable("This process has no provider to send with.", code="channel_unavailable")
    template, settings = await _draft(session, key), await shop_settings(session)
    if template.channel != "email":
        raise Conflict("Only e-mail templates can be sent to an address.", code="channel_unavailable")
    customer = await _customer(session, wish, caller)
    if customer is not None:
        concerns(session, customer.id)
    context = await _context(session, wish, template, customer, settings, as_of=as_of)
    trial = Trial(
        message_id=uuid5(_TESTS, occasion(session)),
        template=template,
        frame=await frame_of(session, template),
        context=context,
        to=wish.to,
        purpose=wish.purpose,
        languages=tuple(context["message"]["languages"]),
        settings=settings,
    )
    await beforehand(session, "sent", lambda: trials.send(trial, as_of))
    sent = await find_message(session, trial.message_id)
    if sent is None:
        raise NotFound("The message is gone.")
    return MessageAnswer.of(sent)


async def _draft(session: ReadSession, key: str) -> TemplateDocument:
    row = await documents.load(session, KIND, key)
    if row is None or row.state == DocumentState.ARCHIVED:
        raise NotFound(f"There is no template {key}.")
    draft = read_draft(TemplateDocument, row.draft)
    if draft.document is None:
        raise Invalid(f"The draft cannot be read: {draft.findings[0].message}", code="draft_unreadable")
    assert isinstance(draft.document, TemplateDocument)  # noqa: S101  read as one
    return draft.document


async def _customer(session: ReadSession, wish: PreviewWish, caller: StoredKey) -> Customer | None:
    if wish.customer_id is None:
        return None
    if not caller.may(Scope.CUSTOMERS_READ):
        raise Forbidden(f"this key lacks the scope {Scope.CUSTOMERS_READ}", code="scope_missing")
    return await find_customer(session, wish.customer_id)


async def _context(
    session: ReadSession,
    wish: PreviewWish,
    template: TemplateDocument,
    customer: Customer | None,
    settings: ShopSettings,
    *,
    as_of: datetime,
) -> dict[str, Any]:
    sample = template.sample if wish.sample is None else wish.sample
    context = (
        sample_context(sample, settings, purpose=wish.purpose)
        if customer is None
        else await context_for(session, customer, sample, settings, purpose=wish.purpose, as_of=as_of)
    )
    spoken = languages_of(context["customer"].get("traits") or {}, customer.locale if customer else None)
    languages = (wish.locale, *spoken) if wish.locale else spoken
    return context | {"message": message_context(wish.purpose, languages)}
