"""Copies of built-in journeys and of the programme whose waits last seconds: a demo shows in a minute what takes days.

Only the documents change: clocks, the interpreter and everything else are the ones of production.
"""

from __future__ import annotations

from typing import Any  # documents are any JSON

from domain.durations import parse_duration

SUFFIX = "-demo"
_HOUR = 3_600
_SHORTEST, _LONGEST = 8, 30  # seconds
_PENDING = "12s"
"""Of points and referrals: over before the hasty journeys, which wait for what follows, give up."""


def hasty(definition: dict[str, Any]) -> dict[str, Any]:
    """The journey under a key of its own, every wait and timeout shortened, re-entry after two minutes."""
    enter = dict(definition["enter"])
    if (enter.get("again") or {}).get("after"):
        enter["again"] = {"after": "2m"}
    copied = definition | {
        "journey": definition["journey"] + SUFFIX,
        "name": f"{definition.get('name') or definition['journey']} (demo: waits of seconds)",
        "enter": enter,
        "steps": _shortened(definition["steps"]),
    }
    return {key: value for key, value in copied.items() if value is not None}


def hasty_programme(definition: dict[str, Any]) -> dict[str, Any]:
    """The programme under a key of its own: points and referrals are held for seconds, and the imported past earns."""
    copied = definition | {
        "programme": definition["programme"] + SUFFIX,
        "name": f"{definition.get('name') or definition['programme']} (demo: holds of seconds)",
        "earn": [
            rule | {"imports": True} | ({"pending": _PENDING} if rule.get("pending") else {})
            for rule in definition["earn"]
        ],
    }
    if definition.get("referral"):
        copied["referral"] = definition["referral"] | {"hold": _PENDING}
    return copied


def _shortened(node: Any) -> Any:
    """Any part of the steps, with the waits in it shortened."""
    match node:
        case list():
            return [_shortened(inner) for inner in node]
        case {"wait": dict(body), **rest}:
            return {**rest, "wait": {key: body[key] for key in ("id", "name") if key in body} | {"for": _wait(body)}}
        case {"wait_for": dict(body), **rest} if body.get("timeout"):
            return {**rest, "wait_for": _shortened(body) | {"timeout": _seconds(body["timeout"])}}
        case dict():
            return {key: _shortened(inner) for key, inner in node.items()}
        case _:
            return node


def _wait(body: dict[str, Any]) -> str:
    return _seconds(body["for"]) if body.get("for") else f"{_LONGEST}s"


def _seconds(duration: str) -> str:
    """An hour becomes the shortest wait, a day or more about the longest."""
    hours = parse_duration(duration).longest().total_seconds() / _HOUR
    return f"{min(_LONGEST, max(_SHORTEST, round(_SHORTEST + hours)))}s"
