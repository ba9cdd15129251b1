"""The shop's id of the order that an event names, in SQL as domain/commerce.py reads it: the number 1001.0 is 1001."""

from __future__ import annotations

ORDER_ID = """CASE jsonb_typeof(events.properties -> 'order_id')
    WHEN 'number' THEN CAST(trim_scale(CAST(events.properties ->> 'order_id' AS numeric)) AS text)
    ELSE events.properties ->> 'order_id' END"""
