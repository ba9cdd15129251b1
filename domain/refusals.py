"""Whose fault a refusal is: what follows from it (a suppression, another try, a pause) depends on that alone."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """Only `address` suppresses; only `provider` pauses the provider for everybody."""

    ADDRESS = "address"  # this address does not exist
    MAILBOX = "mailbox"  # it exists, or may exist, and takes nothing now: full, switched off, greylisting
    MESSAGE = "message"  # this one message: its content, its size, its form
    SENDER = "sender"  # our name at the receiving side: reputation, authentication, a policy
    PROVIDER = "provider"  # everybody's: away, overloaded, over a limit, or it does not know our credentials
