"""One customer's gains summed up over windows of time: the figures that reach a tier, and those that keep it. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time
from itertools import accumulate
from zoneinfo import ZoneInfo

from domain.durations import Duration
from domain.programmes.periods import period_of, start_of
from domain.tiers import Anniversary, Calendar, Lifetime, Rolling, TierRules


@dataclass(frozen=True, slots=True)
class Loss:
    """Something of a gain was taken back: a refund, a cancellation, a clawback; below zero it turned out to be more."""

    at: datetime
    amount: int


@dataclass(frozen=True, slots=True)
class Gain:
    """One thing that counts at `at`: points earned, what an order came to, or an order (1)."""

    at: datetime
    amount: int
    losses: Sequence[Loss] = ()

    def known_at(self, moment: datetime) -> int:
        """What is left of it after the losses up to a moment: known losses count at the gain's own date."""
        return max(0, self.amount - sum(loss.amount for loss in self.losses if loss.at <= moment))


@dataclass(frozen=True, slots=True)
class Period:
    """The time for which a tier is held, up to but not including `end`.

    `counts_start` False: it began with the gain that reached the tier, which does not count again for keeping it.
    """

    start: datetime
    end: datetime
    counts_start: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """Gains as they were known at some moment, under one version of the rules."""

    rules: TierRules
    joined_at: datetime
    times: Sequence[datetime]
    sums: Sequence[int]  # sums[i]: of the first i gains

    @classmethod
    def of(cls, gains: Sequence[Gain], known_at: datetime, rules: TierRules, joined_at: datetime) -> Figures:
        """Sum up; the order of the gains does not matter."""
        counted = sorted((gain.at, amount) for gain in gains if (amount := gain.known_at(known_at)))
        times = [at for at, _ in counted]
        return cls(rules, joined_at, times, [0, *accumulate(amount for _, amount in counted)])

    def reached(self, moment: datetime) -> int:
        """The figure that reaches tiers: all gains up to and including a moment that are in its window."""
        upto = bisect_right(self.times, moment)
        match self.rules.window:
            case Lifetime():
                return self.sums[upto]
            case Rolling(length=length):
                zone = self.rules.zone
                gone = bisect_right(self.times, moment, key=lambda at: length.after(at.astimezone(zone)))
                return self.sums[upto] - self.sums[min(upto, gone)]
            case Calendar() | Anniversary():
                return self.sums[upto] - self.sums[bisect_left(self.times, self.period_at(moment).start)]

    def kept(self, period: Period, until: datetime) -> int:
        """The figure that keeps a tier: what came in its period before `until`, which may be in the grace after it."""
        search = bisect_left if period.counts_start else bisect_right
        first, last = search(self.times, period.start), bisect_left(self.times, until)
        return self.sums[max(first, last)] - self.sums[first]

    def keeping(self, period: Period, until: datetime) -> int:
        """The same, or the figure that reaches tiers where it is more: whoever would rise to a tier keeps it too."""
        return max(self.kept(period, until), self.reached(until) if until >= period.end else 0)

    def window_start(self, moment: datetime) -> datetime | None:
        """When the window of `reached` began; None: it has no beginning."""
        match self.rules.window:
            case Lifetime():
                return None
            case Rolling(length=length):
                return length.before(moment.astimezone(self.rules.zone))
            case Calendar() | Anniversary():
                return self.period_at(moment).start

    def period_at(self, moment: datetime) -> Period:
        """The period of a tier that is reached, or kept, at a moment."""
        zone = self.rules.zone
        match self.rules.window:
            case Lifetime():
                raise ValueError("what counts for a lifetime has no periods")
            case Rolling(length=length):
                return Period(moment, length.after(moment.astimezone(zone)), counts_start=False)
            case Calendar(length=text):
                start, end = period_of(moment, text, zone)
                return Period(start, end, counts_start=True)
            case Anniversary(length=length):
                return _anniversary(moment, self.joined_at, length, zone)


def _anniversary(moment: datetime, joined_at: datetime, length: Duration, zone: ZoneInfo) -> Period:
    """The period around a moment, of those counted from the local day of joining.

    Each begins a whole number of lengths after that day, so a month that is too short moves one beginning and no other.
    """
    joined = joined_at.astimezone(zone).date()

    def begin(count: int) -> datetime:
        passed = Duration(count * length.seconds, count * length.months)
        return start_of(passed.after(datetime.combine(joined, time())).date(), zone)

    count = (moment.astimezone(zone).date() - joined).days // max(1, length.longest().days)
    while begin(count + 1) <= moment:
        count += 1
    while begin(count) > moment:
        count -= 1
    return Period(begin(count), begin(count + 1), counts_start=True)
