"""Whom the messages of one template come from: a template may name another sender of the shop's, of its domains only.

Mail from a domain that the shop's provider does not know is refused, for this template and then, as the sender's fault,
for everybody's mail.
"""

from __future__ import annotations

from collections.abc import Iterator

from domain.document import Document
from domain.findings import Finding
from domain.mailboxes import ascii_domain
from domain.shop_settings import Address, Line, Sender, ShopSettings


class TemplateSender(Document):
    """What differs from the settings' sender; what is absent is as it is there."""

    name: Line | None = None
    email: Address | None = None
    reply_to: Address | None = None


def sender_for(written: TemplateSender | None, settings: ShopSettings) -> Sender:
    """Whom a message comes from now: the shop's address, once the settings no longer list the template's domain."""
    if written is None:
        return settings.sender
    changes = written.model_dump(exclude_none=True)
    if written.email is not None and not _is_ours(written.email, settings):
        del changes["email"]
    return settings.sender.model_copy(update=changes)


def sender_findings(written: TemplateSender, settings: ShopSettings) -> Iterator[Finding]:
    """What keeps messages from being sent in that name."""
    if written.name is not None and ("{{" in written.name or "{%" in written.name):
        message = "A sender's name is the same for everybody: write it out."
        yield Finding(code="sender_expression", pointer="/sender/name", message=message)
    for name, message in Sender.model_validate(written.model_dump(exclude_none=True)).unwritable().items():
        yield Finding(code="sender_unwritable", pointer=f"/sender/{name}", message=f"It cannot be sent: {message}.")
    if written.email is not None and not _is_ours(written.email, settings):
        message = (
            "Its domain is neither that of the settings' sender nor one of sender_domains there: "
            "have your provider accept it, then list it."
        )
        yield Finding(code="sender_domain", pointer="/sender/email", message=message)


def _is_ours(address: str, settings: ShopSettings) -> bool:
    ours = [settings.sender.email.rpartition("@")[2], *settings.sender_domains]
    return ascii_domain(address.rpartition("@")[2]) in map(ascii_domain, ours)
