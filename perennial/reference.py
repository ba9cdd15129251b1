"""Keeps the tables of the reference pages equal to the code: `make reference`. What people wrote around them stays.

A page marks a table by `<!-- fields: Send -->` (a model's members), `<!-- operators -->`, `<!-- settings -->` or
`<!-- commands -->`, and its end by `<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any  # JSON Schema is any JSON

import typer

from domain.challenges.definition import ChallengeDefinition
from domain.conditions.operators import Operator
from domain.contests.definition import ContestDefinition
from domain.journeys.definition import JourneyDefinition
from domain.programmes.definition import ProgrammeDefinition
from domain.rewards import RewardDefinition
from domain.shop_settings import ShopSettings
from domain.templates import TemplateDocument
from perennial.env_example import shown_default
from perennial.settings import PROJECT, Settings

DOCS = PROJECT / "docs"
_MARKED = re.compile(r"(<!-- (fields|operators|settings|commands)(?:: (\w+))? -->\n).*?(<!-- end -->)", re.DOTALL)

# Unions that have a name of their own in the docs, told by one of their members.
_UNIONS = {
    "SendStep": "[step](journeys.md#steps)",
    "TraitIs": "[condition](conditions.md)",
    "PropertyIs": "[predicate](conditions.md#predicates)",
    "Reference": "[value](conditions.md#values)",
    "EventAlternative": "[alternative](journeys.md#wait_for)",
    "IfArm": "[arm](journeys.md#branch)",
    "ScheduleEntry": "[entry](journeys.md#entry)",
    "TraitMatch": "[match](journeys.md#matches)",
    "FixedAmount": "[amount](loyalty/programme.md#amounts)",
    "Quantity": "[money or a quantity](loyalty/programme.md#amounts)",
    "UntilDay": "[pending](loyalty/programme.md#pending)",
    "ExpiresAfter": "[expiry](loyalty/programme.md#expiry)",
    "RollingWindow": "[window](loyalty/programme.md#tiers)",
    "PointsMeasure": "[measure](loyalty/programme.md#tiers)",
    "Streak": "[metric](loyalty/challenges.md#metrics)",
    "PercentOff": "[gives](loyalty/rewards.md#what-it-gives)",
    "SlidingWindow": "[window](loyalty/challenges.md#windows)",
}
# Text that has a shape, told by an example of it that the schema shows.
_SHAPES = {
    "7d": "[duration](journeys.md#durations)",
    "09:00": "`HH:MM`",
    "22:00": "`HH:MM`",
    "2026-05-01": "date or time",
}
_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}


def refreshed(page: Path) -> str:
    """The page with every marked table written anew. Raises KeyError for a model that does not exist."""
    up = "../" * (len(page.relative_to(DOCS).parts) - 1)

    def table(mark: re.Match[str]) -> str:
        return mark[1] + _generated(mark[2], mark[3]).replace("](", f"]({up}") + mark[4]

    return _MARKED.sub(table, page.read_text())


def pages() -> Iterator[Path]:
    """Every page that has a marked table."""
    return (path for path in sorted(DOCS.rglob("*.md")) if _MARKED.search(path.read_text()))


def schemas() -> dict[str, Any]:
    """The JSON Schema of each model that people write documents by, by the model's name."""
    found: dict[str, Any] = {}
    for model in (
        *(JourneyDefinition, TemplateDocument, ShopSettings, ProgrammeDefinition),
        *(ChallengeDefinition, ContestDefinition, RewardDefinition),
    ):
        schema = model.model_json_schema(by_alias=True)
        found |= schema.pop("$defs", {}) | {model.__name__: schema}
    return found


def _generated(what: str, name: str | None) -> str:
    match what:
        case "fields":
            return "\n".join(_fields(schemas()[name or ""])) + "\n"
        case "operators":
            return ", ".join(f"`{operator}`" for operator in Operator) + "\n"
        case "settings":
            return "\n".join(_settings()) + "\n"
        case _:
            return "\n".join(_commands()) + "\n"


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    """One row a member; the operators, which every comparison shares, take one row together."""
    properties: dict[str, Any] = schema["properties"]
    required = set(schema.get("required", ()))
    shares_operators = set(Operator) <= set(properties)
    yield from ("| key | takes | default |", "|---|---|---|")
    for name, described in sorted(properties.items(), key=lambda member: member[0] not in required):
        if not (shares_operators and name in set(Operator)):
            default = "required" if name in required else _default(described.get("default"))
            yield f"| `{name}` | {_type(described)}{_limits(described)} | {default} |"
    if shares_operators:
        yield "| one [operator](conditions.md#operators) | [value](conditions.md#values) | required |"


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    shapes = [_SHAPES[example] for example in schema.get("examples", ()) if example in _SHAPES]
    if shapes:
        return shapes[0]
    match schema:
        case {"enum": [*values]}:
            return ", ".join(f"`{value}`" for value in values)
        case {"$ref": str(reference)}:
            return _model(reference)
        case {"oneOf": [*members]} | {"anyOf": [*members]}:
            return _union(members)
        case {"prefixItems": [*members]}:
            return "list of two: " + ", ".join(_type(member) for member in members)
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}"
        case {"type": str(kind)}:
            return _WORDS.get(kind, kind)
        case _:
            return "any JSON"


def _union(members: list[Mapping[str, Any]]) -> str:
    for member in members:
        name = str(member.get("$ref", "")).rpartition("/")[2]
        if name in _UNIONS:
            return _UNIONS[name]
    return " or ".join(dict.fromkeys(_type(member) for member in members if member.get("type") != "null"))


def _model(reference: str) -> str:
    """A model by name; a model that has a union's words goes by them."""
    name = reference.rpartition("/")[2]
    schema = schemas().get(name, {})
    return _type(schema) if "enum" in schema else _UNIONS.get(name, f"`{name}`")


def _limits(schema: Mapping[str, Any]) -> str:
    """The smallest and largest number allowed, where the schema says so."""
    plain = next((member for member in schema.get("anyOf", ()) if "minimum" in member), schema)
    if "maximum" in plain:
        return f", {plain['minimum']:,} to {plain['maximum']:,}"
    return f", {plain['minimum']:,} or more" if "minimum" in plain else ""


def _default(value: Any) -> str:  # any JSON
    match value:
        case None | [] | {} | "":
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case dict():
            return "each with its default"
        case _:
            return f"`{value}`"


def _settings() -> Iterator[str]:
    yield from ("| variable | meaning | default |", "|---|---|---|")
    for name, field in Settings.model_fields.items():
        default = shown_default(field.default)
        yield f"| `PERENNIAL_{name.upper()}` | {field.description} | {f'`{default}`' if default else ''} |"


def _commands() -> Iterator[str]:
    from perennial.cli import app

    yield from ("| command | does |", "|---|---|")
    yield from _command_rows(typer.main.get_command(app), "perennial")


def _command_rows(command: Any, path: str) -> Iterator[str]:  # click's groups and commands, which typer does not type
    inner = getattr(command, "commands", None)
    if inner is None:
        summary = (command.help or "").strip().splitlines()[0]
        yield f"| `{path}` | {summary} |"
        return
    for name, below in inner.items():
        yield from _command_rows(below, f"{path} {name}")


def main() -> None:
    """Rewrite every page that is behind."""
    for path in pages():
        before = path.read_text()
        after = refreshed(path)
        if after != before:
            path.write_text(after)
            sys.stdout.write(f"updated {path.relative_to(PROJECT)}\n")


if __name__ == "__main__":
    main()
