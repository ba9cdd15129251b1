"""Completed levels that the past no longer comes to: orders came back, or what was done turned out to be another's.

Each goes by the version that gave it, whatever became of the challenge since: a new version, a pause, an archive or a
merge lets nobody keep what is no longer reached. What the version of today reaches as well stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from database.challenge_events import Wanted, recorded_events
from database.challenge_progress import ChallengeCompletion
from database.challenges import LiveChallenge, challenge_versions
from domain.challenges.definition import ChallengeLevel
from domain.challenges.facts import RecordedEvent
from domain.challenges.progress import standings
from domain.challenges.rounds import true_round
from domain.commerce import MAKES_ORDERS
from triggers.batch import BatchCustomer, Wave
from triggers.challenge_zones import zone_in
from triggers.completions import Completed, revoke
from triggers.refunds import is_revision, tells_of_orders


@dataclass(slots=True)
class Undone:
    """Why a customer may lose what was completed. `returned`: goods may have come back, of orders that count, where the
    policy is `revoke`.

    `parted_at`: what was reached since then is lost, whatever the policy, as what was done is another's. `revised_at`:
    the same of what orders gave since then, as somebody else's event had undone it before.
    """

    customer: BatchCustomer
    returned: bool = False
    parted_at: datetime | None = None
    revised_at: datetime | None = None

    def may_lose(self, row: ChallengeCompletion, giver: LiveChallenge) -> bool:
        """Whether a completion is to be looked at, by the version that gave it."""
        counts_orders = bool(giver.definition.event_names & MAKES_ORDERS)
        is_returned = self.returned and counts_orders and giver.definition.refunds == "revoke"
        is_anothers = self.parted_at is not None and row.reached_at > self.parted_at
        was_undone = self.revised_at is not None and counts_orders and row.completed_at >= self.revised_at
        return is_returned or is_anothers or was_undone


@dataclass(frozen=True, slots=True)
class _Doubtful:
    """A completion that may be lost: its level, and the versions of which one must reach it."""

    row: ChallengeCompletion
    level: ChallengeLevel
    versions: Sequence[LiveChallenge]


def undone_by(wave: Wave) -> list[Undone]:
    """Whose orders this wave tells of."""
    undone: dict[UUID, Undone] = {}
    for event in wave.events:
        if event.customer.external_id is None or not tells_of_orders(event):
            continue
        known = undone.setdefault(event.customer.id, Undone(event.customer, returned=True))
        if is_revision(event):
            known.revised_at = min(known.revised_at or event.event.timestamp, event.event.timestamp)
    return list(undone.values())


async def take_back_undone(wave: Wave, undone: Sequence[Undone], completed: Sequence[ChallengeCompletion]) -> None:
    """Take back what these customers completed and, by all that is recorded of them now, never reached."""
    why = {each.customer.id: each for each in undone}
    doubtful = await _doubtful(wave, why, completed)
    if not doubtful:
        return
    names: dict[UUID, frozenset[str]] = {}
    for each in doubtful:
        told = [version.definition.event_names for version in each.versions]
        names[each.row.customer_id] = names.get(each.row.customer_id, frozenset()).union(*told)
    recorded = await recorded_events(wave.session, [Wanted(id_, wanted) for id_, wanted in names.items()])
    lost = [
        Completed(each.row, each.level)
        for each in doubtful
        if not _is_reached(wave, why[each.row.customer_id].customer, each, recorded[each.row.customer_id])
    ]
    await revoke(wave, lost)


async def _doubtful(
    wave: Wave, why: Mapping[UUID, Undone], completed: Sequence[ChallengeCompletion]
) -> list[_Doubtful]:
    rows = [row for row in completed if row.revoked_at is None and row.customer_id in why]
    live = wave.published.challenges
    known = {(each.key, each.version): each for each in live.values()}
    known |= await challenge_versions(wave.session, {(row.challenge, row.version) for row in rows} - known.keys())
    found: list[_Doubtful] = []
    for row in rows:
        giver = known.get((row.challenge, row.version))
        if giver is None or not why[row.customer_id].may_lose(row, giver):
            continue
        level = next((each for each in giver.definition.levels if each.level == row.level), None)
        if level is None:  # a rank: what is final stays
            continue
        newest = live.get(row.challenge, giver)
        found.append(_Doubtful(row, level, [giver] if newest.version == giver.version else [giver, newest]))
    return found


def _is_reached(wave: Wave, customer: BatchCustomer, each: _Doubtful, events: Sequence[RecordedEvent]) -> bool:
    return any(_reaches(wave, customer, version, each.row, events) for version in each.versions)


def _reaches(
    wave: Wave,
    customer: BatchCustomer,
    version: LiveChallenge,
    row: ChallengeCompletion,
    events: Sequence[RecordedEvent],
) -> bool:
    """Whether a version comes to a completion. Where all reach it together: whether the member still gave enough."""
    definition, zone = version.definition, zone_in(wave, customer, version)
    facts = [fact for event in events if (fact := version.read_fact(event, zone)) is not None]
    standing = standings(definition, facts, max([wave.as_of, *(fact.at for fact in facts)])).get(row.period)
    if standing is None:
        return False
    if definition.community is not None:
        return standing.figure >= definition.community.contribute
    return (row.level, true_round(row.round)) in {(one.level, one.round) for one in standing.reached}
