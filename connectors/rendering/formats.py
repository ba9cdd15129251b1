"""The filters of our own: `money`, `number` and `date`, in the words of the message's language (CLDR, by Babel), and
`translate` for what the product says itself, in its reader's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any  # template values are any JSON
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, get_currency_precision
from jinja2 import Undefined, pass_context
from jinja2.runtime import Context

from connectors.translations import words_in
from domain.commerce import event_currency
from domain.money import UNKNOWN_CURRENCY, stated_currency

LANGUAGE = "_language"
"""Where the render's language stands in the context; the leading underscore keeps templates away from it."""


@pass_context
def money(context: Context, value: Any, currency: str | None = None, of_entry: bool = False, holder: Any = None) -> str:
    """`49.9` or `"49.90"` (major units, as events carry them) or `{"amount": 4990, "currency": "EUR"}` (minor).

    In the currency that is named, else the value's own, else for amounts of the entering event (`of_entry`, see
    entry_amounts.py) that of the item which holds it (`holder`), else the event's; else the shop's.
    """
    own = value.get("currency") if isinstance(value, dict) else None
    code = _code(currency) or _code(own) or _stated_in(holder) or (_of_entry(context) if of_entry else None)
    code = code or _shop(context, "currency") or "EUR"
    amount = _decimal(value.get("amount") if isinstance(value, dict) else value)
    if amount is None:
        return str(value) if isinstance(value, Undefined) else ""
    if isinstance(value, dict):
        amount = amount.scaleb(-get_currency_precision(code))
    return _written(amount, code, _locale(context))


@pass_context
def number(context: Context, value: Any) -> str:
    """`12345.6` with the language's separators; text that is no number stays as it is."""
    amount = _decimal(value)
    return str(value) if amount is None else format_decimal(amount, locale=_locale(context))


@pass_context
def date_words(context: Context, value: Any, style: str = "long") -> str:
    """An ISO date or time as `short`, `medium`, `long` or `full` date; a time is shown in the shop's zone."""
    if isinstance(value, Undefined):
        return str(value)
    moment = _moment(str(value), _zone(context))
    chosen = style if style in ("short", "medium", "long", "full") else "long"
    if moment is None:
        return str(value)
    if style == "datetime" and isinstance(moment, datetime):
        return format_datetime(moment, "medium", locale=_locale(context))
    return format_date(moment, chosen, locale=_locale(context))


@pass_context
def translate(context: Context, text: Any, **values: Any) -> str:
    """`"Sent by %(shop)s." | translate(shop=shop.name)` in the reader's language, as far as there are translations."""
    message = context.get("message")
    listed = message.get("languages") if isinstance(message, Mapping) else None
    languages = [*(listed if isinstance(listed, list) else ()), context.get(LANGUAGE), _shop(context, "language")]
    return words_in(each for each in languages if isinstance(each, str))(str(text), **values)


FORMATS: dict[str, Callable[..., str]] = {
    "money": money,
    "number": number,
    "date": date_words,
    "translate": translate,
}


def _shop(context: Context, key: str) -> str | None:
    shop = context.get("shop")
    value = shop.get(key) if isinstance(shop, dict) else None
    return value if isinstance(value, str) and value else None


def _code(stated: Any) -> str | None:
    """The currency that is stated, as its code; what is no code stays as it was written, for people know it."""
    if not isinstance(stated, str) or not stated.strip():
        return None
    code = stated_currency(stated)
    return stated.strip() if code == UNKNOWN_CURRENCY else code


def _of_entry(context: Context) -> str | None:
    entry = context.get("entry")
    return _stated_in(entry.get("properties")) if isinstance(entry, dict) else None


def _stated_in(properties: Any) -> str | None:
    if not isinstance(properties, dict):
        return None
    return _code(properties.get("currency")) or event_currency(properties)


@lru_cache(maxsize=10_000)
def _written(amount: Decimal, currency: str, locale: Locale) -> str:
    """Remembered: a message says each price twice (HTML and text), and many messages say the same prices."""
    if currency == UNKNOWN_CURRENCY:
        return format_decimal(amount, "#,##0.00", locale=locale)
    return format_currency(amount, currency, locale=locale)


def _locale(context: Context) -> Locale:
    return _locale_of(str(context.get(LANGUAGE) or "en").replace("-", "_"))


@lru_cache(maxsize=1_000)
def _locale_of(language: str) -> Locale:
    for candidate in (language, language.split("_", maxsplit=1)[0]):
        try:
            return Locale.parse(candidate)
        except (UnknownLocaleError, ValueError):
            continue
    return Locale("en")


def _zone(context: Context) -> ZoneInfo:
    try:
        return ZoneInfo(_shop(context, "zone") or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and abs(amount.adjusted()) < 30 else None


def _moment(text: str, zone: ZoneInfo) -> datetime | date | None:
    try:
        if len(text) <= 10:
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(zone)
