"""Whether two phone numbers are one, however they are written. For telling persons apart, never for calling."""

from __future__ import annotations

import re
from typing import Final

from phonenumbers import (
    MatchType,
    NumberParseException,
    PhoneNumberFormat,
    format_number,
    is_number_match,
    parse,
)

from domain.mailboxes import folded

_ENDS: Final = re.compile(r"(?:;?ext(?:ension)?\.?|;isub=|;phone-context=|[x#~]).*$|\([a-z.]+\)$")
_SHORTEST: Final = 7
"""Digits that a number must have to be anybody's."""
_NATIONAL: Final = 8
"""Digits that a number without its area must have to be taken for the end of another one."""


def is_same_phone(one: str | None, other: str | None) -> bool:
    """Whether both are one number. One without its country is read as of the other's; extensions do not count."""
    first, second = _written(one), _written(other)
    if first is None or second is None:
        return False
    match is_number_match(first, second):
        case MatchType.EXACT_MATCH | MatchType.NSN_MATCH:
            return True
        case MatchType.SHORT_NSN_MATCH:
            return min(_digits(first), _digits(second)) >= _NATIONAL
        case _:
            return first.lstrip("0") == second.lstrip("0")


def international(number: str | None) -> str | None:
    """The one way to write a number that has its country (E.164); None for one without, or none at all."""
    written = _written(number)
    if written is None or not written.startswith("+"):
        return None
    try:
        return format_number(parse(written), PhoneNumberFormat.E164)
    except NumberParseException:
        return None


def _written(number: str | None) -> str | None:
    """The number in plain characters with `+` for `00`; None for what is too short to be one."""
    plain = _ENDS.sub("", folded(number or "")).removeprefix("tel:")
    plain = re.sub(r"^\(?00\)?", "+", plain)
    return plain if _digits(plain) >= _SHORTEST else None


def _digits(number: str) -> int:
    """How many there are behind leading zeros, so that a row of zeros is nobody's number."""
    return len(re.sub(r"\D", "", number).lstrip("0"))
