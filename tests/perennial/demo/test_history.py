"""The demo's past: always the same people, never anything twice, nothing in the future."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from perennial.demo.catalogue import CATALOGUE
from perennial.demo.history import history, order
from perennial.demo.people import people

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_a_second_start_sends_the_same_message_ids_so_nothing_is_doubled() -> None:
    persons = people(40)

    first = [message["messageId"] for message in history(persons, NOW)]
    second = [message["messageId"] for message in history(people(40), NOW)]

    assert first == second
    assert len(set(first)) == len(first)


def test_the_past_is_past_and_each_persons_events_come_in_order() -> None:
    for person in people(40):
        times = [datetime.fromisoformat(message["timestamp"]) for message in history([person], NOW)]
        assert times[0] == min(times)
        assert max(times) <= NOW


def test_people_have_addresses_of_their_own_that_nobody_can_receive_mail_at() -> None:
    addresses = [person.email for person in people(300)]

    assert len(set(addresses)) == 300
    assert all(address.endswith("@example.com") and address.isascii() for address in addresses)


def test_the_past_holds_orders_refunds_and_consent() -> None:
    counted = Counter(message.get("event", message["type"]) for message in history(people(300), NOW))

    assert counted["identify"] == 300
    assert 200 < counted["Consent Granted"] < 290
    assert counted["Order Completed"] > 300
    assert counted["Order Refunded"] > 5


def test_an_orders_sums_agree() -> None:
    placed = order("O-1", [(CATALOGUE[0], 2), (CATALOGUE[-1], 1)])

    assert placed["total"] == round(placed["revenue"] + placed["shipping"], 2)
    assert round(placed["subtotal"] + placed["tax"], 2) == placed["total"] - placed["shipping"]


def test_products_have_ids_of_their_own() -> None:
    assert len({product.product_id for product in CATALOGUE}) == len(CATALOGUE)
