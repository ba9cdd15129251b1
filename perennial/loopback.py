"""The loopback interface: its address, and a free port on it."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def any_free_port() -> int:
    """A TCP port of 127.0.0.1 the kernel says is free at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port
