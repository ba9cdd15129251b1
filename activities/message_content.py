"""From a template and a customer to what a provider takes: the context, the rendered message, its links and headers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select

from connectors.rendering import Rendered, Renderer
from connectors.translations import Words, words_in
from database.customers import Customer
from database.loyalty import loyalty_of
from database.messages import Message
from database.orders import Cart
from database.referral_codes import code_for
from database.runs import Run
from database.session import ReadSession, WriteSession
from database.templates import LiveTemplate
from domain.carts import CartState, cart_id_of
from domain.consent import TRANSACTIONAL
from domain.emails import (
    Addresses,
    list_headers,
    sender_line,
    with_open_picture,
    with_unsubscribe_link,
)
from domain.languages import languages_of
from domain.link_hosts import LinkHosts
from domain.message_context import KeptCart, cart_context, customer_context, message_context, shop_context
from domain.message_links import lead_links, without_refused
from domain.shop_settings import ShopSettings
from domain.template_senders import sender_for
from domain.templates import EmailContent, Frame, TemplateDocument, email_content
from domain.wire_addresses import wire_link

REFERRAL_LINK = "links.referral"
Links = list[tuple[str, str, str | None]]
"""Token, kind, target."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message about to be rendered: plain data only, read in the claim's transaction."""

    message_id: UUID
    purpose: str
    to: str
    template: TemplateDocument
    frame: Frame
    languages: tuple[str, ...]
    context: Mapping[str, Any]  # any JSON
    settings: ShopSettings
    addresses: Addresses
    is_tracked: bool = True


@dataclass(frozen=True, slots=True)
class Content:
    """What the message's row keeps, and from which every attempt is made."""

    to: str
    sender: str
    subject: str | None
    html: str | None
    text: str
    headers: Mapping[str, str]
    links: Links


def new_token() -> str:
    """144 random bits: a link is a key to what it does."""
    return secrets.token_urlsafe(18)


def new_addresses(settings: ShopSettings, public_url: str) -> Addresses:
    """Fresh links for one message."""
    base = wire_link((settings.link_base or public_url).rstrip("/"))
    return Addresses(base=base, unsubscribe=new_token(), view=new_token())


async def draft_for(
    session: WriteSession,
    message: Message,
    customer: Customer,
    run: Run,
    *,
    live: LiveTemplate,
    settings: ShopSettings,
    public_url: str,
    as_of: datetime,
) -> Draft:
    """The draft of a claimed message of a run."""
    addresses = new_addresses(settings, public_url)
    cart = await kept_cart(session, customer.id, run.entry)
    loyalty = await loyalty_of(session, customer.id, as_of)
    languages = languages_of(customer.traits, customer.locale)
    return Draft(
        message_id=message.id,
        purpose=message.purpose,
        to=message.to or "",
        template=live.document,
        frame=live.frame,
        languages=languages,
        context={
            "customer": customer_context(
                customer.external_id, customer.traits, points=loyalty.points, tier=loyalty.tier
            ),
            "entry": run.entry,
            "saved": run.saved,
            "cart": cart_context(cart, run.entry, settings),
            "shop": shop_context(settings),
            "message": message_context(message.purpose, languages),
            "links": addresses.links() | await _referral_link(session, live, customer.id, addresses.base, message),
        },
        settings=settings,
        addresses=addresses,
    )


async def _referral_link(
    session: WriteSession, live: LiveTemplate, customer_id: UUID, base: str, message: Message
) -> dict[str, str]:
    """`links.referral` for templates that show it: the customer's code is made when it is first needed."""
    if not any(REFERRAL_LINK in each.model_dump_json() for each in (live.document, *live.frame.documents())):
        return {}
    code = await code_for(session, customer_id, message.created_at)
    return {"referral": f"{base}/r/{code}"}


