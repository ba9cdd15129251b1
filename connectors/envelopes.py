"""The addresses of an e-mail as providers are told them: domains by IDNA, and what cannot be told at all."""

from __future__ import annotations

from dataclasses import replace

from domain.emails import OutgoingEmail
from domain.provider_answers import Deferred, Rejected
from domain.refusals import Fault
from domain.wire_addresses import needs_smtputf8, wire_address


def enveloped(email: OutgoingEmail) -> OutgoingEmail | Deferred | Rejected:
    """The e-mail with its addresses as they stand on the wire.

    A sender that cannot stand there is the shop's settings' trouble, which a person mends; it costs no message.
    """
    sender, recipient = wire_address(email.sender_address), wire_address(email.to)
    if sender is None:
        return Deferred("sender_unwritable", fault=Fault.PROVIDER)
    if recipient is None:
        return Rejected("address_unwritable", fault=Fault.MAILBOX)
    headers = dict(email.headers)
    if not (reply_to := headers.get("Reply-To", "")).isascii():
        answers = wire_address(reply_to)
        headers["Reply-To"] = answers or ""
        if answers is None or needs_smtputf8(answers):  # then answers come to the sender
            del headers["Reply-To"]
    return replace(email, sender_address=sender, to=recipient, headers=headers)
