"""The declarative root: naming, column types and how Python types become PostgreSQL types."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeVar

from sqlalchemy import ARRAY, BigInteger, ColumnElement, DateTime, MetaData, Text, any_, func, literal
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Json = Annotated[dict[str, Any], mapped_column(JSONB)]  # any JSON object
JsonList = Annotated[list[Any], mapped_column(JSONB)]  # any JSON array
Created = Annotated[datetime, mapped_column(server_default=func.now())]
"""Row bookkeeping only; business time is always passed in."""


Value = TypeVar("Value")


class Table(DeclarativeBase):
    """Root of all tables. Rows are read and written with Core-style statements; there are no relationships."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


def among(column: InstrumentedAttribute[Value], values: Iterable[Value]) -> ColumnElement[bool]:
    """Whether a column holds one of these values, as one array.

    `in_` writes a parameter for each of them: another statement for every number of values, to be rendered, parsed and
    planned anew.
    """
    return column == any_(literal(list(values), ARRAY(column.type)))
