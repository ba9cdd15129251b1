"""How names, addresses and links of other letters than ASCII stand on the wire."""

from __future__ import annotations

from email.utils import formataddr

import pytest

from domain.emails import sender_line, sender_of
from domain.shop_settings import Sender
from domain.wire_addresses import needs_smtputf8, wire_address, wire_link


@pytest.mark.parametrize("name", ["", "Zoë", "Ünï, & Co", 'a"b\\c', "Ä <b> (c)", "=?bogus?q?x?=", "日本の店" * 20])
def test_a_senders_name_comes_back_as_it_was_written(name: str) -> None:
    assert sender_of(sender_line(name, "hallo@gärten.example")) == (name, "hallo@gärten.example")


def test_a_senders_name_that_was_stored_as_a_mail_header_is_read() -> None:
    assert sender_of(formataddr(("Zoë & Co", "a@shop.example"))) == ("Zoë & Co", "a@shop.example")


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        ("zoe@bücher.example", "zoe@xn--bcher-kva.example"),
        ("zoe@BÜCHER.example", "zoe@xn--bcher-kva.example"),
        ("zoe@straße.example", "zoe@xn--strae-oqa.example"),
        ("zoë@bücher.example", "zoë@xn--bcher-kva.example"),
        ("Zoe.Q@Shop.Example", "Zoe.Q@Shop.Example"),
        ("zoe@a_b.example", "zoe@a_b.example"),
        ("zoe@\u202e.example", None),
        ("zoe@" + "ü" * 64 + ".example", None),
        ("@bücher.example", None),
        ("bücher.example", None),
    ],
)
def test_a_domain_stands_in_ascii_on_the_wire(address: str, wire: str | None) -> None:
    assert wire_address(address) == wire


def test_only_letters_before_the_at_need_a_server_that_takes_them() -> None:
    assert needs_smtputf8("zoë@example.com")
    assert not needs_smtputf8("zoe@bücher.example")


@pytest.mark.parametrize(
    ("link", "wire"),
    [
        ("https://links.bücher.example/u/x", "https://links.xn--bcher-kva.example/u/x"),
        (
            "http://bücher.example:8080/ü%20a?q=ë&r=%2F#ß",
            "http://xn--bcher-kva.example:8080/%C3%BC%20a?q=%C3%AB&r=%2F#%C3%9F",
        ),
        ("https://exa\u2100mple.example/", "https://exa\u2100mple.example/"),
        ("https://links.shop.example/u/x?y=%zz", "https://links.shop.example/u/x?y=%zz"),
    ],
)
def test_links_in_headers_are_ascii(link: str, wire: str) -> None:
    assert wire_link(link) == wire


def test_a_sender_that_most_servers_refuse_is_said_to_be_unwritable() -> None:
    assert Sender(email="hallo@gärten.example", reply_to="hilfe@gärten.example").unwritable() == {}
    assert set(Sender(email="grüße@shop.example", reply_to="zoë@shop.example").unwritable()) == {"email", "reply_to"}
