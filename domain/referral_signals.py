"""How suspicious a claim is: signals of fraud, each with its weight, added up to allow, review or reject.

No signal but the payment rejects alone: families share devices, flats share addresses, offices share networks. What
only a browser named rejects nothing, however much of it there is: a person decides, for anybody can name anything.
Where the thresholds come from: Smile's and Yotpo's published rules (ten referrals from one network within a week, the
same device, similar addresses), which also send what is doubtful to a person.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Final

from domain.mailboxes import mailbox


class SignalKind(StrEnum):
    """What identifies a person or a household; kept only as a keyed hash."""

    IP = "ip"
    NETWORK = "network"  # the /24 or /48 around the address
    DEVICE = "device"
    ADDRESS = "address"
    PAYMENT = "payment"


class Suspicion(StrEnum):
    """Why a claim is doubted."""

    SAME_DEVICE = "same_device"
    SAME_ADDRESS = "same_address"
    SAME_PAYMENT = "same_payment"
    SAME_IP = "same_ip"
    SAME_CONTACT = "same_contact"
    SIMILAR_EMAIL = "similar_email"
    DEVICE_USED_BEFORE = "device_used_before"
    PAYMENT_USED_BEFORE = "payment_used_before"
    MANY_FROM_NETWORK = "many_from_network"
    ORDERED_BEFORE = "ordered_before"  # found out after the reward, which stays


class Verdict(StrEnum):
    """What becomes of a claim."""

    ALLOW = "allow"
    REVIEW = "review"
    REJECT = "reject"


WEIGHTS: Final[Mapping[Suspicion, int]] = {
    Suspicion.SAME_PAYMENT: 100,
    Suspicion.PAYMENT_USED_BEFORE: 60,
    Suspicion.SAME_DEVICE: 60,
    Suspicion.DEVICE_USED_BEFORE: 50,
    Suspicion.MANY_FROM_NETWORK: 50,
    Suspicion.SAME_CONTACT: 50,
    Suspicion.SAME_ADDRESS: 40,
    Suspicion.SIMILAR_EMAIL: 30,
    Suspicion.SAME_IP: 20,
    Suspicion.ORDERED_BEFORE: 0,
}
REVIEW_FROM: Final = 50
REJECT_FROM: Final = 100
NETWORK_WINDOW: Final = timedelta(days=7)
NETWORK_MANY: Final = 10


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a claim's signals. `network_claims`: earlier claims from its network within the window.

    `doubted`: what would be suspected besides if browsers were believed.
    """

    shared_with_referrer: frozenset[SignalKind] = frozenset()
    used_by_other_friends: frozenset[SignalKind] = frozenset()
    network_claims: int = 0
    has_similar_email: bool = False
    doubted: frozenset[Suspicion] = frozenset()


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict, with what led to it."""

    verdict: Verdict
    score: int
    suspicions: tuple[Suspicion, ...]


SHARED: Final = {
    SignalKind.DEVICE: Suspicion.SAME_DEVICE,
    SignalKind.ADDRESS: Suspicion.SAME_ADDRESS,
    SignalKind.PAYMENT: Suspicion.SAME_PAYMENT,
    SignalKind.IP: Suspicion.SAME_IP,
}
_USED = {
    SignalKind.DEVICE: Suspicion.DEVICE_USED_BEFORE,
    SignalKind.PAYMENT: Suspicion.PAYMENT_USED_BEFORE,
}


def assess(evidence: Evidence) -> Assessment:
    """Add the weights up. Only what trusted sources said rejects."""
    found = {SHARED[kind] for kind in evidence.shared_with_referrer if kind in SHARED}
    found |= {_USED[kind] for kind in evidence.used_by_other_friends if kind in _USED}
    if evidence.network_claims >= NETWORK_MANY:
        found.add(Suspicion.MANY_FROM_NETWORK)
    if evidence.has_similar_email:
        found.add(Suspicion.SIMILAR_EMAIL)
    proven = sum(WEIGHTS[each] for each in found)
    found |= evidence.doubted
    score = sum(WEIGHTS[each] for each in found)
    verdict = Verdict.REJECT if proven >= REJECT_FROM else Verdict.REVIEW if score >= REVIEW_FROM else Verdict.ALLOW
    return Assessment(verdict, score, tuple(sorted(found)))


def is_similar_email(address: str | None, others: Collection[str | None]) -> bool:
    """Whether an address is made after another one: the same name before the @ but for digits, dots and dashes."""
    shape = _shape(address)
    return shape is not None and any(shape == _shape(other) for other in others)


def _shape(address: str | None) -> str | None:
    """What is left of the local part, when it is long enough to be nobody else's by chance."""
    local = (mailbox(address) or "").rpartition("@")[0]
    letters = "".join(each for each in unicodedata.normalize("NFKD", local) if each.isalpha())
    return letters if len(letters) >= 6 else None


def normal_ip(address: str) -> str:
    """An address in its one written form, IPv4 also where IPv6 wraps it; what is no address stays as it is."""
    try:
        found = ip_address(address.strip())
    except ValueError:
        return address
    wrapped = found.ipv4_mapped if found.version == 6 else None
    return str(wrapped or found)


def network_of(address: str) -> str | None:
    """The network around an address, /24 or /48; None for what is no public address."""
    try:
        found = ip_address(normal_ip(address))
    except ValueError:
        return None
    if found.is_private or found.is_loopback or found.is_link_local:
        return None
    return str(ip_network(f"{found}/{24 if found.version == 4 else 48}", strict=False))
