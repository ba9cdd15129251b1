"""Draws as pure functions: recomputable, fair by weight, never the same person twice."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.contests.definition import ContestDefinition
from domain.contests.draws import Ticket, canonical_list, commitment_to, draw, list_hash, read_list, seed_of
from tests.contest_verifier import recompute

TICKETS = st.lists(st.tuples(st.uuids(version=4), st.integers(1, 10_000)), max_size=30, unique_by=lambda each: each[0])
SEEDS = st.binary(min_size=32, max_size=32)


@given(TICKETS, SEEDS, st.integers(1, 40))
def test_a_draw_is_what_an_independent_program_makes_of_the_published_list(
    entries: list[tuple[UUID, int]], seed: bytes, count: int
) -> None:
    """Invariant 12: a draw can be recomputed from what was published (the pattern of RFC 3797)."""
    listed = canonical_list(Ticket(*entry) for entry in entries)

    drawn = draw(read_list(listed), seed, count)

    assert [str(ticket.entry_id) for ticket in drawn] == recompute(listed, seed, count)
    assert len(drawn) == min(count, len(entries))


@given(TICKETS, SEEDS)
def test_nobody_wins_twice_and_alternates_go_on_where_winners_ended(
    entries: list[tuple[UUID, int]], seed: bytes
) -> None:
    """Gleam draws actions, so that one person wins twice; GiveawayBot #177 drew the same winner again."""
    tickets = [Ticket(*entry) for entry in entries]

    everyone = draw(tickets, seed, len(tickets))

    assert sorted(everyone, key=str) == sorted(tickets, key=str)
    assert draw(tickets, seed, 3) == everyone[:3]


@given(TICKETS, st.randoms(use_true_random=False))
def test_the_list_does_not_depend_on_the_order_of_entries(entries: list[tuple[UUID, int]], chance: Any) -> None:
    tickets = [Ticket(*entry) for entry in entries]
    shuffled = list(tickets)
    chance.shuffle(shuffled)

    assert list_hash(canonical_list(shuffled)) == list_hash(canonical_list(tickets))


def test_chances_are_as_their_weights() -> None:
    """Three quarters of 4,000 draws, give or take five standard deviations."""
    heavy, light = Ticket(UUID(int=1), 3), Ticket(UUID(int=2), 1)

    won = Counter(draw([heavy, light], seed_of("c", "h", bytes([n % 256, n // 256]), None), 1)[0] for n in range(4_000))

    assert abs(won[heavy] - 3_000) < 137


def test_every_input_changes_the_seed_and_the_commitment_hides_the_secret() -> None:
    seeds = {
        seed_of("c", "h", b"secret", None),
        seed_of("d", "h", b"secret", None),
        seed_of("c", "i", b"secret", None),
        seed_of("c", "h", b"secreT", None),
        seed_of("c", "h", b"secret", "beacon"),
    }

    assert len(seeds) == 5
    assert commitment_to(b"secret") == "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"


def test_a_known_list_gives_known_winners() -> None:
    """Fixed for ever: a change of the algorithm needs another name."""
    listed = canonical_list(Ticket(UUID(int=n), n) for n in range(1, 6))
    seed = seed_of("summer", list_hash(listed), bytes(32), "beacon-1")

    assert list_hash(listed) == "93bc7ea6c7bf4936feff5e0b5c21b9e2b6c3e82bff8d09aa74a86ab7db7a71e3"
    assert [ticket.entry_id.int for ticket in draw(read_list(listed), seed, 5)] == [5, 1, 4, 2, 3]


def contest(**members: Any) -> ContestDefinition:
    return ContestDefinition.model_validate({"contest": "summer", "entries": [{"rule": "form"}]} | members)


def test_a_closing_day_counts_to_its_local_midnight() -> None:
    zone = ZoneInfo("Europe/Berlin")
    summer = contest(opens="2026-03-28", closes="2026-03-29")  # 23 hours long

    assert summer.opens_at(zone) == datetime(2026, 3, 27, 23, tzinfo=UTC)
    assert summer.closes_at(zone) == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert summer.is_open(datetime(2026, 3, 29, 21, 59, tzinfo=UTC), zone)
    assert not summer.is_open(datetime(2026, 3, 29, 22, tzinfo=UTC), zone)


@pytest.mark.parametrize(
    "members",
    [
        {"entries": []},
        {"entries": [{"rule": "form"}, {"rule": "form"}]},
        {"entries": [{"rule": "form", "limit": None, "per": "day"}]},
        {"opens": "2026-03-29T10:00:00Z", "closes": "2026-03-28"},
        {"prizes": [{"to_place": 2}, {"to_place": 1}]},
        {"zone": "Mars/Olympus"},
    ],
)
def test_contradictions_are_refused(members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        contest(**members)


def test_a_contest_cannot_close_on_the_last_day_there_is() -> None:
    with pytest.raises(ValidationError, match="write a day"):
        ContestDefinition.model_validate({"contest": "spring", "entries": [{"rule": "call"}], "closes": "9999-12-31"})
