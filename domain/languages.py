"""Languages: how documents name them, and which ones a customer reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import StringConstraints

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}([_-][A-Za-z0-9]{2,8}){0,2}$")]


def languages_of(traits: Mapping[str, object], observed: str | None = None) -> tuple[str, ...]:
    """The languages of a customer, best first: the traits `locale` and `language`, then what a client reported."""
    said = (traits.get("locale"), traits.get("language"), observed)
    return tuple(each for each in said if isinstance(each, str) and each)


def canonical(language: str) -> str:
    """One spelling for `de_AT` and `de-at`."""
    return language.replace("_", "-").lower()
