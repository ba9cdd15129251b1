"""API keys: kinds, scopes and the written form `pk_<id>_<secret>_<check>`. Only the SHA-256 of a key is ever stored."""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.errors import Invalid
from domain.ids import KeyId

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_LENGTH = 12
SECRET_LENGTH = 32  # 190 random bits
_CHECK_LENGTH = 6
_ID = re.compile(rf"[0-9A-Za-z]{{{ID_LENGTH}}}")
_FORM = re.compile(rf"pk_([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH}}}_[0-9A-Za-z]{{{_CHECK_LENGTH}}}")


class KeyKind(StrEnum):
    """A `secret` key stays on servers; a `browser` key is public, so it may only post behaviour."""

    SECRET = "secret"  # noqa: S105  # the kind, not a secret
    BROWSER = "browser"


class Scope(StrEnum):
    """What a key may do. `x:write` includes `x:read`; `admin` includes everything."""

    EVENTS_WRITE = "events:write"
    JOURNEYS_READ = "journeys:read"
    JOURNEYS_WRITE = "journeys:write"
    TEMPLATES_READ = "templates:read"
    TEMPLATES_WRITE = "templates:write"
    CUSTOMERS_READ = "customers:read"
    CUSTOMERS_WRITE = "customers:write"
    MESSAGES_READ = "messages:read"
    SETTINGS_READ = "settings:read"
    SETTINGS_WRITE = "settings:write"
    METRICS_READ = "metrics:read"
    LOYALTY_READ = "loyalty:read"
    LOYALTY_WRITE = "loyalty:write"
    ADMIN = "admin"


BROWSER_SCOPES = frozenset({Scope.EVENTS_WRITE})
"""The most that a key may do which everybody can read."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is known of a key. During a rotation `previous_hash` is good until `previous_until`."""

    id: KeyId
    name: str
    source: str
    kind: KeyKind
    scopes: frozenset[Scope]
    secret_hash: bytes
    previous_hash: bytes | None = None
    previous_until: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    @property
    def is_trusted(self) -> bool:
        """Whether what comes in under this key may create revenue and points."""
        return self.kind is KeyKind.SECRET

    def may(self, scope: Scope) -> bool:
        """Whether this key reaches as far as `scope`."""
        writing = scope.value.removesuffix(":read") + ":write"
        return bool({Scope.ADMIN, scope} & self.scopes) or any(held.value == writing for held in self.scopes)

    def accepts(self, written: str, as_of: datetime) -> bool:
        """Whether `written` is this key, now. Compares in constant time. A browser key is public, so its id will do."""
        if self.kind is KeyKind.BROWSER and written == self.id:
            return self.revoked_at is None
        presented = digest(written)
        is_current = hmac.compare_digest(presented, self.secret_hash)
        is_previous = (
            self.previous_hash is not None
            and hmac.compare_digest(presented, self.previous_hash)
            and self.previous_until is not None
            and as_of < self.previous_until
        )
        return (is_current or is_previous) and self.revoked_at is None


def write_out(key_id: str, secret: str) -> str:
    """The written form; the check lets secret scanners and typing errors be told without asking the database."""
    body = f"pk_{key_id}_{secret}"
    return f"{body}_{_check(body)}"


def read_id(written: str) -> KeyId | None:
    """The id within a well-formed key whose check fits, else None."""
    match = _FORM.fullmatch(written)
    if match is None:
        return None
    body, _, check = written.rpartition("_")
    return KeyId(match[1]) if check == _check(body) else None


def read_public_id(written: str) -> KeyId | None:
    """The id of a browser key, where it stands for the key (the SDKs' settings name it so); else None."""
    return KeyId(written) if _ID.fullmatch(written) else None


def digest(written: str) -> bytes:
    """What is stored of a key: SHA-256, 32 bytes. No salt or stretching is needed for 190 random bits."""
    return hashlib.sha256(written.encode()).digest()


def checked_scopes(kind: KeyKind, scopes: frozenset[Scope]) -> frozenset[Scope]:
    """The scopes, if a key of that kind may have them; raises Invalid `scope_not_allowed`."""
    if not scopes:
        raise Invalid("a key needs at least one scope", code="scope_missing")
    if kind is KeyKind.BROWSER and not scopes <= BROWSER_SCOPES:
        raise Invalid("a browser key is public: events:write is all it may have", code="scope_not_allowed")
    return scopes


def _check(body: str) -> str:
    """CRC-32 in base 62, six digits: no secret, only a check sum."""
    rest = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECK_LENGTH):
        rest, digit = divmod(rest, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
