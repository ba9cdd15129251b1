"""A busy port is named with its holder, and the next free one is taken."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from perennial.embedded.faults import StartFailedError
from perennial.embedded.ports import choose_port


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_free_port_is_taken_as_wanted(busy_port: int) -> None:
    choice = choose_port(busy_port + 1)

    assert choice.holder is None or choice.port > choice.wanted


def test_busy_port_gives_way_to_the_next_and_names_its_holder(busy_port: int) -> None:
    choice = choose_port(busy_port)

    assert choice.port > busy_port
    assert choice.holder is not None
    assert f"(pid {os.getpid()})" in choice.holder


def test_ports_promised_to_our_own_servers_are_not_given_twice() -> None:
    first = choose_port(0)

    second = choose_port(first.port, taken=frozenset({first.port}))

    assert second.port > first.port


def test_no_free_port_near_is_told(busy_port: int) -> None:
    with pytest.raises(StartFailedError, match=f"Port {busy_port}"):
        choose_port(busy_port, tries=1)
