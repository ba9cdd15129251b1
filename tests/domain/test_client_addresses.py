"""Clients' addresses are shortened to their networks wherever they are named, and nothing else is."""

from __future__ import annotations

import pytest

from domain.client_addresses import client_of, is_network, truncate_address, truncate_addresses


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("93.184.216.34", "93.184.216.0"),
        (" 93.184.216.34 ", "93.184.216.0"),
        ("::ffff:93.184.216.34", "93.184.216.0"),
        ("2001:db8:1234:5678::1", "2001:db8:1234::"),
        ("not an address", "not an address"),
        ("", ""),
    ],
)
def test_an_address_becomes_its_network(address: str, network: str) -> None:
    assert truncate_address(address) == network
    assert truncate_address(network) == network
    assert is_network("93.184.216.0")
    assert not is_network("93.184.216.34")
    assert not is_network("device 1")


def test_every_member_that_is_named_like_an_address_is_shortened_at_any_depth_and_versions_are_not() -> None:
    context = {
        "ip": "93.184.216.34",
        "client": {"IP_Address": "93.184.216.34", "version": "120.0.6099.1"},
        "hops": [{"remote-addr": "2001:db8:1234:5678::1"}, 7, None],
        "app": {"version": "1.2.3.4"},
    }

    assert truncate_addresses(context) == {
        "ip": "93.184.216.0",
        "client": {"IP_Address": "93.184.216.0", "version": "120.0.6099.1"},
        "hops": [{"remote-addr": "2001:db8:1234::"}, 7, None],
        "app": {"version": "1.2.3.4"},
    }


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("93.184.216.34", "93.184.216.35", False),
        ("93.184.216.34", "::ffff:93.184.216.34", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("", "testclient", False),
    ],
)
def test_a_line_of_ipv6_is_one_client_and_every_ipv4_address(one: str, other: str, *, same: bool) -> None:
    assert (client_of(one) == client_of(other)) is same
