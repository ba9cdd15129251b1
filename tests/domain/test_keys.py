"""The written form of keys, and what a key may do until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.ids import KeyId
from domain.keys import (
    ALPHABET,
    ID_LENGTH,
    SECRET_LENGTH,
    KeyKind,
    Scope,
    StoredKey,
    checked_scopes,
    digest,
    read_id,
    write_out,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WRITTEN = write_out("a" * ID_LENGTH, "b" * SECRET_LENGTH)
OTHER = write_out("a" * ID_LENGTH, "c" * SECRET_LENGTH)
KEY = StoredKey(
    KeyId("a" * ID_LENGTH), "shop", "shop", KeyKind.SECRET, frozenset({Scope.EVENTS_WRITE}), digest(WRITTEN)
)


def words(length: int) -> st.SearchStrategy[str]:
    return st.text(ALPHABET, min_size=length, max_size=length)


@given(words(ID_LENGTH), words(SECRET_LENGTH))
def test_the_id_is_read_from_the_written_form(key_id: str, secret: str) -> None:
    assert read_id(write_out(key_id, secret)) == key_id


@given(words(ID_LENGTH), words(SECRET_LENGTH), st.data())
def test_a_typing_error_is_told_by_the_check(key_id: str, secret: str, data: st.DataObject) -> None:
    written = write_out(key_id, secret)
    at = data.draw(st.integers(0, len(written) - 1))
    wrong = data.draw(st.sampled_from(ALPHABET).filter(lambda character: character != written[at]))

    assert read_id(written[:at] + wrong + written[at + 1 :]) is None


@given(st.text())
def test_anything_else_is_no_key(written: str) -> None:
    assert read_id(written) is None


def test_a_key_is_accepted_until_it_is_revoked() -> None:
    assert KEY.accepts(WRITTEN, NOW)
    assert not KEY.accepts(OTHER, NOW)
    assert not replace(KEY, revoked_at=NOW).accepts(WRITTEN, NOW)


def test_during_a_rotation_both_secrets_are_good() -> None:
    rotated = replace(
        KEY, secret_hash=digest(OTHER), previous_hash=digest(WRITTEN), previous_until=NOW + timedelta(hours=1)
    )

    assert rotated.accepts(OTHER, NOW)
    assert rotated.accepts(WRITTEN, NOW)
    assert not rotated.accepts(WRITTEN, NOW + timedelta(hours=1))
    assert not replace(rotated, revoked_at=NOW).accepts(WRITTEN, NOW)


def test_writing_includes_reading_and_admin_everything() -> None:
    writer = replace(KEY, scopes=frozenset({Scope.CUSTOMERS_WRITE}))
    reader = replace(KEY, scopes=frozenset({Scope.CUSTOMERS_READ}))
    admin = replace(KEY, scopes=frozenset({Scope.ADMIN}))

    assert writer.may(Scope.CUSTOMERS_READ)
    assert writer.may(Scope.CUSTOMERS_WRITE)
    assert not writer.may(Scope.JOURNEYS_READ)
    assert not reader.may(Scope.CUSTOMERS_WRITE)
    assert not writer.may(Scope.ADMIN)
    assert all(admin.may(scope) for scope in Scope)


@pytest.mark.parametrize(
    ("kind", "scopes", "code"),
    [
        (KeyKind.SECRET, frozenset(), "scope_missing"),
        (KeyKind.BROWSER, frozenset({Scope.ADMIN}), "scope_not_allowed"),
        (KeyKind.BROWSER, frozenset({Scope.EVENTS_WRITE, Scope.CUSTOMERS_READ}), "scope_not_allowed"),
    ],
)
def test_scopes_that_a_kind_may_not_have_are_refused(kind: KeyKind, scopes: frozenset[Scope], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked_scopes(kind, scopes)

    assert refused.value.code == code


def test_only_secret_keys_are_trusted() -> None:
    assert KEY.is_trusted
    assert not replace(KEY, kind=KeyKind.BROWSER).is_trusted
