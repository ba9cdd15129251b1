"""The page of what others got wrong and the tests that hold it speak of the same tests."""

from __future__ import annotations

import re

from perennial.reference import DOCS
from perennial.settings import PROJECT

_TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
_OUR_OWN = {
    "test_a_day_that_is_told_in_any_order_ends_the_same",
    "test_after_all_of_that_the_doctor_finds_every_promise_kept",
    "test_an_order_that_is_told_of_again_as_of_earlier_lifts_what_came_in_between",
    "test_whoever_moves_the_points_of_one_customer_at_once_none_is_lost_or_spent_twice",
}
"""About promises that no other system is known to have broken."""


def test_every_test_that_the_page_names_exists_and_every_regression_test_is_named() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "loyalty" / "peers.md").read_text()))
    files = {path: _TEST.findall(path.read_text()) for path in (PROJECT / "tests").glob("*/test_*.py")}
    known = {name for names in files.values() for name in names}
    regressions = {name for path, names in files.items() if path.parent.name == "regressions" for name in names}

    assert named - known == set()
    assert regressions - named - _OUR_OWN == set()
