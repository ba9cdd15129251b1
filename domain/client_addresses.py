"""Clients' IP addresses, shortened to their network before anything is stored, where the shop wants that.

The last part of an address tells one household from another; the network (/24, for IPv6 /48) is enough for where
somebody is about and whether many come from one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

from domain.events import NewEvent

IPV4_BITS: Final = 24
IPV6_BITS: Final = 48

_NAMES: Final = frozenset({"ip", "ipaddress", "ipaddr", "clientip", "remoteip", "remoteaddr", "remoteaddress"})
"""Members that hold a client's address, without case and separators."""


def truncate_address(address: str) -> str:
    """The first address of its network: `93.184.216.34` is `93.184.216.0`. What is no address stays as it is."""
    plain = _plain(address)
    if plain is None:
        return address
    bits = IPV4_BITS if plain.version == 4 else IPV6_BITS
    return str(ip_network((plain.packed, bits), strict=False).network_address)


def client_of(address: str) -> str:
    """Who is one client by an address: each IPv4 address, and the /64 that a line has of IPv6."""
    plain = _plain(address)
    if plain is None:
        return address
    return str(plain) if plain.version == 4 else str(ip_network(f"{plain}/64", strict=False))


def _plain(address: str) -> IPv4Address | IPv6Address | None:
    """The address that is written here, of IPv4 also where IPv6 carries it; None for what is none."""
    try:
        found = ip_address(address.strip())
    except ValueError:
        return None
    return found.ipv4_mapped or found if found.version == 6 else found


def truncate_addresses(value: Any) -> Any:  # any JSON
    """The same for every member of a JSON value that is named like a client's address, at any depth."""
    match value:
        case Mapping():
            return {name: _member(name, each) for name, each in value.items()}
        case list() | tuple():
            return [truncate_addresses(each) for each in value]
        case _:
            return value


def with_networks_only(event: NewEvent) -> NewEvent:
    """The event without anybody's whole address."""
    return replace(
        event,
        properties=truncate_addresses(event.properties),
        traits=truncate_addresses(event.traits),
        context=truncate_addresses(event.context),
    )


def is_network(address: str) -> bool:
    """Whether it is what `truncate_address` makes: good for the network, and for no single client."""
    try:
        ip_address(address)
    except ValueError:
        return False
    return truncate_address(address) == address


def _member(name: str, value: Any) -> Any:  # any JSON
    if isinstance(value, str) and name.lower().replace("_", "").replace("-", "") in _NAMES:
        return truncate_address(value)
    return truncate_addresses(value)
