"""The gate by itself: its order, its windows, what answers mean. Properties where the calendar is involved."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.consent import ConsentState, Permission, StandingConsent, permission
from domain.engagement import Actor, Visit, judge_click, judge_open
from domain.message_events import Kind, state_after
from domain.messages import (
    Candidate,
    Decision,
    Hold,
    MessageState,
    Reason,
    Send,
    Sent,
    Skip,
    cap_horizon,
    decide,
    deliverable_address,
    window_start,
)
from domain.shop_settings import FrequencyCap, QuietHours, ShopSettings

NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
WORST = Candidate(
    channel="email",
    purpose="marketing",
    address=None,
    zone=BERLIN,
    permission=Permission.WITHDRAWN,
    suppression="hard_bounce",
    is_erased=True,
    is_available=False,
    not_after=NOON - timedelta(hours=1),
    sent=[Sent(NOON - timedelta(hours=1), "email", "marketing")],
)
STRICT = ShopSettings(
    frequency_caps=[FrequencyCap(at_most=1, per="7d")],
    quiet_hours=QuietHours.model_validate({"from": "13:00", "to": "16:00"}),  # noon UTC is 14:00 in Berlin
)


def test_each_refusal_has_its_place_in_the_order() -> None:
    """Mend the first thing that is wrong, and the next one shows."""
    mended: list[tuple[Reason, dict[str, object]]] = [
        (Reason.ERASED, {"is_erased": False}),
        (Reason.CHANNEL_UNAVAILABLE, {"is_available": True}),
        (Reason.NO_ADDRESS, {"address": "ann@example.com"}),
        (Reason.UNSUBSCRIBED, {"permission": Permission.NEVER_GIVEN}),
        (Reason.NO_CONSENT, {"permission": Permission.GIVEN}),
        (Reason.HARD_BOUNCE, {"suppression": None}),
        (Reason.NOT_AFTER, {"not_after": None}),
        (Reason.FREQUENCY_CAP, {"sent": ()}),
    ]
    candidate = WORST
    for reason, change in mended:
        decision = decide(candidate, STRICT, NOON)
        assert isinstance(decision, Skip)
        assert decision.reason is reason
        candidate = replace(candidate, **change)  # type: ignore[arg-type]
    assert decide(candidate, STRICT, NOON) == Hold(
        NOON + timedelta(hours=2), Reason.QUIET_HOURS, {"from": "13:00", "to": "16:00", "zone": "Europe/Berlin"}
    )
    assert decide(candidate, ShopSettings(), NOON) == Send()


def test_a_complaint_weighs_more_than_an_unsubscription() -> None:
    candidate = replace(WORST, is_erased=False, is_available=True, address="a@b.example", suppression="complaint")

    assert decide(candidate, STRICT, NOON) == Skip(Reason.COMPLAINT)


def test_a_transactional_message_knows_neither_cap_nor_quiet_hours() -> None:
    candidate = replace(FINE, purpose="transactional", sent=WORST.sent)

    assert decide(candidate, STRICT, NOON) == Send()


def test_what_quiet_hours_would_hold_past_its_freshness_is_skipped() -> None:
    candidate = replace(FINE, not_after=NOON + timedelta(hours=1))

    assert isinstance(decision := decide(candidate, STRICT, NOON), Skip)
    assert decision.reason is Reason.NOT_AFTER


FINE = Candidate(
    channel="email", purpose="marketing", address="ann@example.com", zone=BERLIN, permission=Permission.GIVEN
)


def capped(
    per: str, sent_at: datetime, as_of: datetime, *, channel: str = "email", purpose: str = "marketing"
) -> Decision:
    settings = ShopSettings(frequency_caps=[FrequencyCap(at_most=1, per=per)])
    return decide(replace(FINE, sent=[Sent(sent_at, channel, purpose)]), settings, as_of)


def test_a_rolling_window_ends_exactly_after_its_length() -> None:
    assert isinstance(capped("7d", NOON - timedelta(days=7) + timedelta(seconds=1), NOON), Skip)
    assert capped("7d", NOON - timedelta(days=7), NOON) == Send()


def test_a_calendar_day_begins_at_midnight_where_the_customer_lives() -> None:
    midnight = datetime(2026, 6, 9, 22, tzinfo=UTC)  # 00:00 on the tenth in Berlin

    assert isinstance(capped("day", midnight, NOON), Skip)
    assert capped("day", midnight - timedelta(seconds=1), NOON) == Send()


def test_caps_count_their_own_channel_and_no_transactional_mail() -> None:
    assert capped("7d", NOON, NOON, channel="webhook") == Send()
    assert capped("7d", NOON, NOON, purpose="transactional") == Send()


def test_a_cap_of_one_purpose_leaves_the_others_alone() -> None:
    settings = ShopSettings(frequency_caps=[FrequencyCap(at_most=1, per="7d", purpose="newsletter")])
    sent = [Sent(NOON, "email", "newsletter")]

    assert decide(replace(FINE, sent=sent), settings, NOON) == Send()
    assert isinstance(decide(replace(FINE, sent=sent, purpose="newsletter"), settings, NOON), Skip)


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001  made aware below
    st.sampled_from(
        ["Europe/Berlin", "America/Havana", "Pacific/Apia", "Asia/Tehran", "Africa/Cairo", "Antarctica/Troll"]
    ),
    st.sampled_from(["1h", "7d", "1mo", "1y", "day", "week", "month"]),
)
def test_the_horizon_reaches_back_to_every_window(moment: datetime, zone: str, per: str) -> None:
    as_of, here = moment.replace(tzinfo=UTC), ZoneInfo(zone)
    settings = ShopSettings(frequency_caps=[FrequencyCap(at_most=1, per=per)])

    start = window_start(per, as_of, here)

    assert cap_horizon(settings, as_of) <= start <= as_of
    if per == "day":
        assert start.astimezone(here).date() == as_of.astimezone(here).date()


@given(st.datetimes(datetime(2024, 1, 1), datetime(2035, 1, 1)), st.sampled_from(["22:00", "09:30", "00:00"]))  # noqa: DTZ001
def test_a_held_message_may_leave_when_its_hold_ends(moment: datetime, start: str) -> None:
    quiet = QuietHours.model_validate({"from": start, "to": "08:00"})
    settings, as_of = ShopSettings(quiet_hours=quiet), moment.replace(tzinfo=UTC)

    match decide(FINE, settings, as_of):
        case Hold(until=until):
            assert until > as_of
            assert decide(FINE, settings, until) == Send()
        case decision:
            assert decision == Send()


# Consent --------------------------------------------------------------------------------------------------


def said(state: str, purpose: str = "marketing", hours: int = 0, **more: str) -> StandingConsent:
    at = NOON + timedelta(hours=hours)
    return StandingConsent(
        purpose=purpose,
        state=state,
        at=at,
        order=(at, at, UUID(int=0)),
        channel=more.get("channel", "email"),
        source=more.get("source", "api"),
    )


@pytest.mark.parametrize(
    ("records", "purpose", "expected"),
    [
        ([], "transactional", Permission.GIVEN),
        ([], "marketing", Permission.NEVER_GIVEN),
        ([said("subscribed")], "marketing", Permission.GIVEN),
        ([said("pending")], "marketing", Permission.NEVER_GIVEN),
        ([said("subscribed"), said("unsubscribed", hours=1)], "marketing", Permission.WITHDRAWN),
        ([said("unsubscribed", source="complaint")], "marketing", Permission.COMPLAINED),
        ([said("subscribed", channel="sms")], "marketing", Permission.NEVER_GIVEN),
        ([said("subscribed", channel="all")], "marketing", Permission.GIVEN),
        ([said("subscribed")], "newsletter", Permission.GIVEN),
        ([said("unsubscribed", "newsletter")], "marketing", Permission.NEVER_GIVEN),
        ([said("subscribed"), said("unsubscribed", "newsletter")], "newsletter", Permission.WITHDRAWN),
        ([said("subscribed", "newsletter"), said("unsubscribed", hours=1)], "newsletter", Permission.WITHDRAWN),
        ([said("unsubscribed"), said("subscribed", "newsletter", hours=1)], "newsletter", Permission.GIVEN),
    ],
)
def test_consent_is_read_by_purpose_channel_and_time(
    records: list[StandingConsent], purpose: str, expected: Permission
) -> None:
    assert permission(records, purpose, "email", {}) is expected


def test_the_shops_default_counts_only_for_who_never_said_anything() -> None:
    defaults = {"marketing": ConsentState.SUBSCRIBED}

    assert permission([], "marketing", "email", defaults) is Permission.GIVEN
    assert permission([], "newsletter", "email", defaults) is Permission.GIVEN
    assert permission([said("unsubscribed")], "marketing", "email", defaults) is Permission.WITHDRAWN


# Addresses, visits, reports -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "usable"),
    [
        ("ann@example.com", True),
        (" ann+tag@exämple.com ", True),
        ("ann", False),
        ("a@b@c", False),
        ("a b@example.com", False),
        ("a@example.com\nBcc: x@y.example", False),
        ("a@example.com,b@example.com", False),
        ("<a@example.com>", False),
        ("x" * 250 + "@example.com", False),
        (None, False),
        (["a@example.com"], False),
    ],
)
def test_only_one_plain_address_can_be_sent_to(address: object, usable: bool) -> None:
    assert (deliverable_address({"email": address}) is not None) is usable


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("visit", "click", "opening"),
    [
        (Visit("GET", "Mozilla/5.0 (iPhone) Safari", HOUR), Actor.HUMAN, Actor.HUMAN),
        (Visit("HEAD", "Mozilla/5.0 (iPhone) Safari", HOUR), Actor.MACHINE, Actor.MACHINE),
        (Visit("GET", "Mozilla/5.0 (iPhone) Safari", timedelta(seconds=0.2)), Actor.MACHINE, Actor.MACHINE),
        (Visit("GET", "Mozilla/5.0 (iPhone) Safari", None), Actor.MACHINE, Actor.MACHINE),
        (Visit("GET", "Mozilla/5.0 (iPhone) Safari", HOUR, is_burst=True), Actor.MACHINE, Actor.HUMAN),
        (Visit("GET", "Googlebot/2.1", HOUR), Actor.MACHINE, Actor.MACHINE),
        (Visit("GET", "Mozilla/5.0", HOUR), Actor.HUMAN, Actor.MACHINE),
        (Visit("GET", "Mozilla/5.0 (Mac) Safari", HOUR, "17.58.0.1"), Actor.HUMAN, Actor.MACHINE),
        (Visit("GET", "Mozilla/5.0 (via ggpht.com GoogleImageProxy)", HOUR), Actor.HUMAN, Actor.UNKNOWN),
        (Visit("GET", "", HOUR), Actor.HUMAN, Actor.UNKNOWN),
    ],
)
def test_people_are_told_from_machines(visit: Visit, click: Actor, opening: Actor) -> None:
    assert (judge_click(visit), judge_open(visit)) == (click, opening)


@given(st.lists(st.sampled_from(Kind), max_size=8))
def test_reports_in_any_order_never_unsend_a_message(kinds: list[Kind]) -> None:
    rank = [MessageState.UNKNOWN, MessageState.ACCEPTED, MessageState.DELIVERED, MessageState.BOUNCED]
    state = MessageState.UNKNOWN
    for kind in kinds:
        after = state_after(kind, state, was_attempted=True)
        assert rank.index(after) >= rank.index(state)
        assert state_after(kind, after, was_attempted=True) is after
        state = after


@pytest.mark.parametrize("state", ["planned", "claimed", "rejected", "skipped", "cancelled", "expired"])
@pytest.mark.parametrize("kind", list(Kind))
def test_a_message_that_never_left_is_not_moved_by_reports(state: str, kind: Kind) -> None:
    assert state_after(kind, MessageState(state), was_attempted=False) == state


@pytest.mark.parametrize("state", ["planned", "claimed", "rejected", "skipped", "cancelled", "expired"])
@pytest.mark.parametrize(
    ("kind", "after"), [(Kind.PROCESSED, "accepted"), (Kind.DELIVERED, "delivered"), (Kind.BOUNCED, "bounced")]
)
def test_what_was_attempted_has_left_if_the_provider_says_so(state: str, kind: Kind, after: str) -> None:
    assert state_after(kind, MessageState(state), was_attempted=True) == after
