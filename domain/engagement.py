"""Who opened or clicked: a person, a machine, or nobody can tell.

Mail gateways fetch every link within moments of delivery, and privacy proxies load pictures nobody looks at. All of
it is recorded; only what is judged human counts in conditions, waits and reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address, ip_network

INHUMAN = timedelta(milliseconds=500)
"""Nobody receives, reads and acts within this time of the provider's taking the message. More would take people who sit
before their inbox for machines; scanners that take their time give themselves away by a burst."""
BURST = timedelta(seconds=2)
"""Two different links within this time: a scanner walks through the message."""

_SCANNERS = re.compile(
    r"bot\b|crawl|spider|scan|barracuda|proofpoint|mimecast|ironport|safelinks|trendmicro|symantec|forcepoint|"
    r"headless|urlpreview|facebookexternalhit|slurp",
    re.IGNORECASE,
)
_PICTURE_PROXIES = re.compile(r"GoogleImageProxy|YahooMailProxy|ggpht", re.IGNORECASE)
_APPLE = ip_network("17.0.0.0/8")


class Actor(StrEnum):
    """Who did it."""

    HUMAN = "human"
    MACHINE = "machine"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a tracked link or picture. `since_accepted` None: the message was never known to be accepted."""

    method: str
    user_agent: str
    since_accepted: timedelta | None
    address: str | None = None
    is_prefetch: bool = False
    is_burst: bool = False  # another link of the message was fetched within BURST


def judge_click(visit: Visit) -> Actor:
    """HEAD, prefetch, a scanner's name, a burst or inhuman speed tell a machine; anything else is a person."""
    if visit.method == "HEAD" or visit.is_prefetch or visit.is_burst or _SCANNERS.search(visit.user_agent):
        return Actor.MACHINE
    if visit.since_accepted is None or visit.since_accepted < INHUMAN:
        return Actor.MACHINE
    return Actor.HUMAN


def judge_open(visit: Visit) -> Actor:
    """Apple's proxy loads everything unread and says only `Mozilla/5.0`; Google's and Yahoo's hide who looked."""
    if visit.method == "HEAD" or visit.is_prefetch or _SCANNERS.search(visit.user_agent):
        return Actor.MACHINE
    if visit.user_agent.strip() == "Mozilla/5.0" or _is_apple(visit.address):
        return Actor.MACHINE
    if visit.since_accepted is None or visit.since_accepted < INHUMAN:
        return Actor.MACHINE
    if not visit.user_agent or _PICTURE_PROXIES.search(visit.user_agent):
        return Actor.UNKNOWN
    return Actor.HUMAN


def _is_apple(address: str | None) -> bool:
    try:
        return address is not None and ip_address(address) in _APPLE
    except ValueError:
        return False
