"""SendGrid as its wire format shows it: 202 with X-Message-Id, 429 and 400 with their answers, signed events."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep, time
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"


@dataclass(frozen=True)
class Reply:
    """One scripted answer. `takes` executes the request whatever is answered; `hangs` answers only after so long."""

    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    takes: bool = False
    hangs: float = 0
    drops: bool = False  # closes the connection instead of answering
    body: bytes = b'{"errors": [{"message": "no", "field": null, "help": null}]}'  # of a refusal


@dataclass
class FakeSendGrid:
    """`mails` are the requests that it accepted; `script` is worked off before everything is accepted."""

    url: str
    mails: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    script: list[Reply] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)  # the first line of every request, whatever it asks for
    mood: Reply | None = None  # how it answers once the script is worked off, if not well
    awake: threading.Event = field(default_factory=threading.Event)  # while cleared it answers nobody
    is_frozen: bool = False  # while not awake it does not even read
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def public_key(self) -> str:
        """As its settings page shows it: base64 of the SPKI, without armour."""
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(spki).decode()

    def signed(self, events: Sequence[Any] | bytes, timestamp: int) -> tuple[bytes, dict[str, str]]:
        """Body and headers of an event delivery; the body ends in CRLF, as theirs does."""
        body = events if isinstance(events, bytes) else json.dumps(events).encode() + b"\r\n"
        signature = self.key.sign(str(timestamp).encode() + body, ec.ECDSA(SHA256()))
        return body, {SIGNATURE: base64.b64encode(signature).decode(), TIMESTAMP: str(timestamp)}


@contextmanager
def fake_sendgrid() -> Iterator[FakeSendGrid]:
    """A fake on a free port of the loopback address."""
    fake = FakeSendGrid(url="")
    fake.awake.set()

    class Handler(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            is_request = super().parse_request()
            fake.heard.append(self.requestline)
            return is_request

        def do_POST(self) -> None:  # the name that the standard library wants
            if fake.is_frozen:
                fake.awake.wait(60)
            arrived = time()
            body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.requests.append({"path": self.path, "headers": dict(self.headers), "body": body, "at": arrived})
            fake.awake.wait(60)
            reply = fake.script.pop(0) if fake.script else fake.mood or _judge(body)
            if reply.takes or reply.status == 202:
                fake.mails.append(body)
            sleep(reply.hangs)
            if reply.drops:
                self.close_connection = True
                return
            self._answer(reply)

        def _answer(self, reply: Reply) -> None:
            content = b"" if reply.status == 202 else reply.body
            headers = {"X-Message-Id": f"fake-{len(fake.mails)}"} if reply.status == 202 else {}
            try:
                self.send_response(reply.status)
                for name, value in (headers | reply.headers | {"Content-Length": str(len(content))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                pass  # the client has hung up, as the tests of time-outs want it

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the standard library's name
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        fake.awake.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _judge(body: dict[str, Any]) -> Reply:
    """What SendGrid refuses with 400: no sender address, no recipients, too many categories."""
    sender = body.get("from", {}).get("email", "")
    recipients = [to for each in body.get("personalizations", []) for to in each.get("to", [])]
    fine = "@" in sender and recipients and all("@" in to.get("email", "") for to in recipients)
    return Reply() if fine and len(body.get("categories", [])) <= 10 else Reply(400)
