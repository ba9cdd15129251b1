"""A customer's profile as a fold over events: each trait is what its last writer by (time, message id) said.

Whatever order events come in, the profile ends the same. Who is who: domain/identities.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from domain.identities import Stamp
from domain.local_time import ZONES

Json = Any  # any JSON value
Written = tuple[str, str]
"""The stamp of a trait's last writer as it is stored: time (ISO 8601, UTC, microseconds) and message id."""

_DEEPEST = 8  # nested traits are compared this far; below, the whole value counts as changed


@dataclass(frozen=True, slots=True)
class Profile:
    """What events said about a customer. A deleted trait has a time but no value.

    `observed` is what devices told in passing: `{"timezone": [value, time, message id], "locale": [...]}`.
    """

    traits: Mapping[str, Json] = field(default_factory=dict)
    trait_times: Mapping[str, Written] = field(default_factory=dict)
    observed: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)

    @property
    def email(self) -> str | None:
        """The address, lower-cased; None if there is none."""
        email = self.traits.get("email")
        return email.strip().lower() or None if isinstance(email, str) else None

    @property
    def zone(self) -> str | None:
        """The IANA zone: the trait `timezone`, else what the device last told."""
        return next((name for name in (self.traits.get("timezone"), self._told("timezone")) if _is_zone(name)), None)

    @property
    def locale(self) -> str | None:
        """The locale: the trait `locale`, else what the device last told."""
        trait = self.traits.get("locale")
        return trait if isinstance(trait, str) else self._told("locale")

    def _told(self, name: str) -> str | None:
        told = self.observed.get(name)
        return None if told is None else told[0]


@dataclass(frozen=True, slots=True)
class Fold:
    """A profile after an event, and what changed: trait names and dotted paths -> new value, null where deleted."""

    profile: Profile
    changed: Mapping[str, Json]


def written(stamp: Stamp) -> Written:
    """A stamp as it is stored and compared."""
    return (stamp.timestamp.isoformat(timespec="microseconds"), stamp.message_id)


def fold_traits(profile: Profile, traits: Mapping[str, Json], stamp: Stamp) -> Fold:
    """Take in the traits that one event told; null deletes a trait."""
    now = written(stamp)
    told = {name: value for name, value in traits.items() if tuple(profile.trait_times.get(name, ())) < now}
    if not told:
        return Fold(profile, {})
    merged = {**profile.traits, **told}
    changed: dict[str, Json] = {}
    for name, value in told.items():
        changed |= dict(_changes(name, profile.traits.get(name), value))
    kept = {name: value for name, value in merged.items() if value is not None}
    times = {**profile.trait_times, **dict.fromkeys(told, now)}
    return Fold(replace(profile, traits=kept, trait_times=times), changed)


def observe(profile: Profile, context: Mapping[str, Json], stamp: Stamp) -> Profile:
    """Take in the zone and the language that a device told with an event."""
    told = {name: context[name] for name in ("timezone", "locale") if isinstance(context.get(name), str)}
    if "timezone" in told and not _is_zone(told["timezone"]):
        del told["timezone"]
    if not told:
        return profile
    now = written(stamp)
    later = {name: (value, *now) for name, value in told.items() if tuple(profile.observed.get(name, ("",))[1:]) < now}
    return replace(profile, observed={**profile.observed, **later}) if later else profile


def merge_profiles(one: Profile, other: Profile) -> Profile:
    """The profile of two customers who are one: for each trait its later writer, as if all events were of one."""
    times = dict(one.trait_times)
    traits = dict(one.traits)
    for name, time in other.trait_times.items():
        if tuple(times.get(name, ())) < tuple(time):
            times[name] = time
            traits[name] = other.traits.get(name)
    observed = dict(one.observed)
    for name, told in other.observed.items():
        if tuple(observed.get(name, ("",))[1:]) < tuple(told[1:]):
            observed[name] = told
    return Profile({name: value for name, value in traits.items() if value is not None}, times, observed)


def profile_of(traits: Mapping[str, Json], trait_times: Mapping[str, Json], observed: Mapping[str, Json]) -> Profile:
    """A profile as it was stored (JSON has no tuples)."""
    return Profile(
        traits,
        {name: (time[0], time[1]) for name, time in trait_times.items()},
        {name: (told[0], told[1], told[2]) for name, told in observed.items()},
    )


def _changes(path: str, before: Json, after: Json, depth: int = 0) -> Iterator[tuple[str, Json]]:
    """The path itself and, inside nested objects, every dotted path below it whose value differs."""
    if before == after and type(before) is type(after):
        return
    yield path, after
    if depth < _DEEPEST and (isinstance(before, Mapping) or isinstance(after, Mapping)):
        old, new = (value if isinstance(value, Mapping) else {} for value in (before, after))
        for name in {*old, *new}:
            yield from _changes(f"{path}.{name}", old.get(name), new.get(name), depth + 1)


def _is_zone(name: Json) -> bool:
    return isinstance(name, str) and name in ZONES
