"""An SMTP server that says at each stage what a test wants: any line, nothing (`HANG`), or it leaves (`DROP`)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import time

HANG = "hang"
DROP = "drop"


@dataclass
class FakeSmtp:
    """`says`: the reply by stage. `lines` are the commands that came, `content` what came after DATA.

    `calls`: when conversations began, in Unix seconds. `mails`: when it took mail, and for whom.
    """

    port: int = 0
    says: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    content: bytes = b""
    calls: list[float] = field(default_factory=list)
    mails: list[tuple[float, str]] = field(default_factory=list)
    talking: int = 0
    most_at_once: int = 0
    denied: str = ""  # a regular expression: recipients that are denied relay
    takes: float = 0.0  # seconds that it thinks before each reply

    def reply(self, stage: str) -> str:
        """What is said at a stage unless the test says otherwise."""
        fine = {"greeting": "220 fake ESMTP", "EHLO": "250-fake\r\n250 8BITMIME", "DATA": "354 go on"}
        return self.says.get(stage, fine.get(stage, "250 2.0.0 OK queued as 1"))


@asynccontextmanager
async def fake_smtp(**says: str) -> AsyncIterator[FakeSmtp]:
    """On a free port of the loopback address; `says` by stage: `greeting`, a command's name, `content`."""
    fake = FakeSmtp(says=says)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fake.calls.append(time())
        fake.talking += 1
        fake.most_at_once = max(fake.most_at_once, fake.talking)
        try:
            await _talk(fake, reader, writer)
        except (ConnectionError, _DroppedError):
            pass
        finally:
            fake.talking -= 1
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()


class _DroppedError(Exception):
    """The connection is given up."""


async def _talk(fake: FakeSmtp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(fake.takes)
    await _say(fake.reply("greeting"), reader, writer)
    to = ""
    while line := await reader.readline():
        text = line.decode().rstrip("\r\n")
        fake.lines.append(text)
        verb = text.split(" ", 1)[0].upper()
        await asyncio.sleep(fake.takes)
        is_denied = verb == "RCPT" and fake.denied and re.search(fake.denied, text)
        await _say(f"554 5.7.1 {text[8:]}: Relay access denied" if is_denied else fake.reply(verb), reader, writer)
        to = text if verb == "RCPT" else to
        if verb == "DATA" and fake.reply("DATA").startswith("354"):
            fake.content = await reader.readuntil(b"\r\n.\r\n")
            await _say(fake.reply("content"), reader, writer)
            if fake.reply("content").startswith("250"):
                fake.mails.append((time(), to[to.find("<") + 1 : to.find(">")]))


async def _say(what: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if what == HANG:
        await reader.read()  # until the client leaves
    if what in (HANG, DROP):
        raise _DroppedError
    writer.write(what.encode("utf-8", "surrogateescape") + b"\r\n")
    await writer.drain()
