"""How a customer moves through the tiers: a replay of what counts, of the rules' versions and of overrides. Pure.

The answer depends on nothing but its inputs, so it is the same in whatever order events came in. Up at once, down only
at the end of a period and the grace after it. What was taken back counts at its gain's own date, from the moment it is
known; then it demotes at once, but only if the tier would otherwise never have been reached. What came back after all,
since less was taken than was told at first, lifts again in the same way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import zip_longest

from domain.tier_figures import Figures, Gain, Period
from domain.tiers import Lifetime, Measured, TierRules

INSTANT = timedelta(microseconds=1)
"""As fine as we keep time."""

Gains = Mapping[Measured, Sequence[Gain]]


class TierReason(StrEnum):
    """Why a tier changed."""

    QUALIFIED = "qualified"  # the figure reached it
    PERIOD_ENDED = "period_ended"  # it was not kept, and the grace is over
    TAKEN_BACK = "taken_back"  # a refund, a cancellation or a clawback took what it was reached by
    RULES_CHANGED = "rules_changed"  # a new version of the programme
    OVERRIDE = "override"  # a person said so
    OVERRIDE_ENDED = "override_ended"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The figure that a change was decided by, of the gains since `start`, and the threshold that it was held to."""

    figure: int
    threshold: int
    start: datetime | None


@dataclass(frozen=True, slots=True)
class Change:
    """From `at` on the customer has this tier; None: none at all."""

    at: datetime
    tier: str | None
    reason: TierReason
    version: int
    evidence: Evidence | None = None  # none for overrides


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands by what was earned. `period` None: the tier is kept for good, or is the lowest.

    `grace_until`: the period has ended without enough, and the tier is lost then unless enough comes before.
    """

    rank: int
    period: Period | None = None
    grace_until: datetime | None = None

    @property
    def due(self) -> datetime | None:
        """When time alone changes something."""
        return self.grace_until or (self.period.end if self.period else None)


@dataclass(frozen=True, slots=True)
class Override:
    """A tier that a person gave, whatever was earned, from `start` until `end` (None: until it is taken away).

    `is_least`: moved in from another programme, so that whoever earns a higher one here has that.
    """

    tier: str
    start: datetime
    end: datetime | None = None
    is_least: bool = False


@dataclass(slots=True)
class TierHistory:
    """All changes up to `as_of`, and where the customer stands then by what was earned. `rules`: those in force."""

    changes: list[Change] = field(default_factory=list)
    standing: Standing | None = None
    rules: TierRules | None = None
    figures: Figures | None = None
    override: Override | None = None
    due: datetime | None = None  # when time alone may change something next

    @property
    def tier(self) -> str | None:
        """The tier as of the end of the history; None without any."""
        if self.changes:
            return self.changes[-1].tier
        return self.rules.tier(self.rules.base) if self.rules else None

    def fall(self, as_of: datetime) -> str | None:
        """The tier at the end of the period if nothing more comes until then; None if it is kept, or has no end."""
        rules, standing, figures = self.rules, self.standing, self.figures
        if rules is None or standing is None or figures is None or standing.period is None:
            return None
        figure = figures.kept(standing.period, as_of + INSTANT)
        if figure >= rules.levels[standing.rank].threshold:
            return None
        return rules.tier(rules.rank_after(standing.rank, figure))


def tier_history(
    gains: Gains,
    versions: Sequence[TierRules],
    joined_at: datetime,
    as_of: datetime,
    overrides: Sequence[Override] = (),
) -> TierHistory:
    """Replay everything up to and including `as_of`. `versions`: the oldest first; nobody has a tier before the first.

    Who has never changed stands at the lowest level, if that takes nothing.
    """
    versions = [rules for rules in versions if rules.since <= as_of]
    if not versions:
        return TierHistory()
    walk = _Walk(_Knowledge(gains, versions, joined_at, versions[0].since))
    for known_at, lifts in sorted(_news(gains, versions[0].since, as_of).items()):
        walk.learn(known_at, lifts=lifts)
    walk.run_until(as_of)
    spans = _one_after_the_other(overrides, as_of)
    now = next((span for span in spans if span.end is None or as_of < span.end), None)
    dues = [due for due in (walk.standing.due, now.end if now else None, _still_to_come(gains, as_of)) if due]
    return TierHistory(
        changes=_told(_overlaid(walk, spans, as_of), walk.first_tier),
        standing=walk.standing,
        rules=walk.rules,
        figures=walk.figures,
        override=now,
        due=min(dues, default=None),
    )


def _news(gains: Gains, after: datetime, until: datetime) -> dict[datetime, bool]:
    """When something was taken back, of any measure; and whether something then turned out to be more."""
    news: dict[datetime, bool] = {}
    for loss in (loss for each in gains.values() for gain in each for loss in gain.losses):
        if after < loss.at <= until:
            news[loss.at] = news.get(loss.at, False) or loss.amount < 0
    return news


def _still_to_come(gains: Gains, after: datetime) -> datetime | None:
    """When the next thing counts that happens later: clients' clocks may be ahead."""
    moments = (at for each in gains.values() for gain in each for at in (gain.at, *(loss.at for loss in gain.losses)))
    return min((at for at in moments if at > after), default=None)


