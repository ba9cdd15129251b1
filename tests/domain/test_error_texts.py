"""Texts of exceptions are kept without what they quote."""

from __future__ import annotations

import pytest

from domain.error_texts import without_quotations

CANARY = 'O\'Brien "Kim" <kim@example.com>'


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"could not convert string to float: {CANARY!r}", "could not convert string to float: …"),
        (f'invalid input syntax for type uuid: "{CANARY}"', "invalid input syntax for type uuid: …"),
        (f"can't read {CANARY!r} nor {'other'!r}", "can't read …"),
        (f'duplicate key value violates "uq"\nDETAIL:  Key (name)=({CANARY}) already exists.', "duplicate key value"),
        ("invalid input 'cut off in the mid", "invalid input …"),
        ("the server closed the connection", "the server closed the connection"),
    ],
)
def test_what_an_error_quotes_is_left_out_and_its_own_words_stay(text: str, kept: str) -> None:
    shown = without_quotations(text)

    assert shown.startswith(kept)
    assert not [word for word in ("Brien", "Kim", "kim@", "other", "cut") if word in shown]
