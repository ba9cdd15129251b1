"""What a row of past data becomes, or what is wrong with it.

Customers and orders become events like any others, with the source `import`: they fill profiles and orders, and start
nothing. The message id is a hash of the row, so a file that is imported twice changes nothing the second time.
Products and posts of the shop are rows of their own, of which the latest counts. What members bring from another
programme goes into the ledger.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import orjson

from domain.addresses import TRAIT_OF_CHANNEL
from domain.commerce import ORDER_CANCELLED, ORDER_COMPLETED, ORDER_REFUNDED, ProductFact, text_id
from domain.consent import CONSENT_GRANTED, CONSENT_WITHDRAWN, PURPOSE, ConsentState
from domain.events import KIND_NAMES, EventKind, NewEvent
from domain.imported_cells import USER_COLUMNS, own_time, time_of, user_of
from domain.imports import ImportKind, Row, RowError, RowProblem, typed
from domain.misread import misread
from domain.money import UNKNOWN_CURRENCY, amount_of, currency_of, minor_units
from domain.opening_rows import OpeningRow, opening_of
from domain.order_columns import CANCELLED, PARTIALLY_REFUNDED, REFUNDED, take_state, take_time, under_our_names
from domain.payload import find_fault
from domain.social import COUNTED, MOST, NETWORK, MeasuredPost, is_to_come

SOURCE = "import"

Imported = list[NewEvent] | ProductFact | MeasuredPost | OpeningRow


def take_row(kind: ImportKind, row: Row, *, currency: str, as_of: datetime) -> Imported | RowProblem:
    """What a row becomes. `currency` is the shop's, for rows that name none."""
    readers: dict[ImportKind, Callable[[dict[str, Any], str, datetime], Imported]] = {
        ImportKind.CUSTOMERS: _customer,
        ImportKind.PRODUCTS: _product,
        ImportKind.ORDERS: partial(_order, guest=row.guest),
        ImportKind.POSTS: _post,
        ImportKind.LOYALTY: _opening,
    }
    if fault := find_fault(dict(row.values)):
        return RowProblem(row.number, fault.code, f"{fault.pointer}: {fault.message}")
    try:
        return readers[kind](dict(row.values), currency, as_of)
    except RowError as error:
        return RowProblem(row.number, error.code, str(error))


def _customer(values: dict[str, Any], _: str, as_of: datetime) -> list[NewEvent]:
    content = dict(values)
    user_id = user_of(values, (*USER_COLUMNS, "id"))
    at = time_of(values, as_of, ("timestamp",))
    consents = values.pop("consent", {})
    nested = values.pop("traits", None)
    traits = {**values, **(nested if isinstance(nested, dict) else {})}
    make = _Maker(ImportKind.CUSTOMERS, user_id, content, at, as_of)
    events = [make.event(EventKind.IDENTIFY, KIND_NAMES[EventKind.IDENTIFY], traits=traits)]
    if consents in ([], None):  # PHP writes an empty object as an empty array
        consents = {}
    if not isinstance(consents, dict):
        raise RowError("consent_malformed", "consent is an object, or columns consent.<purpose>")
    return events + [_consent(make, purpose, told, traits) for purpose, told in consents.items()]


_CONSENTS: Final[Mapping[str, str]] = {
    ConsentState.SUBSCRIBED: CONSENT_GRANTED,
    ConsentState.UNSUBSCRIBED: CONSENT_WITHDRAWN,
}


def _consent(make: _Maker, purpose: str, told: Any, traits: Mapping[str, Any]) -> NewEvent:
    """A state alone says how things stand. An object says what was done: state, `at`, and what proves it."""
    said = dict(told) if isinstance(told, dict) else {"state": told}
    state = said.pop("state", None)
    name = _CONSENTS.get(state.strip().lower()) if isinstance(state, str) else None
    if name is None or (name == CONSENT_GRANTED and not re.fullmatch(PURPOSE, purpose.strip().lower())):
        what = 'write subscribed or unsubscribed, or {"state": .., "at": .., "text": ..}'
        raise RowError("consent_unknown", f"consent.<purpose>: {what}; a purpose is a word such as marketing")
    given_at = own_time(said, make.as_of, ("at", "timestamp"))
    if given_at is None:
        return make.event(EventKind.TRACK, name, properties={**said, "purpose": purpose})
    named = {trait: traits[trait] for trait in TRAIT_OF_CHANNEL.values() if traits.get(trait) is not None}
    return replace(make, at=given_at).event(EventKind.TRACK, name, properties={**named, **said, "purpose": purpose})


