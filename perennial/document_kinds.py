"""The kinds of documents that live in files, in which order they need each other, and how their keys are ordered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from database.published import MODELS
from domain.conditions.operators import Operator
from domain.drafts import read_draft
from domain.journeys.definition import JourneyDefinition
from domain.journeys.uses import uses_of
from domain.templates import LAYOUT

Document = Mapping[str, Any]  # any JSON object

KINDS: Final = ("template", "reward", "programme", "challenge", "contest", "journey")
"""Each needs at most those before it and its own."""

_NAMED_BY: Final = {
    "unknown_template": "template",
    "unknown_reward": "reward",
    "unknown_challenge": "challenge",
    "unknown_journey": "journey",
}
"""The findings about a document that is missing, and the kind of it."""

_OPERATORS: Final = frozenset(Operator)


class Name(NamedTuple):
    """What a document is called."""

    kind: str
    key: str


def plural(kind: str) -> str:
    """As in the API's paths."""
    return f"{kind}s"


def in_order(documents: Mapping[Name, Document]) -> list[Name]:
    """So that each comes after those that it needs: the layout before other templates, what starts after the started.

    Journeys that start each other stand in some order.
    """
    ordered: dict[Name, None] = {}

    def add(name: Name, above: frozenset[Name]) -> None:
        if name in ordered or name in above or name not in documents:
            return
        for needed in _needs(name, documents[name]):
            add(needed, above | {name})
        ordered[name] = None

    for name in sorted(documents, key=lambda name: (KINDS.index(name.kind), name.key)):
        add(name, frozenset())
    return list(ordered)


def _needs(name: Name, document: Document) -> Iterator[Name]:
    match name.kind:
        case "template" if name.key != LAYOUT:
            yield Name("template", LAYOUT)
        case "challenge":
            yield from (Name("challenge", str(key)) for key in document.get("requires") or ())
        case "journey":
            definition = read_draft(JourneyDefinition, document).document  # None: the API says what is wrong with it
            if isinstance(definition, JourneyDefinition):
                yield from (Name(use.kind, use.key) for use in uses_of(definition))
        case _:
            pass


def is_resolved(finding: Mapping[str, Any], document: Document, pushed: Mapping[Name, Document]) -> bool:
    """Whether a finding misses a document that is pushed beside this one."""
    kind = _NAMED_BY.get(finding["code"])
    key = None if kind is None else _at(document, finding["pointer"])
    return kind is not None and isinstance(key, str) and Name(kind, key) in pushed


def _at(document: Any, pointer: str) -> Any:  # any JSON
    """What a JSON pointer (RFC 6901) leads to; None where it leads nowhere."""
    found = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping):
            found = found.get(name)
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def in_documented_order(kind: str, document: Document) -> dict[str, Any]:
    """The same document with its members in the order of the reference; PostgreSQL keeps them by length."""
    ordered: dict[str, Any] = _ordered(document, _orders(kind))
    return ordered


def _ordered(value: Any, orders: Sequence[tuple[str, ...]]) -> Any:  # any JSON
    if isinstance(value, list):
        return [_ordered(item, orders) for item in value]
    if not isinstance(value, Mapping):
        return value
    names = next((order for order in orders if value.keys() <= set(order)), ())
    by_place = sorted(value, key=lambda name: names.index(name) if name in names else 0)
    return {name: _ordered(value[name], orders) for name in by_place}


@lru_cache
def _orders(kind: str) -> list[tuple[str, ...]]:
    """The members of each form of the language in their order, the document itself first, then small forms first. A
    document begins with what it is.

    Members are matched to the smallest form that has all of them; what fits none (traits, samples) stays as it is.
    """
    schema = MODELS[kind].model_json_schema()
    inner = [_members(form) for form in schema.get("$defs", {}).values() if "properties" in form]
    first = (kind, *(member for member in schema["properties"] if member != kind))
    return [first, *sorted(inner, key=len)]


def _members(form: Mapping[str, Any]) -> tuple[str, ...]:
    """As the reference and its examples have them: a step's name, what is required, the rest, then comparisons."""
    required = form.get("required", ())

    def place(member: str) -> int:
        if member in ("id", "name"):
            return 0
        if member in required:
            return 1
        return 3 if member in _OPERATORS else 2

    return tuple(sorted(form["properties"], key=place))
