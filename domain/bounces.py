"""Whose fault a bounce or a drop is, by SendGrid's report: `bounce_classification`, `type`, `status` and `reason`."""

from __future__ import annotations

from collections.abc import Mapping

from domain.refusal_rules import RECIPIENT, SENDGRID_CLASSES, SENDGRID_DROPS
from domain.refusals import Fault, fault_of, read_reply


def bounce_fault(told: Mapping[str, object]) -> Fault:
    """By its classification; without one a block is never the address's fault, and a bounce by what was said."""
    classified = SENDGRID_CLASSES.get(_text(told, "bounce_classification").strip().lower())
    if classified is not None:
        return classified
    if _text(told, "type") == "blocked":
        return Fault.SENDER
    reply = read_reply(_text(told, "reason"), enhanced=_text(told, "status"))
    return Fault.MAILBOX if reply.enhanced.startswith("4.") else fault_of(reply, RECIPIENT, Fault.MAILBOX)


def drop_fault(told: Mapping[str, object]) -> Fault:
    """SendGrid did not even try: by its reason, and by the code of the bounce that it remembers."""
    fault = SENDGRID_DROPS.get(_text(told, "reason").strip().lower(), Fault.MESSAGE)
    if fault is Fault.MAILBOX:
        return fault_of(read_reply("", enhanced=_text(told, "status")), RECIPIENT, fault)
    return fault


def _text(told: Mapping[str, object], key: str) -> str:
    value = told.get(key)
    return value if isinstance(value, str) else ""
