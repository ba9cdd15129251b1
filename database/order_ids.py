"""Ids that events name, in SQL as domain/commerce.py reads them: 1001.0 and "1001.0" are "1001"."""

from __future__ import annotations

from typing import Final

from domain.commerce import LONGEST_ID, NO_IDS, WHOLE_FLOAT
from domain.money import BLANKS

_BARE = f"regexp_replace(btrim(events.properties ->> 'order_id', '{BLANKS}'), '{WHOLE_FLOAT}', '\\1')"
_NONE = ", ".join(f"'{each}'" for each in sorted(NO_IDS))

ORDER_ID: Final = f"""CASE jsonb_typeof(events.properties -> 'order_id')
    WHEN 'number' THEN CAST(trim_scale(CAST(events.properties ->> 'order_id' AS numeric)) AS text)
    WHEN 'string' THEN CASE
        WHEN length({_BARE}) BETWEEN 1 AND {LONGEST_ID} AND lower({_BARE}) NOT IN ({_NONE}) THEN {_BARE} END
    END"""
"""The shop's id of the order that a row of `events` names; null for none."""
