"""A customer's profile as a fold over events: each top-level trait is what its greatest writer said.

Writers are ordered by (trusted, stamp): what a trusted source said stays, whatever a browser says later; among equals
the later one counts. A trusted null deletes, and stays deleted. Whatever order events come in, the profile ends the
same. Who is who: domain/identity_resolution.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from domain.identities import Stamp
from domain.local_time import ZONES

Json = Any  # any JSON value
Written = tuple[str, str, str]
"""A stamp as it is stored: time and when it was sent (ISO 8601, UTC, microseconds), and the event's id.

Rows of releases before that have two places, time and message id: of one instant, those count before all others.
"""

Writer = tuple[str | bool, ...]
"""Who wrote a trait, as it is stored: the stamp (`Written`), then whether the source is trusted.

Trust stands last. Traits of releases before trust was kept have no such last place: they count as trusted, but for
those that `database/trait_trust.py` has marked, whose event a browser sent.
"""

_DEEPEST = 8  # nested traits are compared this far; below, the whole value counts as changed


@dataclass(frozen=True, slots=True)
class Profile:
    """What events said about a customer. A deleted trait has a time but no value.

    `trait_times` says of each trait who wrote it (`Writer`). `observed` is what devices told in passing:
    `{"timezone": [value, *Writer], "locale": [...]}`.
    """

    traits: Mapping[str, Json] = field(default_factory=dict)
    trait_times: Mapping[str, Writer] = field(default_factory=dict)
    observed: Mapping[str, Writer] = field(default_factory=dict)

    @property
    def email(self) -> str | None:
        """The address, lower-cased; None if there is none."""
        email = self.traits.get("email")
        return email.strip().lower() or None if isinstance(email, str) else None

    @property
    def trusted_traits(self) -> Mapping[str, Json]:
        """The traits that a trusted source set: all that may decide about value."""
        return {name: value for name, value in self.traits.items() if self.trusts(name)}

    def trusts(self, trait: str) -> bool:
        """Whether the trait's present value, or its deletion, is a trusted source's word."""
        return (trait in self.traits or trait in self.trait_times) and is_trusted(self.trait_times.get(trait, ()))

    @property
    def trusted_email(self) -> str | None:
        """The address if a trusted source set it; None if there is none, or a browser named it."""
        return self.email if self.trusts("email") else None

    @property
    def zone(self) -> str | None:
        """The IANA zone: the trait `timezone`, else what the device last told."""
        trait = self.traits.get("timezone")
        if trait is not None and _is_zone(trait):
            return str(trait)
        told = self._told("timezone")
        return told if _is_zone(told) else None

    @property
    def trusted_zone(self) -> str | None:
        """The zone where value is decided: the trait, if a trusted source set it; no device has a say."""
        trait = self.traits.get("timezone")
        return str(trait) if trait is not None and _is_zone(trait) and self.trusts("timezone") else None

    @property
    def locale(self) -> str | None:
        """The locale: the trait `locale`, else what the device last told."""
        trait = self.traits.get("locale")
        return trait if isinstance(trait, str) else self._told("locale")

    @property
    def has_trusted(self) -> bool:
        """Whether a trusted source said anything of it."""
        return any(map(is_trusted, self.trait_times.values()))

    @property
    def has_untrusted(self) -> bool:
        """Whether a browser told something of it that counts: a trait, or the zone of a device."""
        return not all(map(is_trusted, self.trait_times.values())) or self.trusted_zone != self.zone

    def trusted(self) -> Profile:
        """What is left of it where value is decided: what a browser told is not there, and no device has a zone."""
        return Profile(self.trusted_traits, self.trait_times)

    def _told(self, name: str) -> str | None:
        told = self.observed.get(name)
        return None if told is None else str(told[0])


@dataclass(frozen=True, slots=True)
class Fold:
    """A profile after an event, and what changed: trait names and dotted paths -> new value, null where deleted.

    `ignored`: traits that the event, being untrusted, could not change, since a trusted source had set them.
    """

    profile: Profile
    changed: Mapping[str, Json]
    ignored: tuple[str, ...] = ()


def written(stamp: Stamp) -> Written:
    """A stamp as it is stored and compared."""
    timestamp, sent = (each.isoformat(timespec="microseconds") for each in (stamp.timestamp, stamp.sent))
    return (timestamp, sent, str(stamp.event_id))


def as_written(stored: Sequence[str]) -> Written:
    """A stored stamp of any release."""
    timestamp, *sent, last = stored
    return (timestamp, *(sent or [""]), last)  # type: ignore[return-value]  # two places or three


def is_trusted(writer: Sequence[object]) -> bool:
    """Whether a stored writer is a trusted source; one of whom nothing is known is."""
    return not writer or writer[-1] is not False


def fold_traits(profile: Profile, traits: Mapping[str, Json], stamp: Stamp, *, trusted: bool) -> Fold:
    """Take in the traits that one event told; null deletes a trait."""
    now = (*written(stamp), trusted)
    told = {name: value for name, value in traits.items() if _rank(profile.trait_times.get(name, ())) < _rank(now)}
    ignored = () if trusted else tuple(sorted(_differing(profile, traits)))
    if not told:
        return Fold(profile, {}, ignored)
    merged = {**profile.traits, **told}
    changed: dict[str, Json] = {}
    for name, value in told.items():
        changed |= dict(_changes(name, profile.traits.get(name), value))
    kept = {name: value for name, value in merged.items() if value is not None}
    times = {**profile.trait_times, **dict.fromkeys(told, now)}
    return Fold(replace(profile, traits=kept, trait_times=times), changed, ignored)


def observe(profile: Profile, context: Mapping[str, Json], stamp: Stamp, *, trusted: bool) -> Profile:
    """Take in the zone and the language that a device told with an event."""
    told = {name: context[name] for name in ("timezone", "locale") if isinstance(context.get(name), str)}
    if "timezone" in told and not _is_zone(told["timezone"]):
        del told["timezone"]
    if not told:
        return profile
    now = (*written(stamp), trusted)
    later = {name: (value, *now) for name, value in told.items() if _device_rank(profile, name) < _rank(now)}
    return Profile(profile.traits, profile.trait_times, {**profile.observed, **later}) if later else profile


def merge_profiles(one: Profile, other: Profile) -> Profile:
    """The profile of two customers who are one: for each trait its greater writer, as if all events were of one."""
    times = dict(one.trait_times)
    traits = dict(one.traits)
    for name, time in other.trait_times.items():
        if _rank(times.get(name, ())) < _rank(time):
            times[name] = time
            traits[name] = other.traits.get(name)
    later = {name: told for name, told in other.observed.items() if _device_rank(one, name) < _rank(told[1:])}
    return Profile(
        {name: value for name, value in traits.items() if value is not None}, times, {**one.observed, **later}
    )


def profile_of(traits: Mapping[str, Json], trait_times: Mapping[str, Json], observed: Mapping[str, Json]) -> Profile:
    """A profile as it was stored (JSON has no tuples)."""
    return Profile(
        traits,
        {name: tuple(time) for name, time in trait_times.items()},
        {name: _as_device(tuple(told)) for name, told in observed.items()},
    )


def _as_device(told: Writer) -> Writer:
    """What a device told before trust was kept is a browser's word."""
    return told if isinstance(told[-1], bool) else (*told, False)


def _differing(profile: Profile, traits: Mapping[str, Json]) -> list[str]:
    """The traits that a trusted source set to something else. SDKs repeat what they know: that is nothing to report."""
    return [name for name, value in traits.items() if profile.trusts(name) and profile.traits.get(name) != value]


def _rank(writer: Writer) -> tuple[bool, tuple[str, ...]]:
    """What makes a writer count before another: trust, then the stamp. Nobody ranks lowest."""
    if not writer:
        return False, ()
    stamp = writer[:-1] if isinstance(writer[-1], bool) else writer
    return is_trusted(writer), as_written(stamp) if stamp else ()  # type: ignore[arg-type]  # only the last is no text


def _device_rank(profile: Profile, name: str) -> tuple[bool, tuple[str, ...]]:
    return _rank(profile.observed.get(name, ())[1:])


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
