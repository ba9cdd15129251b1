"""`case: ignore` means the same letters to PostgreSQL, which judges customers, and to Python, which judges events."""

from __future__ import annotations

import sys

from sqlalchemy import text

from database.session import Database
from domain.conditions.values import folded

_FOLDING = text("""
    WITH letters AS (
        SELECT chr(code) AS letter FROM generate_series(1, CAST(:last AS int)) AS code
        WHERE code NOT BETWEEN 55296 AND 57343  -- halves of surrogate pairs, which are no characters
    ), folding AS (SELECT letter, casefold(letter COLLATE pg_unicode_fast) AS folded FROM letters)
    SELECT letter, folded FROM folding WHERE letter COLLATE "C" <> folded COLLATE "C"
""")


async def test_every_letter_there_is_folds_alike_in_both_evaluators(database: Database) -> None:
    async with database.read() as session:
        in_postgres = {row[0]: row[1] for row in await session.execute(_FOLDING, {"last": sys.maxunicode})}

    letters = map(chr, range(1, sys.maxunicode + 1))
    in_python = {letter: folded(letter) for letter in letters if folded(letter) != letter}
    assert in_python == in_postgres
