"""What an erasure leaves of a personal value: a keyed hash, good for recognising the value and for nothing else."""

from __future__ import annotations

import hashlib

from domain.addresses import canonical_address, spellings_of
from domain.mailboxes import mailbox


def pseudonym(key: bytes, kind: str, value: str) -> bytes:
    """32 bytes for a value of a kind (`email`, `user`, `anonymous`). Without the key nobody can try values out."""
    return hashlib.blake2b(f"{kind}\x00{value}".encode(), key=key[:64], digest_size=32).digest()


def address_pseudonym(key: bytes, channel: str, address: str) -> bytes:
    """The same for a mail address or phone number, however it is spelt (domain/addresses.py)."""
    return pseudonym(key, channel, canonical_address(channel, address))


def mailbox_pseudonym(key: bytes, channel: str, address: str, purpose: str = "") -> bytes:
    """The same for the mailbox that an address leads to, `+tag` and dots left out (domain/mailboxes.py). It is another
    one for each purpose that it is kept for.
    """
    found = mailbox(address) if channel == "email" else None
    kind = f"{channel} mailbox {purpose}".rstrip()
    return pseudonym(key, kind, found or canonical_address(channel, address))


def address_pseudonyms(key: bytes, channel: str, address: str) -> list[bytes]:
    """All under which an address may be kept: releases before the canonical spelling went by what was written."""
    spellings = dict.fromkeys([canonical_address(channel, address), *spellings_of(channel, address)])
    return [pseudonym(key, channel, spelling) for spelling in spellings]