def _order(values: dict[str, Any], currency: str, as_of: datetime, *, guest: str | None) -> list[NewEvent]:
    """`Order Completed`, and what became of it: `state` cancelled, or `refunded` with an amount."""
    content, values = values, under_our_names(values)
    order_id = text_id(values.get("order_id"))
    if order_id is None:
        raise RowError("order_id_missing", "each order needs an order_id")
    if re.fullmatch(r"[0-9](\.[0-9]+)?E\+[0-9]+", order_id):
        raise RowError("order_id_rounded", "order_id: a spreadsheet has rounded it; import the file as it was exported")
    user_id = user_of(values, USER_COLUMNS)
    at, state = take_time(values, as_of), take_state(values)
    if isinstance(values.get("products"), str):
        values["products"] = typed(values["products"], "json", "products")
    for amount in ("total", "subtotal", "revenue", "shipping", "tax", "discount", "refunded"):
        _check_amount(values, amount, currency)
    refunded = values.pop("refunded", None)
    has_amount = bool(amount_of(refunded))
    if state == PARTIALLY_REFUNDED and not has_amount:
        raise RowError("refund_amount_missing", "refunded: write the amount that went back")
    make = _Maker(ImportKind.ORDERS, user_id, content, at, as_of)
    events = [make.event(EventKind.TRACK, ORDER_COMPLETED, properties=values)]
    about = {"order_id": order_id, "currency": _currency_of(values.get("currency"), currency)}
    if unreadable := misread(ORDER_COMPLETED, values):
        raise RowError(unreadable[0].code, "; ".join(each.message for each in unreadable))
    if state == CANCELLED:
        events.append(make.event(EventKind.TRACK, ORDER_CANCELLED, properties=about, place=1))
    if guest is not None:
        named = KIND_NAMES[EventKind.IDENTIFY]
        events.append(make.event(EventKind.IDENTIFY, named, traits={"email": guest}))
    if has_amount or state == REFUNDED:
        told = {**about, "total": refunded} if has_amount else about
        events.append(make.event(EventKind.TRACK, ORDER_REFUNDED, properties=told, place=2))
    return events


def _check_amount(values: dict[str, Any], name: str, currency: str) -> None:
    if values.get(name) is not None and minor_units(values[name], currency) is None:
        raise RowError("amount_malformed", f"{name}: write an amount such as 49.90")


def _currency_of(value: Any, default: str) -> str:
    if (found := currency_of(value, default)) == UNKNOWN_CURRENCY:
        raise RowError("currency_unknown", "currency: write an ISO 4217 code such as EUR")
    return found


def _product(values: dict[str, Any], currency: str, as_of: datetime) -> ProductFact:
    product_id = (
        text_id(values.pop("product_id", None)) or text_id(values.pop("id", None)) or text_id(values.get("sku"))
    )
    if product_id is None:
        raise RowError("product_id_missing", "each product needs a product_id (or a sku)")
    at = time_of(values, as_of, ("timestamp", "updated_at"))
    _check_amount(values, "price", currency)
    own = _currency_of(values.pop("currency", None), currency)
    price = minor_units(values.pop("price", None), own)
    texts = {name: values.pop(name, None) for name in ("sku", "name", "category", "brand", "url", "image_url")}
    described: dict[str, Any] = {name: None if value is None else str(value) for name, value in texts.items()}
    described |= {"price": price, "currency": None if price is None else own}
    return ProductFact(product_id, described, values, at, trusted=True)


