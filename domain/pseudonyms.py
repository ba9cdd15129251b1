"""What an erasure leaves of a personal value: a keyed hash, good for recognising the value and for nothing else."""

from __future__ import annotations

import hashlib


def pseudonym(key: bytes, kind: str, value: str) -> bytes:
    """32 bytes for a value of a kind (`email`, `user`, `anonymous`). Without the key nobody can try values out."""
    return hashlib.blake2b(f"{kind}\x00{value}".encode(), key=key[:64], digest_size=32).digest()


def address_pseudonym(key: bytes, channel: str, address: str) -> bytes:
    """The same for a mail address or phone number, whose case and outer blanks do not matter."""
    return pseudonym(key, channel, address.strip().lower())
