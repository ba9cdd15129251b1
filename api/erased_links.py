"""What the links of erased people answer: never an error, and nothing of the visit is kept."""

from __future__ import annotations

from fastapi import Response
from fastapi.responses import RedirectResponse

from api.pages import PRIVATE, show
from connectors.translations import Words, words_in
from database.erased_links import erased_link
from database.session import ReadSession
from database.shop_settings import shop_settings
from domain.shop_settings import ShopSettings


def shop_words(settings: ShopSettings) -> Words:
    """For whoever's language nobody knows: the shop's."""
    return words_in([settings.language])


def deleted(words: Words) -> str:
    """What is said of an erased person's account."""
    return words("The account that this message was sent to has been deleted, with everything that belonged to it.")


async def missing(session: ReadSession, kind: str, *spellings: str) -> Response:
    """Where nothing is found by a token: on to the shop for a link that an erased person had, else a page with 404."""
    settings = await shop_settings(session)
    words = shop_words(settings)
    if not any([await erased_link(session, kind, token) for token in spellings]):
        text = words("This link is not one of ours, or what it led to is gone.")
        return notice(settings, words, words("Not here"), text, status=404)
    if settings.website is not None:
        return RedirectResponse(settings.website, 302, headers=PRIVATE)
    text = words("What this link led to is no longer kept. You are welcome in our shop.")
    return notice(settings, words, words("Hello"), text)


def notice(
    settings: ShopSettings, words: Words, heading: str, text: str, *, status: int = 200, button: str | None = None
) -> Response:
    """A page of one paragraph, with the way to the shop's website. `button` unsubscribes."""
    return show(
        "notice",
        status=status,
        words=words,
        shop=settings.name,
        accent=settings.accent_color,
        heading=heading,
        text=text,
        website=settings.website,
        button=button,
    )


async def nothing_kept(session: ReadSession) -> Response:
    """The preferences of somebody who was erased. Mail may reach the mailbox for others who read it, or came back."""
    settings = await shop_settings(session)
    words = shop_words(settings)
    no_more = words("It gets no more mail. If other mail from us reaches you at this address, you can stop it here.")
    return notice(
        settings,
        words,
        words("Nothing is kept about you"),
        f"{deleted(words)} {no_more}",
        button=words("Unsubscribe this address"),
    )
