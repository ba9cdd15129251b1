"""What is wrong with a member of a request or a document, in words that say what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domain.shop_settings import ADDRESS, LINE

_NAME_RULE: Final = "a small letter, then small letters, digits"
FORMS: Final[Mapping[str, str]] = {
    r"^[a-z][a-z0-9-]{1,62}$": f"{_NAME_RULE} and hyphens, 2 to 63 in all: abandoned-cart",
    r"^[a-z][a-z0-9_-]{0,62}$": f"{_NAME_RULE}, hyphens and underscores, at most 63 in all: back-in-stock",
    r"^[a-z][a-z0-9_]{0,62}$": f"{_NAME_RULE} and underscores, at most 63 in all: loyalty_answer",
    r"^[a-z0-9][a-z0-9_./-]{0,99}$": (
        "a small letter or digit, then small letters, digits and _ . / -, at most 100 in all: first-reminder"
    ),
    r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}$": "a letter or digit, then letters, digits, - and _, at most 63 in all: b",
    r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$": "a letter or digit, then letters, digits, - and _, at most 63 in all: silver",
    r"^[A-Z0-9][A-Z0-9_-]{0,19}$": "capital letters, digits, - and _, at most 20, not - or _ first: SPRING",
    r"^[A-Z]{3}$": "the three capital letters of a currency: EUR",
    r"^([01][0-9]|2[0-3]):[0-5][0-9]$": "a time of day from 00:00 to 23:59: 09:30",
    r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$": "month and day: 12-31",
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$": "a day: 2026-12-31",
    r"^[a-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,2}$": "a language, with a region or without: de, en-GB",
    r"^[^.\[\]]+(\[[0-9]{0,4}\])*(\.[^.\[\]]+(\[[0-9]{0,4}\])*)*$": (
        "keys joined by dots, with [] after a list for any element or [0] for one: total, items[].sku"
    ),
    ADDRESS: "one bare mail address, without a name: hello@shop.example",
    LINE: "one line, without line breaks, tabs or other control characters",
    r"^#[0-9a-fA-F]{6}$": "a colour by six hexadecimal digits: #2f6f4e",
}
"""How texts of a form are written, with an example, by the pattern that the models have for it."""

_KINDS: Final[Mapping[str, str]] = {
    "string_type": "a text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object, keys with values,",
    "model_type": "an object, keys with values,",
    "model_attributes_type": "an object, keys with values,",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}
"""What belongs where something of another type was written."""

_WITHOUT_EXAMPLE: Final = "It has characters that are not allowed here, or lacks some that are needed."


def fault_text(fault: Mapping[str, Any]) -> str:  # pydantic's fault
    """The sentence for one fault that pydantic found; its own words where they already say it."""
    match fault["type"]:
        case "string_pattern_mismatch":
            form = FORMS.get(fault.get("ctx", {}).get("pattern", ""))
            return _WITHOUT_EXAMPLE if form is None else f"Write {form}."
        case "extra_forbidden":
            return "There is no such key here; check its spelling, or remove it."
        case "missing":
            return "This key is missing; add it."
        case "literal_error":
            return f"Write one of these: {fault['ctx']['expected']}."
        case "too_short" | "string_too_short" | "too_long" | "string_too_long":
            return f"Write {_bound(fault)} here."
        case "timezone_aware" | "datetime_from_date_parsing":
            return "Write a time with its offset from UTC, or Z for UTC: 2026-11-01T09:00:00Z."
        case kind if kind in _KINDS:
            return f"Write {_KINDS[kind]} here."
        case _:
            return str(fault["msg"]).removeprefix("Value error, ")


def _bound(fault: Mapping[str, Any]) -> str:
    """`at least 1 item`, `at most 200 characters`."""
    word, bound = ("at least", "min_length") if fault["type"].endswith("too_short") else ("at most", "max_length")
    length, noun = fault["ctx"][bound], "character" if fault["type"].startswith("string") else "item"
    return f"{word} {length} {noun}{'' if length == 1 else 's'}"
