"""Moving in: what members had in a programme that was kept elsewhere becomes lots, debts and tiers of this one.

What the rows say is `domain/opening_rows.py`; `importing.py` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from database import points
from database.audit import write_audit
from database.customers import customers_of, lock
from database.programmes import LiveProgramme, live_programme
from database.session import WriteSession
from database.tier_weighing import weigh
from database.tiers import Ladder, TierOverride, ladder_of, overrides_of
from domain.earned_dates import expiry
from domain.ids import new_id
from domain.imports import RowError, RowProblem
from domain.opening_rows import OPENING, OpeningRow, OpeningTier, OpeningTotals, moment_of
from domain.points import Credit, CreditKind, Debit, DebitKind

Numbered = tuple[int, OpeningRow]
"""A row, and its place in the file."""


@dataclass(slots=True)
class MovedIn:
    """What became of some rows. The totals are those of rows that were loaded for the first time."""

    new: int = 0
    known: int = 0
    refused: list[RowProblem] = field(default_factory=list)


async def move_in(
    session: WriteSession, rows: Sequence[Numbered], totals: OpeningTotals, as_of: datetime, *, by: str
) -> MovedIn:
    """Load rows, each with another key, into the accounts of members whom the shop knows. Nothing is announced.

    `totals` are added to; `by` is the key or person that loads them, for the audit log.
    """
    found = MovedIn()
    programme, ladder = await live_programme(session), await ladder_of(session)
    if programme is None:
        found.refused += [RowProblem(number, "no_programme", "publish a programme first") for number, _ in rows]
        return found
    members = await _locked(session, rows)
    tiers = await _tiers_before(session, programme, members)
    loading = _Loading(session, programme, ladder, as_of, members, tiers)
    moves = await loading.moves(rows, found.refused)
    posted = await points.post(session, programme.key, list(moves.values()), as_of, quiet=True)
    moved = dict(zip(moves, posted, strict=True))
    reused = {number for number, each in moved.items() if each.refusal is not None}
    found.refused += [RowProblem(number, "already_loaded", _OTHER_POINTS) for number in sorted(reused)]
    refused = {problem.row for problem in found.refused}
    taken = [(number, row) for number, row in rows if number not in refused]
    given = await loading.give_tiers(taken)
    for number, row in taken:
        is_moved = number in moved and not moved[number].repeated
        is_new = is_moved or number in given
        if is_moved:
            _count(totals, moves[number], as_of)
        if number in given and row.tier is not None:
            totals.tiers[row.tier.tier] += 1
        if is_new:
            totals.members.add(row.user_id)
        found.new, found.known = found.new + is_new, found.known + (not is_new)
    target, detail = f"programme/{programme.key}", {"rows": len(rows), "loaded": found.new}
    write_audit(session, actor=by, action="loyalty.move_in", target=target, at=as_of, detail=detail)
    return found


_OTHER_POINTS = (
    "other points of this member were loaded with these dates, or under this reference: correct them by an adjustment, "
    "or name the lot by a reference of its own"
)


async def _locked(session: WriteSession, rows: Sequence[Numbered]) -> dict[str, UUID]:
    """The members by the shop's ids, locked; whoever is merged at this moment is left out."""
    ids = {row.user_id for _, row in rows}
    before = await customers_of(session, ids)
    await lock(session, set(before.values()), skip_locked=False)
    after = await customers_of(session, ids)
    return {user_id: id_ for user_id, id_ in after.items() if before.get(user_id) == id_}


async def _tiers_before(
    session: WriteSession, programme: LiveProgramme, members: Mapping[str, UUID]
) -> dict[UUID, TierOverride]:
    """The tiers that members have been given by an earlier load."""
    stored = await overrides_of(session, programme.key, set(members.values()))
    return {row.customer_id: row for row in stored if row.author == OPENING}


