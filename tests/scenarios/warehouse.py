"""The shop's own system that delivers rewards: a real web server on this machine, and how it checks who asks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.scenarios.conftest import WEBHOOK_SECRET
from tests.scenarios.shoppers import Json


@dataclass
class Warehouse:
    """Answers with these statuses, then with 200, and keeps what it was asked: headers by lower name, raw body."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def open_warehouse() -> Iterator[Warehouse]:
    """A warehouse that is asked at its `url` while the block runs."""
    warehouse = Warehouse()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            warehouse.asked.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(warehouse.statuses.pop(0) if warehouse.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's name
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    warehouse.url = f"http://127.0.0.1:{server.server_port}/deliver"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield warehouse
    finally:
        server.shutdown()
        server.server_close()


def verified(headers: dict[str, str], body: bytes) -> Json:
    """What was asked, once its signature has been worked out again (standardwebhooks.com, symmetric `v1`)."""
    key = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert f"v1,{signature}" in headers["webhook-signature"].split()
    asked: Json = json.loads(body)
    return asked
