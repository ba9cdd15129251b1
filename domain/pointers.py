"""JSON pointers (RFC 6901) to the places in a document that its model complains about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from domain.payload import escape_pointer

_UNKNOWN: Final = object()


class _Place(NamedTuple):
    """A place in the document, and how many parts of the location were passed over on the way there."""

    value: Any  # any JSON
    passed_over: int = 0
    last_counted: bool = True


def pointer_to(
    location: Sequence[str | int],
    document: Any,  # any JSON
    *,
    missing: bool = False,
    value: object = _UNKNOWN,
) -> str:
    """The pointer of a pydantic location. The model's own words in it (the tags of unions) are no part of the document.

    A tag is often also the name of a member (`{"trait": ...}` is tagged `trait`), so every reading of the location is
    followed, and the best one is taken: the place that holds `value` (pydantic's `input`), else the one that uses the
    location's last part and passes over the fewest. `missing`: the last part names a member that should be there.
    """
    inner = location[:-1] if missing and location else location
    places: dict[tuple[str | int, ...], _Place] = {(): _Place(document)}
    for part in inner:
        places = _next(places, part)
    parts = min(places, key=lambda path: _rank(places[path], value))
    if missing and location:
        parts = (*parts, location[-1])
    return "".join(f"/{escape_pointer(str(part))}" for part in parts)


def _next(places: dict[tuple[str | int, ...], _Place], part: str | int) -> dict[tuple[str | int, ...], _Place]:
    """Every place after one more part of the location, each by the reading that passes over the fewest parts."""
    found: dict[tuple[str | int, ...], _Place] = {}
    for path, place in places.items():
        for longer, reached in _readings(path, place, part):
            if longer not in found or reached.passed_over < found[longer].passed_over:
                found[longer] = reached
    return found


def _readings(
    path: tuple[str | int, ...], place: _Place, part: str | int
) -> Iterator[tuple[tuple[str | int, ...], _Place]]:
    yield path, _Place(place.value, place.passed_over + 1, last_counted=False)
    match place.value, part:
        case dict() as members, str() if part in members:
            yield (*path, part), _Place(members[part], place.passed_over)
        case list() as items, int() if 0 <= part < len(items):
            yield (*path, part), _Place(items[part], place.passed_over)
        case dict() as members, int() if 0 <= part < len(members):
            name = list(members)[part]  # a mapping that the model reads as a list
            yield (*path, name), _Place(members[name], place.passed_over)


def _rank(place: _Place, value: object) -> tuple[bool, bool, bool, int]:
    is_same, is_equal = place.value is value, type(place.value) is type(value) and place.value == value
    return (not is_same, not is_equal, not place.last_counted, place.passed_over)
