"""The tutorial runs on the stack of the scenarios."""

from tests.scenarios.conftest import mailbox, stack

__all__ = ["mailbox", "stack"]
