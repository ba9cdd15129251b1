"""Lists: `?limit=&cursor=` and `{"data": [..], "next_cursor": null}`.

A cursor names the last row seen, never an offset, so that rows arriving meanwhile are neither skipped nor shown twice.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar
from uuid import UUID

import orjson
from fastapi import Query
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from domain.errors import FieldError, NotFound
from domain.instants import Instant

Item = TypeVar("Item")
Row = TypeVar("Row")
Position = TypeVar("Position")

MAX_LIMIT = 200
TimeAndId = TypeAdapter(tuple[Instant, UUID])
Id = TypeAdapter(tuple[UUID])
"""Where lists stand that are ordered by time: the time of the last row and its id."""
Word = Annotated[str, Field(max_length=300, pattern=r"^[^\x00]*$")]
Text = TypeAdapter(tuple[Word])
TimeAndText = TypeAdapter(tuple[Instant, Word])
TimeAndTexts = TypeAdapter(tuple[Instant, Word, Word])
Number = TypeAdapter(tuple[Annotated[int, Field(ge=0, lt=2**63)]])


class Page(BaseModel, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last."""

    data: list[Item]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """How many rows are wanted, after which one."""

    limit: int
    cursor: str | None

    def after(self, shape: TypeAdapter[Position]) -> Position | None:
        """The position to go on from, None at the start. Raises NotFound for a cursor that this list did not make."""
        return None if self.cursor is None else _read(self.cursor, shape)

    @property
    def probe(self) -> int:
        """How many rows to ask the database for: one more than wanted tells whether there is a next page."""
        return self.limit + 1


def page_request(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many rows at most.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=2_000, description="`next_cursor` of the page before; absent: from the start.")
    ] = None,
) -> PageRequest:
    """The dependency of every list."""
    return PageRequest(limit, cursor)


def page(
    rows: Sequence[Row],
    request: PageRequest,
    show: Callable[[Row], Item],
    position: Callable[[Row], tuple[object, ...]],
) -> Page[Item]:
    """The answer for `request` from up to `request.probe` rows; `position` names a row for the cursor."""
    shown = rows[: request.limit]
    more = len(rows) > request.limit
    return Page(data=[show(row) for row in shown], next_cursor=_write(position(shown[-1])) if more else None)


def _write(position: tuple[object, ...]) -> str:
    return urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def _read(cursor: str, shape: TypeAdapter[Position]) -> Position:
    try:
        return shape.validate_json(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, ValidationError) as error:
        fault = FieldError("/query/cursor", "Use the next_cursor of the page before, unchanged.", "bad_cursor")
        raise NotFound("There is no such page in this list.", code="bad_cursor", errors=(fault,)) from error
