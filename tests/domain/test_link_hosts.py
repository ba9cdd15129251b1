"""Nobody makes the shop's links lead elsewhere by what they write into their own data."""

from __future__ import annotations

import pytest

from domain.link_hosts import LinkHosts, host_of
from domain.message_links import lead_links

HOSTS = LinkHosts.of(
    [
        '<a href="https://shop.example/cart?id={{ x }}">',
        '<a href="https://b\u00fccher.example">',
        '<a href="https://open.example{{ entry.properties.rest }}/">',
        '<a href="https://{{ customer.traits.name }}.tenant.example/">',
        '<a href="https://user{{ x }}@auth.example/">',
    ],
    website="https://www.nursery.example/",
    domains=["partner.example"],
)


@pytest.mark.parametrize(
    "address",
    [
        *("https://shop.example/x", "HTTPS://Shop.Example:443/x", "https://shop.example./x", "https://shop.example"),
        *("https://nursery.example", "https://www.nursery.example", "https://plants.nursery.example/a"),
        *("https://partner.example/", "https://a.b.partner.example/", "https://xn--bcher-kva.example/"),
    ],
)
def test_links_to_hosts_of_the_author_and_the_shop_are_counted(address: str) -> None:
    assert HOSTS.allow(address)


@pytest.mark.parametrize(
    "address",
    [
        *("https://evil.example/", "https://shop.example.evil.example/", "https://evil.example/https://shop.example/"),
        *("https://shop.example@evil.example/", "https://evil.example\\@shop.example/", "https://shop.example\\.evil/"),
        *("https://open.example.evil.example/", "https://open.example/", "https://evil.tenant.example/"),
        *("https://evil.example#@shop.example/", "https://evil.example?shop.example", "https://notpartner.example/"),
        *("https:evil.example", "https:///evil.example", "//evil.example/", "https://ev\til.example/"),
        *(
            "https://shop.example%2eevil.example/",
            "https://sub.shop.example/",
            "javascript:alert(1)//https://shop.example/",
        ),
        *(
            "https://[::1]/",
            "https://evil.example\u3002shop.example.evil.example/",
            "http://",
            "https://shop.example:x/",
        ),
        *("https://auth.example/", "ftp://shop.example/"),
    ],
)
def test_a_link_whose_host_somebody_else_chose_never_leads_through_ours(address: str) -> None:
    assert not HOSTS.allow(address)
    html = f'<a href="{address}">x</a>'
    assert "/c/" not in lead_links(html, "https://links.shop.example", HOSTS, lambda _: "token")


def test_a_link_stays_with_the_person_who_wrote_it() -> None:
    html = '<a href="https://evil.example/">mine</a><a href="https://shop.example/">shop</a>'

    tracked = lead_links(html, "https://l.example", HOSTS, lambda _: "token")

    assert tracked == '<a href="https://evil.example/">mine</a><a href="https://l.example/c/token">shop</a>'


def test_browsers_and_we_read_one_host() -> None:
    assert host_of("https://evil.example\\@shop.example/") is None
    assert host_of(" https://SHOP.example./x ") == "shop.example"
    assert host_of("https://b\u00dccher.example") == "xn--bcher-kva.example"
