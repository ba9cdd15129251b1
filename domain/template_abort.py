"""`{% abort "reason" %}`: a template refuses to be sent, whatever else it says."""

from __future__ import annotations

from typing import Final, NoReturn

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from domain.runs import ALREADY_DONE, HOLDOUT

LONGEST_REASON: Final = 100


class AbortedError(Exception):
    """Raised where a template comes to its `abort`, with the reason."""


class Abort(Extension):
    """The tag. Its reason is written out, not filled in: run logs and funnels show it, and hold no personal data."""

    tags = {"abort"}  # noqa: RUF012  as Jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        """Read the tag up to its end."""
        line = next(parser.stream).lineno
        if parser.stream.current.type != "string":
            parser.fail('say why, in quotes: {% abort "sold out" %}', line)
        reason = str(next(parser.stream).value).strip()
        if not 0 < len(reason) <= LONGEST_REASON or reason in (HOLDOUT, ALREADY_DONE):
            parser.fail(
                f"the reason of an abort has 1 to {LONGEST_REASON} characters and is none of the product's", line
            )
        return nodes.ExprStmt(self.call_method("stop", [nodes.Const(reason)]), lineno=line)

    def stop(self, reason: str) -> NoReturn:
        """Leave the template."""
        raise AbortedError(reason)
