"""A decision's credits are brought to any sum, by one more credit or by clawbacks, and never by more than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.earned_credits import Posted, adjusted


def test_the_first_credit_goes_by_the_key_and_later_ones_by_their_number() -> None:
    first = adjusted([], 30, "earn/x")
    more = adjusted(first.credits, 50, "earn/x")

    assert first.added == Posted("earn/x", 30)
    assert more.added == Posted("earn/x/1", 20)
    assert more.lowered == ()


def test_what_came_last_is_taken_back_first() -> None:
    two = [Posted("earn/x", 30), Posted("earn/x/1", 20)]

    less = adjusted(two, 15, "earn/x")

    assert less.lowered == [Posted("earn/x/1", 20, 20), Posted("earn/x", 30, 15)]
    assert less.added is None


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=12))
def test_any_path_of_sums_ends_at_the_last_and_takes_no_credit_below_nothing(sums: list[int]) -> None:
    posted: list[Posted] = []
    for net in sums:
        posted = list(adjusted(posted, net, "earn/x").credits)
        assert sum(credit.left for credit in posted) == net
        assert all(0 <= credit.taken <= credit.points for credit in posted)
    assert len({credit.key for credit in posted}) == len(posted)