def _opening(values: dict[str, Any], _: str, as_of: datetime) -> OpeningRow:
    return opening_of(values, as_of)


def _post(values: dict[str, Any], _: str, as_of: datetime) -> MeasuredPost:
    """`engagements`, or the figures that add up to them."""
    network, post_id = (text_id(values.get(name)) for name in ("network", "post_id"))
    if network is None or re.fullmatch(NETWORK, network) is None or post_id is None:
        raise RowError("post_id_missing", "each post needs a network, such as instagram, and the network's post_id")
    if values.get("posted_at") is None:
        raise RowError("time_missing", "each post needs posted_at, a time such as 2026-03-01T09:30:00Z")
    nested = values.get("figures")
    figures = [_count(nested if isinstance(nested, dict) else values, name) for name in COUNTED]
    engagements = _count(values, "engagements")
    if (engagements is None) == (figures == [None] * len(figures)):
        raise RowError("engagements_missing", f"write engagements, or some of {', '.join(COUNTED)}; not both")
    return MeasuredPost(
        network=network,
        post_id=post_id,
        posted_at=_past(values, "posted_at", as_of),
        measured_at=_past(values, "measured_at", as_of),
        engagements=sum(figure or 0 for figure in figures) if engagements is None else engagements,
        url=text_id(values.get("url")),
        reach=_count(values, "reach"),
        impressions=_count(values, "impressions"),
        followers=_count(values, "followers"),
    )


def _past(values: dict[str, Any], column: str, as_of: datetime) -> datetime:
    """What is yet to come was not measured: it would stand before every measurement to come."""
    moment = time_of(values, datetime.max.replace(tzinfo=UTC), (column,)) if values.get(column) is not None else as_of
    if is_to_come(moment, as_of):
        raise RowError("time_in_future", f"{column}: this time is in the future")
    return min(moment, as_of)


def _count(values: Mapping[str, Any], name: str) -> int | None:
    told = values.get(name)
    if told is None:
        return None
    is_number = isinstance(told, str) and told.isascii() and told.isdecimal() and len(told) <= len(str(MOST))
    count = int(told) if is_number else told
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST:
        raise RowError("count_malformed", f"{name}: write a whole number from 0 to {MOST}")
    return count


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the events of one row, each with a message id of its own that the row's content decides."""

    kind: ImportKind
    user_id: str
    content: Mapping[str, Any]
    at: datetime
    as_of: datetime

    def event(
        self,
        kind: EventKind,
        name: str,
        *,
        properties: dict[str, Any] | None = None,
        traits: dict[str, Any] | None = None,
        place: int = 0,
    ) -> NewEvent:
        """`place` puts the events of one row in their order, a microsecond apart."""
        told = [self.kind, self.user_id, name, properties, self.content]
        digest = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)).hexdigest()
        return NewEvent(
            source=SOURCE,
            message_id=f"{self.kind}/{digest[:40]}",
            kind=kind,
            name=name,
            timestamp=min(self.at + timedelta(microseconds=place), self.as_of),
            received_at=self.as_of,
            user_id=self.user_id,
            properties=properties or {},
            traits=traits or {},
            is_history=True,
        )


class Retold:
    """Knows the rows of one file that say again what an earlier row said of the same customer or order, with another
    row between: the file goes back to it, so it counts again. What only repeats the row before it is the same row.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str | None, str | None], str] = {}
        self._times: dict[str, int] = {}  # only of customers and orders of which the file says several things

    def tell_apart(self, row: list[NewEvent]) -> list[NewEvent]:
        """The events of the next row, with message ids that are their own. The same file gives the same ids."""
        first = row[0]
        about, said = (first.user_id, text_id(first.properties.get("order_id"))), first.message_id
        last = self._last.get(about)
        if last is not None and last != said:
            self._times.setdefault(last, 1)
            self._times[said] = self._times.get(said, 0) + 1
        self._last[about] = said
        times = self._times.get(said, 1)
        return row if times == 1 else [replace(event, message_id=f"{event.message_id}/{times}") for event in row]
