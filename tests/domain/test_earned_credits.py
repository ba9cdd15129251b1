"""A decision's credits are brought to any sums, and never by more than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.earned_credits import Posted, Step, adjusted, credits_of, credits_row, with_returns


def test_the_first_credit_goes_by_the_key_and_later_ones_by_their_number() -> None:
    first = adjusted([], 30, 0, "earn/x")
    more = adjusted(first.credits, 50, 0, "earn/x")

    assert first.added == Posted("earn/x", 30)
    assert more.added == Posted("earn/x/1", 20)
    assert more.corrected == more.returned == []


def test_what_came_last_is_taken_back_first() -> None:
    two = [Posted("earn/x", 30), Posted("earn/x/1", 20)]

    less = adjusted(two, 15, 0, "earn/x")

    assert less.corrected == [Step(Posted("earn/x/1", 20, 20), 20), Step(Posted("earn/x", 30, 15), 15)]
    assert less.added is None


def test_what_came_back_and_is_not_to_have_come_back_is_given_back_and_not_paid_anew() -> None:
    returned = adjusted([Posted("earn/x", 600)], 600, 200, "earn/x")
    restated = adjusted(returned.credits, 600, 50, "earn/x")

    assert returned.returned == [Step(Posted("earn/x", 600, 200, 200), 200)]
    assert restated.given_back == [Step(Posted("earn/x", 600, 50, 50, turn=1), 150)]
    assert restated.added is None


def test_of_credits_of_earlier_releases_what_came_last_came_back_first() -> None:
    old = [Posted("earn/x", 30, 10), Posted("earn/x/1", 20, 15)]

    assert with_returns(old, 20) == [Posted("earn/x", 30, 10, 5), Posted("earn/x/1", 20, 15, 15)]


@given(st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 1_000)), min_size=1, max_size=12))
def test_any_path_of_sums_ends_at_the_last_and_takes_no_credit_below_nothing(sums: list[tuple[int, int]]) -> None:
    posted: list[Posted] = []
    done: set[tuple[str, int, int]] = set()
    for points, share in sums:
        returned = points * share // 1_000
        change = adjusted(posted, points, returned, "earn/x")
        posted = list(change.credits)
        assert sum(credit.left for credit in posted) == points - returned
        assert sum(credit.returned for credit in posted) == returned
        assert credits_of(credits_row(posted, returned), returned) == posted
        assert all(0 <= credit.returned <= credit.taken <= credit.points for credit in posted)
        lowered = [step.credit for step in (*change.corrected, *change.returned)]
        taken = {(credit.key, credit.taken, credit.turn) for credit in lowered}
        assert not taken & done, "no move of the ledger has the key of an earlier one"
        done |= taken
    assert len({credit.key for credit in posted}) == len(posted)
