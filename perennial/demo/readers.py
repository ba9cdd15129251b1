"""People who read their mail: they open some, click in some of that, and now and then unsubscribe by one click."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from html import unescape
from random import Random

import httpx

from perennial.demo.shop import BackOffice, ShownMessage

LOOK_EVERY_SECONDS = 3.0
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_OPENED, _CLICKED, _UNSUBSCRIBED = 0.55, 0.4, 0.02
_PIXEL = re.compile(r'src="([^"]+/o/[^"]+)"')
_LINK = re.compile(r'href="([^"]+/c/[^"]+)"')


class Readers:
    """Looks into the inboxes every few seconds until cancelled; every message is read once or not at all."""

    def __init__(
        self, office: BackOffice, browser: httpx.AsyncClient, random: Random, tell: Callable[[str], None]
    ) -> None:
        self._office = office
        self._browser = browser
        self._random = random
        self._tell = tell
        self._seen: set[str] = set()

    async def run(self) -> None:
        """Never returns."""
        while True:
            for message in await self._office.delivered():
                if message.id not in self._seen:
                    self._seen.add(message.id)
                    await self._read(message)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _read(self, message: ShownMessage) -> None:
        if self._random.random() > _OPENED:
            return
        html = await self._office.html_of(message.id)
        await self._fetch(_PIXEL, html)
        if self._random.random() < _CLICKED:
            await self._fetch(_LINK, html)
            self._tell(f"{message.to} clicked in “{message.subject}”")
        if self._random.random() < _UNSUBSCRIBED and (link := await self._office.unsubscribe_link(message.id)):
            await self._browser.post(link, data={"List-Unsubscribe": "One-Click"})
            self._tell(f"{message.to} unsubscribed")

    async def _fetch(self, pattern: re.Pattern[str], html: str) -> None:
        """As a browser would, but never farther than our own host: the shop behind the links does not exist."""
        found = pattern.search(html)
        if found:
            await self._browser.get(unescape(found.group(1)), headers={"User-Agent": BROWSER}, follow_redirects=False)
