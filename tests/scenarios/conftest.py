"""The whole product as real processes, with a real SMTP server as the customers' inbox. Nothing is injected."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from perennial.loopback import any_free_port

T = TypeVar("T")
STARTED_WITHIN = 300
SENDGRID_KEY = ec.generate_private_key(ec.SECP256R1())
"""Stands in for the key with which SendGrid signs what it tells."""
_SILENCE = 0.05  # seconds between two looks whether it is over
WEBHOOK_SECRET = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"


@dataclass
class Mailbox:
    """Everything that arrived, by recipient."""

    port: int
    mails: list[tuple[str, EmailMessage]] = field(default_factory=list)
    unanswered: set[str] = field(default_factory=set)
    """Whose mails are taken without a word: what a sender sees that is killed before the answer."""
    unheard: set[str] = field(default_factory=set)
    """For whom the server falls silent before it takes anything."""

    def of(self, address: str) -> list[EmailMessage]:
        """The mails of one address, in order of arrival."""
        return [mail for recipient, mail in self.mails if recipient == address]

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient."""
        while address in self.unheard:
            await asyncio.sleep(_SILENCE)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        """Take one mail in."""
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        mail = message_from_bytes(content, policy=policy.default)
        self.mails += [(recipient, mail) for recipient in envelope.rcpt_tos]
        while self.unanswered.intersection(envelope.rcpt_tos):
            await asyncio.sleep(_SILENCE)
        return f"250 Message queued as {len(self.mails)}"


@dataclass
class Stack:
    """A running `perennial up`: its addresses and keys, a client with the admin key, and its data."""

    addresses: dict[str, str]
    mailbox: Mailbox
    client: httpx.Client
    folder: Path

    def pid(self, name: str) -> int:
        """The process that was started last as `api`, `router`, `worker` or `temporal`."""
        pid_file = self.folder / ("temporal/temporal.pid" if name == "temporal" else f"processes/{name}.pid")
        return int(pid_file.read_text().split()[0])

    def signal(self, name: str, number: signal.Signals) -> None:
        """Stop, continue or kill a process. Whoever is killed is started again by `perennial up`."""
        os.kill(self.pid(name), number)

    def publish(self, journey: dict[str, Any]) -> None:
        """Save a journey and publish it."""
        saved = self.client.put(f"/v1/journeys/{journey['journey']}", json=journey)
        assert saved.status_code == 200, saved.text
        assert not [f for f in saved.json()["findings"] if f["severity"] == "error"], saved.text
        published = self.client.post(f"/v1/journeys/{journey['journey']}/publish", json={})
        assert published.status_code == 200, published.text

    def get(self, path: str) -> dict[str, Any]:
        """One GET that must succeed."""
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result


def eventually(read: Callable[[], T], expected: Callable[[T], bool], within: float = 120) -> T:
    """Read again and again until it is as expected; fails with what was read last."""
    deadline = time.monotonic() + within
    while True:
        value = read()
        if expected(value):
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {within} s"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def mailbox() -> Iterator[Mailbox]:
    """A real SMTP server on this machine."""
    box = Mailbox(any_free_port())
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    yield box
    controller.stop()


@pytest.fixture(scope="session")
def stack(server_folder: Path, mailbox: Mailbox) -> Iterator[Stack]:
    """`perennial up` in an empty folder, as a newcomer would start it, sending over SMTP."""
    folder = server_folder / "stack"
    folder.mkdir(mode=0o711)
    log = folder / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "perennial", "up"],
            cwd=folder,
            env=os.environ | _settings(folder, mailbox),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        addresses = _addresses(folder / ".perennial" / "dev.json", process, log)
        headers = {"Authorization": f"Bearer {addresses['admin_key']}"}
        with httpx.Client(base_url=addresses["api"], headers=headers, timeout=30) as client:
            yield Stack(addresses, mailbox, client, folder / ".perennial")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _settings(folder: Path, mailbox: Mailbox) -> dict[str, str]:
    listeners = ("API", "ROUTER", "WORKER", "POSTGRES", "TEMPORAL", "TEMPORAL_UI")
    ports = {f"PERENNIAL_{name}_PORT": str(any_free_port()) for name in listeners}
    return ports | {
        "PERENNIAL_DATA_DIR": str(folder / ".perennial"),
        "PERENNIAL_EMAIL_PROVIDER": "smtp",
        "PERENNIAL_SMTP_PORT": str(mailbox.port),
        "PERENNIAL_SMTP_SECURITY": "none",
        "PERENNIAL_SENDGRID_WEBHOOK_KEY": base64.b64encode(_public(SENDGRID_KEY)).decode(),
        "PERENNIAL_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "PERENNIAL_ALLOW_PRIVATE_CALLS": "true",  # the shop's systems of these tests are on this machine
    }


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _addresses(file: Path, process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    def read() -> dict[str, str] | None:
        assert process.poll() is None, log.read_text()[-4_000:]
        return json.loads(file.read_text()) if file.exists() else None

    found = eventually(read, lambda addresses: addresses is not None, within=STARTED_WITHIN)
    assert found is not None
    return found
