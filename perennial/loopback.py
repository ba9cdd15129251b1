"""The loopback interface: its address, and a free port on it."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"

_LISTENING = range(15_000, 32_000)


def any_free_port() -> int:
    """A TCP port of 127.0.0.1 that is free at this moment, and will not be given to an outgoing connection.

    The kernel's own choice (port 0) comes from the ports of outgoing connections (Linux: 32768 and up), so a client
    can get it between this answer and the moment a server listens on it.
    """
    for port in random.sample(_LISTENING, len(_LISTENING)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise OSError(f"No free port of {LOOPBACK} between {_LISTENING.start} and {_LISTENING.stop}.")
