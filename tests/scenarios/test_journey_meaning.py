"""What the entries, steps and exits of a journey mean, each as a customer lives through it in seconds."""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timedelta

import pytest

from tests.scenarios.conftest import Stack, eventually
from tests.scenarios.shoppers import (
    Json,
    Shopper,
    is_over,
    new_key,
    note,
    outcomes,
    published,
    reason_of,
    stands_at,
    started,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def mark(**traits: object) -> Json:
    """A step that leaves its mark on the profile; its id is the first trait's name."""
    return {"update": {"id": next(iter(traits)), "traits": traits}}


def test_each_alternative_of_a_wait_leads_through_its_own_steps(stack: Stack) -> None:
    alternatives = [
        {"event": "Liked", "steps": [mark(answer="liked")]},
        {"event": "Rated", "where": [{"property": "stars", "gte": 4}], "steps": [mark(rated=True)]},
        {"trait": "plan", "to": "gold", "steps": [mark(gold=True)]},
    ]
    wait = {"id": "answer-wait", "timeout": "15s", "any": alternatives, "on_timeout": [mark(silent=True)]}
    journey = published(stack, [{"wait_for": wait}])
    liker, rater, riser, silent = shoppers = [Shopper(stack) for _ in range(4)]
    for shopper in shoppers:
        shopper.start(journey)
        shopper.run(journey, stands_at("answer-wait"))

    liker.track("Liked")
    rater.track("Rated", {"stars": 5})
    riser.post("identify", userId=riser.id, traits={"plan": "gold"})
    silent.track("Rated", {"stars": 3})

    for shopper, taken in zip(shoppers, ("answer", "rated", "gold", "silent"), strict=True):
        run = shopper.run(journey, is_over)
        assert outcomes(run) == [("answer-wait", "done"), (taken, "done")]


def test_a_sign_of_life_starts_the_timeout_again(stack: Stack) -> None:
    quiet = {"id": "quiet", "timeout": "10s", "restart_on": [{"event": "Product Added"}]}
    journey = published(stack, [{"wait_for": quiet}])
    ann = Shopper(stack)
    ann.start(journey)
    first = ann.run(journey, stands_at("quiet"))["waiting_for"]
    time.sleep(1.5)

    ann.track("Product Added")

    ann.run(journey, lambda run: run["waiting_for"] not in (None, first))
    (waited,) = ann.run(journey, is_over)["steps"]
    lasted = datetime.fromisoformat(waited["at"]) - datetime.fromisoformat(waited["reached_at"])
    assert lasted >= timedelta(seconds=11.4)


def test_the_first_branch_that_holds_is_taken_and_the_flow_rejoins(stack: Stack) -> None:
    arms = [
        {"if": {"event": "properties.total", "gte": 100}, "steps": [mark(big=True)]},
        {"if": {"trait": "vip", "eq": True}, "steps": [mark(regular=True)]},
        {"else": [mark(small=True)]},
    ]
    journey = published(stack, [{"branch": arms}, mark(rejoined=True)])
    big, regular, small = shoppers = [Shopper(stack, vip=True), Shopper(stack, vip=True), Shopper(stack)]

    big.start(journey, {"total": 100})
    regular.start(journey, {"total": 99.99})
    small.start(journey, {"total": "100"})  # a number in a string is no number

    for shopper, taken in zip(shoppers, ("big", "regular", "small"), strict=True):
        run = shopper.run(journey, is_over)
        assert [step for step, _ in outcomes(run)][-2:] == [taken, "rejoined"]


def test_an_arm_of_an_experiment_is_kept_at_every_visit_and_known_to_later_conditions(stack: Stack) -> None:
    split = {"id": "test", "variants": {"a": {"weight": 50}, "b": {"weight": 50}}}
    arms = [
        {"if": {"variant": "test", "eq": "a"}, "steps": [{"update": {"traits": {"arm": "a"}}}]},
        {"else": [{"update": {"traits": {"arm": "b"}}}]},
    ]
    again = {"goto": {"step": "test", "visits": 1}}
    journey = published(stack, [{"split": split}, {"branch": arms}, {"wait": {"for": "1s"}}, again])
    ann = Shopper(stack)
    ann.start(journey)

    run = ann.run(journey, is_over)

    assert [step["visit"] for step in run["steps"] if step["step"] == "test"] == [1, 2]
    eventually(ann.profile, lambda profile: profile["traits"].get("arm") == run["variants"]["test"])


def test_a_goto_past_its_visits_goes_on_with_the_step_after_it(stack: Stack) -> None:
    steps: list[Json] = [
        {"wait": {"id": "pause", "for": "1s"}},
        {"goto": {"step": "pause", "visits": 2}},
        {"exit": {"reason": "tired"}},
    ]
    journey = published(stack, steps)
    ann = Shopper(stack)
    ann.start(journey)

    run = ann.run(journey, is_over)

    assert (run["state"], run["reason"]) == ("exited", "tired")
    assert [step["visit"] for step in run["steps"] if step["step"] == "pause"] == [1, 2, 3]


def test_emit_and_start_bring_the_customer_into_other_journeys(stack: Stack) -> None:
    spoken = f"Said {new_key('word')}"
    repeat = [mark(word="{{ entry.properties.word }}")]
    by_event = published(stack, repeat, enter={"on": {"event": spoken}})
    by_call = published(stack, repeat, enter={"on": {"api": {}}})
    journey = published(
        stack,
        [
            {"emit": {"event": spoken, "properties": {"word": "{{ entry.properties.word }}"}}},
            {"start": {"journey": by_call, "properties": {"word": "started"}}},
        ],
    )
    ann = Shopper(stack)

    ann.start(journey, {"word": "hello"})

    assert ann.run(journey, is_over)["state"] == "completed"
    assert ann.run(by_event, is_over)["entry"]["properties"] == {"word": "hello"}
    assert ann.run(by_call, is_over)["entry"]["properties"] == {"word": "started"}


def test_a_journey_that_emits_its_own_entry_is_cut_off(stack: Stack) -> None:
    echo = f"Echo {new_key('loop')}"
    enter = {"on": {"event": echo}, "again": {"while_active": True}}
    journey = published(stack, [{"emit": {"id": "echo", "event": echo}}], enter=enter)
    ann = Shopper(stack)

    ann.track(echo)

    def latest() -> Json | None:
        runs = ann.runs(journey)
        return stack.get(f"/v1/runs/{runs[0]['id']}") if runs else None

    last = eventually(latest, lambda run: run is not None and ("echo", "skipped") in outcomes(run))
    assert last is not None
    assert reason_of(last, "echo") == "loop_guard"


def test_an_exit_rule_may_compare_with_the_event_that_entered(stack: Stack) -> None:
    journey = published(
        stack,
        [{"wait": {"for": "300s"}}],
        enter={"on": {"event": "Started"}, "occasion": "properties.cart_id", "again": {"while_active": True}},
        exit=[{"event": "Order Completed", "where": [{"property": "cart_id", "eq": {"entry": "properties.cart_id"}}]}],
    )
    ann = Shopper(stack)
    for cart in ("c-1", "c-2"):
        ann.start(journey, {"cart_id": cart})
    eventually(lambda: ann.runs(journey), lambda runs: len(runs) == 2)

    ann.track("Order Completed", {"cart_id": "c-2", "order_id": uuid.uuid4().hex, "total": 5})

    def states() -> dict[str, str]:
        return {run["occasion"]: run["state"] for run in ann.runs(journey)}

    assert eventually(states, lambda states: states["c-2"] == "exited") == {"c-1": "active", "c-2": "exited"}


def test_one_occasion_is_one_run_and_again_limits_the_others(stack: Stack) -> None:
    enter = {"on": {"event": "Started"}, "occasion": "properties.cart_id", "again": {"at_most": 2, "per": "30d"}}
    journey = published(stack, [mark(seen=True)], enter=enter)
    ann = Shopper(stack)
    for number, cart in enumerate(("c-1", "c-1", None, "c-2", "c-3"), start=1):
        ann.start(journey, {} if cart is None else {"cart_id": cart})
        ann.explained(journey, considered=number)
        eventually(lambda: ann.runs(journey), lambda runs: all(is_over(run) for run in runs))

    latest_first = ann.explained(journey)["considered"]

    reasons = [considered["reason"] for considered in reversed(latest_first)]
    assert reasons == [None, "occasion_taken", "occasion_missing", None, "again_at_most"]
    assert [run["occasion"] for run in ann.runs(journey)] == ["c-2", "c-1"]


def test_nobody_enters_beside_an_active_run_or_too_soon_after_the_last(stack: Stack) -> None:
    active = published(stack, [{"wait": {"id": "w", "for": "300s"}}])
    rested = published(stack, [mark(rested=1)], enter={"on": {"event": "Started"}, "again": {"after": "1d"}})
    ann = Shopper(stack)
    for journey in (active, rested):
        ann.start(journey)
    ann.run(active, stands_at("w"))
    ann.run(rested, is_over)
    for journey in (active, rested):
        ann.start(journey)

    for journey, reason in ((active, "already_active"), (rested, "again_after")):
        considered = ann.explained(journey, considered=2)["considered"]
        assert [one["reason"] for one in considered] == [reason, None]
        assert len(ann.runs(journey)) == 1


def test_explain_points_at_the_leaf_that_kept_somebody_out(stack: Stack) -> None:
    condition = {"all": [{"trait": "country", "eq": "DE"}, {"not": {"trait": "plan", "eq": "staff"}}]}
    journey = published(stack, [mark(seen=True)], enter={"on": {"event": "Started"}, "if": condition})
    ann = Shopper(stack, country="DE", plan="staff")

    ann.start(journey)

    explained = ann.explained(journey)
    assert explained["entered"] is False
    (considered,) = explained["considered"]
    assert (considered["outcome"], considered["reason"]) == ("kept_out", "condition")
    assert considered["failed_leaf"].startswith("/enter/if/all/1")


def test_a_holdout_walks_in_shadow_and_may_still_convert(stack: Stack) -> None:
    said = f"Said {new_key('holdout')}"
    journey = published(
        stack,
        [{"send": {"id": "mail", "template": note(stack)}}, mark(marked=True), {"emit": {"id": "say", "event": said}}],
        enter={"on": {"event": "Started"}, "holdout": 100},
        goal={"event": "Bought", "value": "properties.total"},
    )
    ann = Shopper(stack)
    ann.start(journey)

    run = ann.run(journey, is_over)
    ann.track("Bought", {"total": 3})

    assert run["holdout"] is True
    assert [step["detail"].get("would") for step in run["steps"]] == ["send", "update", "emit"]
    funnel = eventually(
        lambda: stack.get(f"/v1/journeys/{journey}/funnel"), lambda funnel: funnel["holdout"]["converted"] == 1
    )
    assert (funnel["entered"], funnel["holdout"]["entered"]) == (0, 1)
    assert ann.messages() == []
    assert "marked" not in ann.profile()["traits"]
    assert said not in [event["event"] for event in stack.get(f"{ann.path}/events")["data"]]


def test_a_goal_counts_once_and_does_not_end_the_run(stack: Stack) -> None:
    goal = {"event": "Bought", "within": "1d", "value": "properties.total"}
    journey = published(stack, [{"wait_for": {"id": "w", "any": [{"event": "Done"}]}}], goal=goal)
    ann = Shopper(stack)
    ann.start(journey)
    ann.run(journey, stands_at("w"))
    for total in (12.5, 99):
        ann.track("Bought", {"total": total})

    run = ann.run(journey, lambda run: run["converted_at"] is not None)

    assert run["state"] == "active"
    ann.track("Done")
    assert ann.run(journey, is_over)["state"] == "completed"
    assert stack.get(f"/v1/journeys/{journey}/funnel")["converted"] == 1


def test_an_anonymous_visitor_enters_once_identified_judged_by_what_is_true_then(stack: Stack) -> None:
    enter = {"on": {"event": "Started"}, "if": {"trait": "plan", "eq": "gold"}}
    journey = published(stack, [mark(seen=True)], enter=enter)
    ann = Shopper(stack)
    anonymous, user = uuid.uuid4().hex, f"user-{uuid.uuid4().hex}"
    ann.post("track", anonymousId=anonymous, event=started(journey))
    ann.post("identify", anonymousId=anonymous, userId=user, traits={"plan": "gold"})
    ann.id = user

    assert ann.run(journey, is_over)["state"] == "completed"


def test_when_two_customers_merge_the_older_run_goes_on(stack: Stack) -> None:
    journey = published(stack, [{"wait": {"for": "300s"}}], purpose="marketing")
    older, younger = Shopper(stack), Shopper(stack)
    for shopper in (older, younger):
        shopper.start(journey)
        shopper.run(journey)

    younger.post("alias", previousId=younger.id, userId=older.id)

    runs = eventually(lambda: older.runs(journey), lambda runs: len(runs) == 2)
    assert [(run["state"], run["reason"]) for run in runs] == [("exited", "merged"), ("active", None)]
    assert younger.runs(journey) == runs


def test_the_event_that_entered_never_counts_again_in_its_own_run(stack: Stack) -> None:
    journey = published(
        stack,
        [{"wait_for": {"id": "w", "timeout": "2s", "any": [{"event": "Started"}]}}],
        exit=[{"event": "Started"}],
        goal={"event": "Started"},
    )
    ann = Shopper(stack)
    ann.start(journey)

    run = ann.run(journey, is_over)

    assert (run["state"], run["converted_at"], reason_of(run, "w")) == ("completed", None, "timed_out")


def test_of_all_that_an_event_matches_the_exit_comes_first(stack: Stack) -> None:
    wait = {"id": "w", "timeout": "300s", "any": [{"event": "Bought"}], "restart_on": [{"event": "Bought"}]}
    journey = published(stack, [{"wait_for": wait}], exit=[{"event": "Bought"}])
    ann = Shopper(stack)
    ann.start(journey)
    ann.run(journey, stands_at("w"))

    ann.track("Bought")

    run = ann.run(journey, is_over)
    assert (run["state"], run["reason"]) == ("exited", "exit: Bought")


def test_a_date_in_the_past_goes_on_and_a_missing_one_sends_nothing(stack: Stack) -> None:
    waits = {"wait": {"id": "day", "until_date": {"trait": "trial_ends", "at": "09:00"}}}
    journey = published(stack, [waits, {"exit": "reached"}])
    past, missing = Shopper(stack, trial_ends="2020-01-01"), Shopper(stack)
    for shopper in (past, missing):
        shopper.start(journey)

    assert past.run(journey, is_over)["reason"] == "reached"
    ended = missing.run(journey, is_over)
    assert (outcomes(ended), ended["state"], ended["reason"]) == ([("day", "skipped")], "exited", "date_missing")


def test_a_wait_until_a_local_time_is_in_the_customers_zone(stack: Stack) -> None:
    journey = published(stack, [{"wait": {"id": "monday", "until": "10:00", "days": ["mon"], "zone": "customer"}}])
    ann = Shopper(stack, timezone="Asia/Tokyo")
    ann.start(journey)

    until = datetime.fromisoformat(ann.run(journey, stands_at("monday"))["waiting_for"]["until"])

    assert (until.strftime("%a %H:%M"), until.utcoffset()) == ("Mon 01:00", timedelta(0))


def test_the_api_enters_a_customer_once_for_each_occasion(stack: Stack) -> None:
    journey = published(stack, [mark(seen=True)], enter={"on": {"api": {}}, "occasion": "properties.n"})
    ann = Shopper(stack)
    eventually(lambda: stack.client.get(ann.path).status_code, lambda status: status == 200)
    wish = {"customer_id": ann.id, "properties": {"n": 1}}

    first, second = (stack.client.post(f"/v1/journeys/{journey}/enter", json=wish).json() for _ in range(2))

    assert first["entered"] is True
    assert (second["entered"], second["reason"]) == (False, "occasion_taken")
    assert ann.run(journey, is_over)["id"] == first["run"]["id"]


def test_a_step_sees_what_the_step_before_it_wrote(stack: Stack) -> None:
    arms = [{"if": {"trait": "mood", "eq": "happy"}, "steps": [mark(saw=True)]}, {"else": [mark(missed=True)]}]
    copy = {"update": {"id": "copy", "traits": {"copied": "{{ customer.traits.mood }}"}}}
    journey = published(stack, [mark(mood="happy"), {"branch": arms}, copy])
    shoppers = [Shopper(stack) for _ in range(5)]
    for shopper in shoppers:
        shopper.start(journey)

    for shopper in shoppers:
        assert ("saw", "done") in outcomes(shopper.run(journey, is_over))
        profile = eventually(shopper.profile, lambda profile: "copied" in profile["traits"])
        assert profile["traits"]["copied"] == "happy"
