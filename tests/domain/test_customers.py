"""Profiles and identities as folds: properties over every order of events."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.customers import Profile, fold_traits, merge_profiles, observe, profile_of
from domain.identities import Identity, IdKind, Key, Naming, Stamp, primary_user_id
from domain.identity_resolution import resolve
from domain.placeholders import is_placeholder, somebody

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def stamp(minutes: float = 0, sent: float = 0, tie: int = 0) -> Stamp:
    return Stamp(NOON + timedelta(minutes=minutes), NOON + timedelta(seconds=sent), UUID(int=tie))


stamps = st.builds(stamp, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
values = st.one_of(st.none(), st.integers(0, 3), st.fixed_dictionaries({"city": st.sampled_from("xy")}))
tellings = st.lists(
    st.tuples(stamps, st.dictionaries(st.sampled_from(["plan", "address", "size"]), values, max_size=3), st.booleans()),
    max_size=8,
    unique_by=lambda telling: telling[0],
)


def folded(told: Any) -> Profile:
    profile = Profile()
    for stamp, traits, trusted in told:
        profile = fold_traits(profile, traits, stamp, trusted=trusted).profile
        profile = observe(profile, {"locale": str(stamp.event_id)}, stamp, trusted=trusted)
    return profile


@given(tellings, st.randoms(use_true_random=False))
def test_a_profile_ends_the_same_in_every_order_and_every_split(told: Any, chance: random.Random) -> None:
    shuffled = chance.sample(told, len(told))
    middle = len(told) // 2
    assert folded(told) == folded(shuffled)
    assert merge_profiles(folded(shuffled[:middle]), folded(shuffled[middle:])) == folded(told)


@given(tellings)
def test_taking_in_an_event_again_changes_nothing(told: Any) -> None:
    assert folded([*told, *told]) == folded(told)


def test_what_changed_is_told_by_name_and_by_path() -> None:
    before = folded([(stamp(tie=1), {"address": {"city": "Rome", "zip": "1"}, "size": "M"}, True)])
    told = {"address": {"city": "Oslo", "zip": "1"}, "size": None}
    changed = fold_traits(before, told, stamp(tie=2), trusted=True).changed
    assert changed == {"address": {"city": "Oslo", "zip": "1"}, "address.city": "Oslo", "size": None}


def test_the_trait_beats_the_device_and_nonsense_is_no_zone() -> None:
    profile = observe(Profile(), {"timezone": "Europe/Rome", "locale": "it-IT"}, stamp(tie=1), trusted=False)
    profile = observe(profile, {"timezone": "Middle/Earth"}, stamp(tie=2), trusted=True)
    assert (profile.zone, profile.locale) == ("Europe/Rome", "it-IT")
    profile = fold_traits(profile, {"timezone": "Asia/Tokyo"}, stamp(tie=3), trusted=False).profile
    assert profile.zone == "Asia/Tokyo"
    assert profile.trusted().zone is None


@given(tellings)
def test_what_trusted_sources_set_reads_as_if_no_browser_had_ever_spoken(told: Any) -> None:
    without = folded([each for each in told if each[2]])
    assert folded(told).trusted_traits == without.trusted_traits
    assert without.traits == without.trusted_traits
    assert folded(told).trusted().zone == without.trusted().zone


def test_a_browser_fills_what_nobody_set_and_changes_nothing_that_a_shop_said() -> None:
    profile = folded([(stamp(tie=1), {"email": "ann@shop.example", "phone": None}, True)])
    told = {"email": "thief@evil.example", "phone": "+49 1", "size": "M"}
    fold = fold_traits(profile, told, stamp(24 * 60), trusted=False)
    assert fold.profile.traits == {"email": "ann@shop.example", "size": "M"}
    assert fold.ignored == ("email", "phone")
    assert fold.profile.trusted_traits == {"email": "ann@shop.example"}
    fold = fold_traits(fold.profile, {"size": "S"}, stamp(-9 * 24 * 60), trusted=True)
    assert fold.profile.trusted_traits == {"email": "ann@shop.example", "size": "S"}


def test_a_trait_of_a_release_that_kept_no_trust_counts_as_trusted() -> None:
    stored = profile_of({"email": "ann@shop.example"}, {"email": [NOON.isoformat(timespec="microseconds"), "a"]}, {})
    later = stamp(24 * 60)
    assert fold_traits(stored, {"email": "x@evil.example"}, later, trusted=False).ignored == ("email",)
    assert fold_traits(stored, {"email": "new@shop.example"}, later, trusted=True).profile.email == "new@shop.example"


def test_of_one_instant_the_trait_that_was_sent_later_wins_and_then_the_item_that_stands_later() -> None:
    told = [(stamp(sent=1, tie=9), {"plan": "a"}, True), (stamp(sent=2, tie=1), {"plan": "b"}, True)]
    assert folded(told).traits == folded(told[::-1]).traits == {"plan": "b"}
    told = [(stamp(sent=1, tie=1), {"plan": "a"}, True), (stamp(sent=1, tie=2), {"plan": "b"}, True)]
    assert folded(told).traits == folded(told[::-1]).traits == {"plan": "b"}


def test_a_trait_that_an_earlier_release_wrote_counts_before_what_comes_now_of_the_same_instant() -> None:
    at = NOON.isoformat(timespec="microseconds")
    one, other = profile_of({"plan": "a"}, {"plan": [at, "z"]}, {}), folded([(stamp(), {"plan": "b"}, True)])
    assert fold_traits(one, {"plan": "b"}, stamp(), trusted=True).profile.traits == {"plan": "b"}
    assert merge_profiles(one, other).traits == merge_profiles(other, one).traits == {"plan": "b"}
    assert fold_traits(one, {"plan": "b"}, stamp(-1), trusted=True).profile.traits == {"plan": "a"}
    older = profile_of({"plan": "c"}, {"plan": [at, "a"]}, {})
    assert merge_profiles(one, older).traits == merge_profiles(older, one).traits == {"plan": "a"}


namings = st.lists(
    st.tuples(
        st.one_of(st.none(), st.sampled_from(["ann", "bob", "cy", "guest"])),
        st.one_of(st.none(), st.sampled_from(["home", "work"])),
        st.one_of(st.none(), st.none(), st.sampled_from(["ann", "old", "home", "null"])),
        st.booleans(),
    ).filter(lambda ids: ids[0] or ids[1]),
    max_size=10,
)


@given(namings, st.randoms(use_true_random=False))
def test_who_is_who_ends_the_same_in_every_order(ids: Any, chance: random.Random) -> None:
    events = [
        Naming(UUID(int=number), stamp(number), *somebody(*named[:2]), *named[2:]) for number, named in enumerate(ids)
    ]
    assert people(events) == people(chance.sample(events, len(events)))


def people(events: list[Naming]) -> set[frozenset[Key]]:
    """The ids of each person, whatever we call them."""
    numbers = count(1)
    known: dict[Key, Identity] = {}
    identified: set[UUID] = set()
    for event in events:  # one batch for each event, as slow shops send them
        done = resolve([event], known, frozenset(identified), lambda: UUID(int=next(numbers)))
        gone = {merge.loser: merge.survivor for merge in done.merges}
        known = {key: _moved(identity, gone) for key, identity in done.identities.items()}
        identified = {identity.customer_id for key, identity in known.items() if key.kind is IdKind.USER}
    groups: dict[UUID, set[Key]] = {}
    for key, identity in known.items():
        groups.setdefault(identity.customer_id, set()).add(key)
    return {frozenset(group) for group in groups.values()}


def test_ids_that_name_nobody_are_known_however_they_are_written() -> None:
    nobody = ["undefined", "NULL", " none ", "Guest", "0", "000", "00000000-0000-0000-0000-000000000000", "NaN", "   "]
    nobody += [
        "[object Object]",
        "'null'",
        "(not set)",
        "\u200b",
        "{{customer.id}}",
        "${userId}",
        "\uff4e\uff55\uff4c\uff4c",
    ]
    nobody += ["nul\u200bl", "not set", "Not-Set", "#N/A", "*|ID|*", "$user_id", "__undefined__", "--", "?", "_", "()"]
    nobody += ["undefined_undefined", "null null", "anonymous-user", "(empty)", "ffffffff-ffff-ffff-ffff-ffffffffffff"]
    assert [value for value in nobody if not is_placeholder(value)] == []
    somebodies = ["ann", "nullmann", "10", "guest-4711", "anonymous@shop.example", "0815", "1", "undefined-1", "-7"]
    somebodies += [
        "user-0",
        "guest@shop.example",
        "customer 1",
        "test-user",
        "nobody",
        "test-42",
        "\u738b",
        "\U0001f642",
        "7f" * 16,
    ]
    assert [value for value in somebodies if is_placeholder(value)] == []


def _moved(identity: Identity, gone: dict[UUID, UUID]) -> Identity:
    customer = identity.customer_id
    while customer in gone:
        customer = gone[customer]
    return Identity(customer, identity.first_seen, identity.linked, identity.superseded)


def test_a_customer_goes_by_the_id_that_was_not_aliased_away_then_by_the_first() -> None:
    someone = UUID(int=1)
    ids = {
        "old": Identity(someone, NOON, superseded=True),
        "late": Identity(someone, NOON + timedelta(hours=1)),
        "first": Identity(someone, NOON + timedelta(minutes=1)),
    }
    assert primary_user_id(ids) == "first"
    assert primary_user_id({}) is None
