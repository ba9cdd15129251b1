"""TCP ports of 127.0.0.1: which are free, and who holds one that is not."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import psutil

from perennial.embedded.faults import StartFailedError
from perennial.loopback import LOOPBACK, any_free_port


@dataclass(frozen=True, slots=True)
class PortChoice:
    """The port a server gets, and who holds the wanted one when it is another."""

    port: int
    wanted: int
    holder: str | None = None


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now (a port in TIME_WAIT counts as free, as it does for servers)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def holder_of(port: int) -> str:
    """Who listens on the port, as "name (pid 123)", or "another program" when the system does not tell us."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "another program"
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:
                break
    return "another program"


def choose_port(wanted: int, *, taken: frozenset[int] = frozenset(), tries: int = 50) -> PortChoice:
    """The wanted port, or the next free one after it; 0 asks for any. `taken` are ports promised to our own servers."""
    if wanted == 0:
        return PortChoice(any_free_port(), wanted)
    for port in range(wanted, min(wanted + tries, 65_536)):
        if port not in taken and is_free(port):
            return PortChoice(port, wanted, None if port == wanted else holder_of(wanted))
    raise StartFailedError(f"Port {wanted} and the {tries - 1} after it are all taken; set another in the settings.")
