"""Addresses that messages go to: when two spellings are one, and which trait of a customer names one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import idna

from domain.mailboxes import ascii_domain

TRAIT_OF_CHANNEL: Final = {"email": "email", "sms": "phone"}
"""The channels whose messages go to an address that a trait names. The others go to the shop's own systems."""


class Standing(StrEnum):
    """How far a customer's address is confirmed."""

    TRUSTED = "trusted"  # a trusted source set it
    ANSWERED = "answered"  # its mailbox has answered, and it was the customer's before any trusted source knew them
    NAMED_LATE = "named_late"  # its mailbox has answered, but a browser named it for somebody who was known before
    UNANSWERED = "unanswered"  # a browser named it, and nobody has answered

    @property
    def is_answered(self) -> bool:
        """Whether the mailbox is known to be read by who named it: enough for the shop's defaults of consent."""
        return self is not Standing.UNANSWERED

    @property
    def takes_value(self) -> bool:
        """Whether messages that are worth something may go there."""
        return self in (Standing.TRUSTED, Standing.ANSWERED)

    @property
    def advice(self) -> str | None:
        """Why no value goes there, and what to do about it."""
        return _ADVICE.get(self)


_ADVICE: Final = {
    Standing.NAMED_LATE: "Only a browser named this address, after trusted sources knew the customer; an answer from "
    "its mailbox does not show that it is theirs. Send traits.email from your backend.",
    Standing.UNANSWERED: "Only a browser named this address, and nobody has answered from it. Send traits.email from "
    "your backend, or let the customer follow a link in a message.",
}


def canonical_address(channel: str, address: str) -> str:
    """One spelling for an address: small letters, the domain as it stands on the wire; a number without decoration.

    No more than this makes two addresses one: `+tags` and dots lead to one mailbox with some providers only.
    """
    plain = address.strip().lower()
    if channel == "sms":
        return re.sub(r"[\s().\-/]", "", plain)
    local, at, domain = plain.rpartition("@")
    return f"{local}@{ascii_domain(domain)}" if at else plain


def spellings_of(channel: str, address: str) -> Sequence[str]:
    """The address as it was written, and with its domain in the letters that people read."""
    plain = address.strip().lower()
    local, at, domain = plain.rpartition("@")
    if channel == "sms" or not at:
        return [plain]
    try:
        return [plain, f"{local}@{idna.decode(domain)}"]
    except (idna.IDNAError, UnicodeError):
        return [plain]


def is_trusted_address(traits: Mapping[str, Any], trait_times: Mapping[str, Any], channel: str) -> bool:
    """Whether a trusted source set the customer's present address. One that no event wrote is the shop's own doing."""
    trait = TRAIT_OF_CHANNEL.get(channel)
    if trait is None or not traits.get(trait):
        return False
    writer = trait_times.get(trait)
    return not writer or writer[-1] is not False


def address_of(traits: Mapping[str, Any], channel: str) -> str | None:
    """The address among a customer's traits that a channel goes to; None if there is none."""
    told = traits.get(TRAIT_OF_CHANNEL.get(channel, ""))
    return told.strip() or None if isinstance(told, str) else None