class _Knowledge:
    """The gains as they were known at some moment, summed up for every version of the rules."""

    def __init__(self, gains: Gains, versions: Sequence[TierRules], joined_at: datetime, known_at: datetime) -> None:
        self._gains, self.versions, self._joined_at, self._known_at = gains, versions, joined_at, known_at
        self._figures: dict[int, Figures] = {}
        counted = (gain for rules in versions for gain in gains.get(rules.measured, ()))
        gained = {gain.at for gain in counted if gain.known_at(known_at)}
        self._instants = sorted(gained | {rules.since for rules in versions})

    def at(self, known_at: datetime) -> _Knowledge:
        """The same gains as they were known at another moment."""
        return _Knowledge(self._gains, self.versions, self._joined_at, known_at)

    def figures(self, rules: TierRules) -> Figures:
        """The figures under a version."""
        if rules.version not in self._figures:
            gains = self._gains.get(rules.measured, ())
            self._figures[rules.version] = Figures.of(gains, self._known_at, rules, self._joined_at)
        return self._figures[rules.version]

    def rules_at(self, moment: datetime) -> TierRules:
        """The version in force; the first one before it, too."""
        return self.versions[max(0, bisect_right(self.versions, moment, key=lambda rules: rules.since) - 1)]

    def instants(self, after: datetime, until: datetime) -> Sequence[datetime]:
        """When something came in, or a version began."""
        return self._instants[bisect_right(self._instants, after) : bisect_right(self._instants, until)]


class _Walk:
    """Time moves forward; at one instant periods end first, then a version begins, then gains count."""

    def __init__(self, knowledge: _Knowledge) -> None:
        self._knowledge = knowledge
        self.rules = knowledge.versions[0]
        self._now = self.rules.since
        self.standing = Standing(self.rules.base)
        self.first_tier = self.rules.tier(self.rules.base)
        self.changes: list[Change] = []
        self._qualify(TierReason.QUALIFIED)

    @property
    def figures(self) -> Figures:
        """The figures under the rules in force."""
        return self._knowledge.figures(self.rules)

    def version_at(self, moment: datetime) -> int:
        """The number of the version in force at a moment."""
        return self._knowledge.rules_at(moment).version

    def run_until(self, until: datetime) -> None:
        """Everything up to and including a moment."""
        for moment in self._knowledge.instants(self._now, until):
            self._end_periods(moment)
            self._now = moment
            self._adopt(self._knowledge.rules_at(moment))
            self._qualify(TierReason.QUALIFIED)
        self._end_periods(until)
        self._now = max(self._now, until)

    def learn(self, known_at: datetime, *, lifts: bool) -> None:
        """Something was taken back: demote at once if the tier would otherwise never have been reached.

        Nobody is lifted by it, unless something turned out to be more (`lifts`): who would still stand as high keeps
        standing and period.
        """
        self.run_until(known_at - INSTANT)
        self._knowledge = self._knowledge.at(known_at)
        self.run_until(known_at)
        if self.standing.rank <= self.rules.base and not lifts:
            return
        otherwise = _Walk(self._knowledge)
        otherwise.run_until(known_at)
        before, after = self.standing.rank, otherwise.standing.rank
        if after < before or (lifts and after > before):
            self.standing = otherwise.standing
            reason = TierReason.TAKEN_BACK if after < before else TierReason.QUALIFIED
            self._record(reason, max(before, after), self.figures.reached(known_at), known_at)

    def _adopt(self, newer: TierRules) -> None:
        """Go over to another version: the tier stays until its period ends, unless the new rules have no such tier."""
        if newer is self.rules:
            return
        older, self.rules = self.rules, newer
        known = (newer.rank_of(older.tier(rank)) for rank in range(self.standing.rank, -2, -1))
        rank = max(newer.base, next((rank for rank in known if rank is not None), newer.base))
        if rank <= newer.base or newer.window != older.window or self.standing.due is None:
            self.standing = self._holding(rank, self._now)
        else:
            self.standing = replace(self.standing, rank=rank)
        if newer.tier(rank) != self._tier_before():
            self._record(TierReason.RULES_CHANGED, rank, self.figures.reached(self._now), self._now)
        self._qualify(TierReason.RULES_CHANGED)

    def _qualify(self, reason: TierReason) -> None:
        """Up at once; and during the grace, keep the tier as soon as there is enough."""
        figure = self.figures.reached(self._now)
        rank, standing = self.rules.rank_for(figure), self.standing
        if rank > standing.rank:
            self.standing = self._holding(rank, self._now)
            self._record(reason, rank, figure, self._now)
        elif standing.grace_until is not None and self._enough(standing, self._now + INSTANT):
            self.standing = self._holding(standing.rank, self._now)

    def _end_periods(self, until: datetime) -> None:
        while (due := self.standing.due) is not None and due <= until:
            self._end_period(self.standing, due)

    def _end_period(self, standing: Standing, at: datetime) -> None:
        """Keep the tier for another period, begin its grace, or fall."""
        rules, period = self.rules, standing.period
        if period is None or self._enough(standing, at):
            self.standing = self._holding(standing.rank, at)
        elif standing.grace_until is None and rules.grace is not None:
            self.standing = replace(standing, grace_until=rules.grace.after(at.astimezone(rules.zone)))
        else:
            figure = self.figures.keeping(period, at)
            self.standing = self._holding(rules.rank_after(standing.rank, figure), at)
            self._record(TierReason.PERIOD_ENDED, standing.rank, figure, at, period.start)

    def _enough(self, standing: Standing, until: datetime) -> bool:
        period = standing.period
        return period is not None and self.figures.keeping(period, until) >= self.rules.levels[standing.rank].threshold

    def _holding(self, rank: int, at: datetime) -> Standing:
        rules = self.rules
        for_good = not rules.falls or isinstance(rules.window, Lifetime) or rank <= rules.base
        if for_good or rules.levels[rank].for_life:
            return Standing(rank)
        return Standing(rank, self.figures.period_at(at))

    def _tier_before(self) -> str | None:
        return self.changes[-1].tier if self.changes else self.first_tier

    def _record(
        self, reason: TierReason, judged: int, figure: int, at: datetime, start: datetime | None = None
    ) -> None:
        """`judged`: the level whose threshold decided."""
        threshold = self.rules.levels[judged].threshold if judged >= 0 else 0
        evidence = Evidence(figure, threshold, start or self.figures.window_start(at))
        self.changes.append(Change(at, self.rules.tier(self.standing.rank), reason, self.rules.version, evidence))


