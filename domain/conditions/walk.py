"""The tree of a condition: its leaves with their pointers, and which leaf decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from domain.conditions.model import AllHold, AnyHolds, Condition, NotHolds


def leaves(condition: Condition, pointer: str = "") -> Iterator[tuple[str, Condition]]:
    """Every condition that is no logic form, with its JSON pointer (RFC 6901) from the root, in the order written."""
    for place, inner in parts(condition):
        yield from leaves(inner, pointer + place)
    if not isinstance(condition, AllHold | AnyHolds | NotHolds):
        yield pointer, condition


def parts(condition: Condition) -> list[tuple[str, Condition]]:
    """The conditions directly inside a logic form, each with its pointer from the form; none for a leaf."""
    match condition:
        case AllHold(all=inner):
            return [(f"/all/{position}", one) for position, one in enumerate(inner)]
        case AnyHolds(any=inner):
            return [(f"/any/{position}", one) for position, one in enumerate(inner)]
        case NotHolds(not_=one):
            return [("/not", one)]
        case _:
            return []


def failed_leaf(condition: Condition, truths: Mapping[str, bool]) -> str | None:
    """The first leaf that made the condition false, None if it holds. `truths`: what each leaf's pointer came to.

    An `any` of which nothing holds answers its first leaf, an empty one itself; below a `not` it is the leaf that held.
    """
    holds, decisive = _decided(condition, "", truths)
    return None if holds else decisive


def _decided(condition: Condition, pointer: str, truths: Mapping[str, bool]) -> tuple[bool, str]:
    inner = [_decided(one, pointer + place, truths) for place, one in parts(condition)]
    match condition:
        case AllHold():
            return next((one for one in inner if not one[0]), (True, inner[0][1] if inner else pointer))
        case AnyHolds():
            return next((one for one in inner if one[0]), (False, inner[0][1] if inner else pointer))
        case NotHolds():
            [(holds, decisive)] = inner
            return not holds, decisive
        case _:
            return truths[pointer], pointer
