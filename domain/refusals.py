"""Whose fault a refusal is: what follows from it (a suppression, another try, a pause) depends on that alone.

What single replies and classifications mean is data: domain/refusal_rules.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """Only `address` suppresses; only `provider` pauses the provider for everybody."""

    ADDRESS = "address"  # this address does not exist
    MAILBOX = "mailbox"  # it exists, or may exist, and takes nothing now: full, switched off, greylisting
    MESSAGE = "message"  # this one message: its content, its size, its form
    SENDER = "sender"  # our name at the receiving side: reputation, authentication, a policy
    PROVIDER = "provider"  # everybody's: away, overloaded, over a limit, or it does not know our credentials


@dataclass(frozen=True, slots=True)
class Rule:
    """One reading of a reply. It applies where all that it names is there; the first of a table that applies counts.

    `codes`: enhanced status codes, the beginning of them such as `5.7.` or a whole one. `words`: a regular expression
    over the reply's words in small letters, without addresses and links.
    """

    fault: Fault
    source: str
    codes: tuple[str, ...] = ()
    words: str = ""

    def applies(self, reply: Reply) -> bool:
        """Whether the reply is of this kind."""
        return _begins(reply.enhanced, self.codes) and re.search(self.words, reply.words) is not None


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as the rules read it: its enhanced code (RFC 3463), empty without one, and its words."""

    enhanced: str
    words: str


_NAMES: Final = re.compile(r"<[^<>]*>|\bhttps?://\S+|[^\s<>()\"':;,]+@[^\s<>()\"':;,]+")
"""Addresses and links: what they are called says nothing about the refusal."""
_ENHANCED: Final = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
_LONGEST: Final = 2_000
"""Characters of a reply that are read; a hostile server may send far more."""


def read_reply(text: str, *, enhanced: str = "") -> Reply:
    """The reply as rules read it; `enhanced` is a code that was reported beside the text and wins."""
    plain = _NAMES.sub(" ", text[:_LONGEST])
    found = _ENHANCED.search(enhanced) or _ENHANCED.search(plain)
    return Reply(found[0] if found else "", " ".join(plain.lower().split()))


def fault_of(reply: Reply, rules: Sequence[Rule], otherwise: Fault) -> Fault:
    """The fault by the first rule that applies, else `otherwise`."""
    return next((rule.fault for rule in rules if rule.applies(reply)), otherwise)


def _begins(enhanced: str, codes: tuple[str, ...]) -> bool:
    return not codes or any(enhanced == code or (code.endswith(".") and enhanced.startswith(code)) for code in codes)