# Overrides ----------------------------------------------------------------------------------------------


def _one_after_the_other(overrides: Sequence[Override], as_of: datetime) -> list[Override]:
    """Those that have begun; each ends where the next one begins, at the latest."""
    begun = sorted((one for one in overrides if one.start <= as_of), key=lambda one: one.start)
    following = [one.start for one in begun[1:]]
    spans = [replace(one, end=_earlier(one.end, end)) for one, end in zip_longest(begun, following) if one]
    return [span for span in spans if span.end is None or span.start < span.end]


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)


def _overlaid(walk: _Walk, overrides: Sequence[Override], as_of: datetime) -> list[Change]:
    """What was earned, with what people said on top of it: while an override lasts nothing else changes the tier."""
    shown = [change for change in walk.changes if not any(_covers(span, change.at) for span in overrides)]
    for span in overrides:
        shown += _during(walk, span)
        if span.end is not None and span.end <= as_of:
            earned = [change.tier for change in walk.changes if change.at <= span.end]
            tier = earned[-1] if earned else walk.first_tier
            shown.append(Change(span.end, tier, TierReason.OVERRIDE_ENDED, walk.version_at(span.end)))
    return sorted(shown, key=lambda change: (change.at, change.reason is TierReason.OVERRIDE))


def _during(walk: _Walk, span: Override) -> list[Change]:
    """The override, and what was earned meanwhile where that is more than one that is the least."""
    given = Change(span.start, span.tier, TierReason.OVERRIDE, walk.version_at(span.start))
    if not span.is_least:
        return [given]
    before = [change for change in walk.changes if change.at <= span.start]
    earned = [replace(before[-1], at=span.start) if before else given]
    earned += [change for change in walk.changes if span.start < change.at and _covers(span, change.at)]
    least = _rank(walk, span.tier)
    return [change if _rank(walk, change.tier) > least else replace(given, at=change.at) for change in earned]


def _rank(walk: _Walk, tier: str | None) -> int:
    """The place of a tier under the rules in force; one that they no longer know is below the others."""
    rank = walk.rules.rank_of(tier)
    return -1 if rank is None else rank


def _covers(span: Override, moment: datetime) -> bool:
    return span.start <= moment and (span.end is None or moment < span.end)


def _told(changes: Sequence[Change], first: str | None) -> list[Change]:
    """Without what lasted no time and what changed nothing."""
    told: list[Change] = []
    for change in changes:
        if told and told[-1].at == change.at:
            told.pop()
        if change.tier != (told[-1].tier if told else first):
            told.append(change)
    return told