@dataclass(frozen=True, slots=True)
class _Loading:
    """Rows that are loaded in one transaction; `members` are locked, `tiers` are what they were given before."""

    session: WriteSession
    programme: LiveProgramme
    ladder: Ladder | None
    as_of: datetime
    members: Mapping[str, UUID]
    tiers: Mapping[UUID, TierOverride]

    async def moves(self, rows: Sequence[Numbered], refused: list[RowProblem]) -> dict[int, Credit | Debit]:
        """The moves that rows ask for, by their numbers; rows that ask for what cannot be are refused."""
        known = await points.known_keys(self.session, self.programme.key, [row.key for _, row in rows])
        asked: dict[int, Credit | Debit] = {}
        for number, row in rows:
            try:
                self._check(row)
                if (move := self._move(row, is_known=row.key in known)) is not None:
                    asked[number] = move
            except RowError as error:
                refused.append(RowProblem(number, error.code, str(error)))
        return asked

    def _check(self, row: OpeningRow) -> None:
        if row.user_id not in self.members:
            what = "no customer is known by this id: import the customers first, and load this file again then"
            raise RowError("customer_unknown", what)
        if row.tier is None:
            return
        if self.ladder is None or self.ladder.rules.rank_of(row.tier.tier) is None:
            raise RowError("unknown_tier", f"tier: the programme has no tier {row.tier.tier}")
        since, until = self._span(row.tier)
        if until is not None and until <= since:
            raise RowError("dates_conflict", "tier_until: the tier ends before it begins")
        before = self.tiers.get(self.members[row.user_id])
        if before is not None and (before.tier, before.until_at) != (row.tier.tier, until):
            what = f"tier: {before.tier} was loaded for this member before; change it by PUT /v1/customers/<id>/tier"
            raise RowError("already_loaded", what)

    def _move(self, row: OpeningRow, *, is_known: bool) -> Credit | Debit | None:
        account = self.members[row.user_id]
        if row.points < 0:
            return Debit(account, row.key, -row.points, DebitKind.OPENING, OPENING, reference=row.reference)
        if row.points == 0:
            return None
        zone = self.programme.zone
        earned_at = min(moment_of(row.earned_at, zone) or self.as_of, self.as_of)
        activates_at = moment_of(row.activates_at, zone)
        expires_at = moment_of(row.expires_at, zone, is_end=True)
        if expires_at is None and not row.is_endless:
            expires_at = expiry(self.programme.definition.expires, activates_at or earned_at, zone)
        if expires_at is not None and expires_at <= max(earned_at, activates_at or earned_at):
            raise RowError("dates_conflict", "expires_at: the points lapse before they can be used")
        if expires_at is not None and expires_at <= self.as_of and not is_known:
            raise RowError("lapsed", f"expires_at: these points lapsed at {expires_at.isoformat()}")
        return Credit(
            *(account, row.key, row.points, CreditKind.OPENING, earned_at, OPENING),
            activates_at=activates_at,
            expires_at=expires_at,
            reference=row.reference,
        )

    async def give_tiers(self, rows: Sequence[Numbered]) -> set[int]:
        """Give the tiers that rows speak of and members have not been given before; answers the rows' numbers."""
        told = [(number, self.members[row.user_id], row.tier) for number, row in rows if row.tier is not None]
        if self.ladder is None or not told:
            return set()
        given = {number: (id_, tier) for number, id_, tier in told if id_ not in self.tiers}
        self.session.add_all([self._override(id_, tier) for id_, tier in given.values()])
        await self.session.flush()
        new = {id_ for id_, _ in given.values()}
        await weigh(self.session, self.ladder, new, self.as_of, quiet=new)
        return set(given)

    def _override(self, customer_id: UUID, tier: OpeningTier) -> TierOverride:
        since, until = self._span(tier)
        return TierOverride(
            id=new_id(),
            customer_id=customer_id,
            programme=self.programme.key,
            tier=tier.tier,
            from_at=since,
            until_at=until,
            reason=tier.evidence or "moved in",
            author=OPENING,
        )

    def _span(self, tier: OpeningTier) -> tuple[datetime, datetime | None]:
        zone = self.programme.zone
        since = min(moment_of(tier.since, zone) or self.as_of, self.as_of)
        return since, moment_of(tier.until, zone, is_end=True)


def _count(totals: OpeningTotals, move: Credit | Debit, as_of: datetime) -> None:
    if isinstance(move, Debit):
        totals.owed += move.points
        return
    totals.lots, totals.points = totals.lots + 1, totals.points + move.points
    if move.activates_at is not None and move.activates_at > as_of:
        totals.pending += move.points
