"""The demo's own process: open the shop once, then let people shop and read their mail until the parent goes."""

from __future__ import annotations

import asyncio
import sys
from random import Random

import httpx
from segment.analytics.client import Client as Segment

from perennial.demo.members import Members
from perennial.demo.people import people
from perennial.demo.process import parent_is_gone, told_by_parent
from perennial.demo.readers import Readers
from perennial.demo.shop import BackOffice
from perennial.demo.shoppers import Visits

CUSTOMERS = 150


def tell(line: str) -> None:
    """One line for the person who watches."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Everything at once, ended by the end of the parent."""
    url, admin_key, write_key = told_by_parent()
    persons = people(CUSTOMERS)
    headers = {"Authorization": f"Bearer {admin_key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client, httpx.AsyncClient() as browser:
        office = BackOffice(client)
        tell("opening the shop ...")
        opened = await office.open(persons)
        tell(f"{CUSTOMERS} customers and their past {'taken in' if opened else 'are there already'}; people come in")
        segment = Segment(write_key, host=url, upload_interval=0.2)
        random = Random()  # noqa: S311  made-up visits, no secrets
        live = asyncio.gather(
            Visits(segment, persons, random, tell).run(),
            Members(office, segment, browser, persons=persons, random=random, tell=tell).run(),
            Readers(office, browser, random, tell).run(),
        )
        gone = asyncio.ensure_future(parent_is_gone())
        await asyncio.wait((live, gone), return_when=asyncio.FIRST_COMPLETED)
        live.cancel()


if __name__ == "__main__":
    asyncio.run(main())
