"""Ids that we make."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from domain.ids import new_id


def test_ids_never_step_back_within_a_process_even_when_the_clock_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    clock = iter([*(now for _ in range(500)), *(now - 3_600 * 10**9 for _ in range(500)), *range(now, now + 500)])
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))

    ids = [new_id() for _ in range(1_500)]

    assert all(one < other for one, other in pairwise(ids))
    assert {id_.version for id_ in ids} == {7}