async def kept_cart(session: ReadSession, customer_id: UUID, entry: Mapping[str, Any]) -> KeptCart | None:
    """The cart that the entering event names, else the customer's latest that was not ordered."""
    properties = entry.get("properties")
    cart_id = cart_id_of(properties) if isinstance(properties, Mapping) else ""
    # By pk_carts.
    carts = select(Cart.lines, Cart.url).where(Cart.customer_id == customer_id, Cart.state != CartState.ORDERED)
    if cart_id:
        carts = carts.where(Cart.cart_id == cart_id)
    row = (await session.execute(carts.order_by(Cart.changed_at.desc()).limit(1))).one_or_none()
    return KeptCart(row.lines, row.url) if row else None


async def render(renderer: Renderer, draft: Draft) -> Content:
    """Render a draft for its channel. Raises TemplateFailed."""
    if draft.template.channel == "webhook":
        return await _webhook(renderer, draft)
    return await _email(renderer, draft)


async def _email(renderer: Renderer, draft: Draft) -> Content:
    addresses, settings = draft.addresses, draft.settings
    content = email_content(draft.template, draft.languages, frame=draft.frame, shop_language=settings.language)
    rendered = await renderer.render(content, draft.context)
    hosts = link_hosts(draft.template, draft.frame, settings)
    sender = sender_for(draft.template.sender, settings)
    headers = {"Reply-To": sender.reply_to} if sender.reply_to else {}
    if draft.purpose != TRANSACTIONAL:
        headers |= list_headers(addresses)
    links: Links = [(addresses.unsubscribe, "unsubscribe", None), (addresses.view, "view", None)]
    new_link = _linking(links) if draft.is_tracked else None
    words = words_of(content, draft.languages, settings)
    html, text = finished(rendered, draft.purpose, addresses, hosts, words=words, new_link=new_link)
    if draft.is_tracked and html:
        picture = new_token()
        links.append((picture, "open", None))
        html = with_open_picture(html, f"{addresses.base}/o/{picture}")
    return Content(
        to=draft.to,
        sender=sender_line(sender.name, sender.email),
        subject=rendered.subject,
        html=html or None,
        text=text,
        headers=headers,
        links=links,
    )


def link_hosts(template: TemplateDocument, frame: Frame, settings: ShopSettings) -> LinkHosts:
    """Where the links of a template's messages may lead."""
    sources = [source for each in (template, *frame.documents()) for source in each.sources().values()]
    return LinkHosts.of(sources, website=settings.website, domains=settings.link_domains)


def words_of(content: EmailContent, languages: Sequence[str], settings: ShopSettings) -> Words:
    """What the product itself says in a message: in its reader's language, else the message's own."""
    return words_in((*languages, content.language, settings.language))


def finished(
    rendered: Rendered,
    purpose: str,
    addresses: Addresses,
    hosts: LinkHosts,
    *,
    words: Words,
    new_link: Callable[[str], str] | None = None,
) -> tuple[str, str]:
    """HTML ("" in a mail of text only) and text as they are sent; without `new_link` with links that nobody counts."""
    html, text = rendered.html, without_refused(rendered.text, rendered.html, hosts)
    if purpose != TRANSACTIONAL:
        html, text = with_unsubscribe_link(html, text, addresses, words("Unsubscribe"))
    return lead_links(html, addresses.base, hosts, new_link), text


def _linking(links: Links) -> Callable[[str], str]:
    def token_for(target: str) -> str:
        token = new_token()
        links.append((token, "click", target))
        return token

    return token_for


async def _webhook(renderer: Renderer, draft: Draft) -> Content:
    template = draft.template
    parts = {"url": template.url or "", "body": template.body or {}, "headers": dict(template.headers)}
    filled = await renderer.render_strings(parts, draft.context)
    return Content(
        to=str(filled["url"]),
        sender=draft.settings.name,
        subject=None,
        html=None,
        text=orjson.dumps(filled["body"]).decode(),
        headers={name: str(value) for name, value in filled["headers"].items()},
        links=[],
    )
