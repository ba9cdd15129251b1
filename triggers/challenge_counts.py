"""Counts that go on: what members' standings and completions say, and what new events in order of time add to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from database.challenge_progress import ChallengeCompletion, ChallengeProgress, by_customer
from database.challenges import LiveChallenge
from domain.challenges.facts import Fact, RecordedEvent
from domain.challenges.progress import Standing, go_on, standings
from domain.challenges.versions import Given, was_given
from domain.periods import period_of


class Known:
    """What is stored of some members, who are locked."""

    def __init__(self, stored: Sequence[ChallengeProgress], completed: Sequence[ChallengeCompletion]) -> None:
        self._rows: dict[tuple[str, UUID], list[ChallengeProgress]] = {}
        for row in stored:
            self._rows.setdefault((row.challenge, row.customer_id), []).append(row)
        self._completed = by_customer(completed)
        self._given = {
            (row.challenge, row.customer_id, row.period, row.level, row.round)
            for row in completed
            if row.revoked_at is None
        }
        self._done = {(challenge, customer_id) for challenge, customer_id, *_ in self._given}

    def goes_on(self, challenge: LiveChallenge, customer_id: UUID, from_: datetime | None, zone: ZoneInfo) -> bool:
        """Whether events from `from_` on only add: all that came before was counted by this version, and given."""
        rows = self._rows.get((challenge.key, customer_id), [])
        if from_ is None or not rows:
            return False
        is_counted = all(row.version == challenge.version and row.last_at < from_ for row in rows)
        if not is_counted:
            return False
        given = challenge.given(self._completed[customer_id], zone)
        return all(self._is_given(challenge, row, given) for row in rows)

    def added(
        self,
        challenge: LiveChallenge,
        customer_id: UUID,
        events: Sequence[RecordedEvent],
        zone: ZoneInfo,
        now: datetime,
    ) -> Mapping[str, Standing] | None:
        """The standings of the periods to which these events add; None where they change what came before."""
        if not all(event.is_first for event in events):
            return None
        periods: dict[str, list[Fact]] = {}
        for event in events:
            if (fact := challenge.read_fact(event, zone)) is not None:
                periods.setdefault(period_of(fact.day, challenge.definition.every), []).append(fact)
        if any(fact.value < 0 for facts in periods.values() for fact in facts):
            return None
        before = {row.period: row for row in self._rows[challenge.key, customer_id]}
        found: dict[str, Standing] = {}
        for period, facts in periods.items():
            if (row := before.get(period)) is not None:
                standing = Standing(period, row.figure, row.last_at, row.round)
                found[period] = go_on(challenge.definition, standing, facts)
            else:
                found |= standings(challenge.definition, facts, max([now, *(fact.at for fact in facts)]))
        return found

    def _is_given(self, challenge: LiveChallenge, row: ChallengeProgress, given: Sequence[Given]) -> bool:
        """Whether each level that was reached is completed; what was put off is found by a full count only."""
        definition = challenge.definition
        if challenge.is_paused or not all((key, row.customer_id) in self._done for key in definition.requires):
            return True  # nothing is given now
        levels = [] if definition.community else definition.levels
        reached = [
            (level, number)
            for number in range(1, row.round + 1)
            for level in levels
            if number < row.round or level.at <= row.figure
        ]
        place = (row.challenge, row.customer_id, row.period)
        return all(
            (*place, level.level, number) in self._given or was_given(definition, level, row.period, number, given)
            for level, number in reached
        )
