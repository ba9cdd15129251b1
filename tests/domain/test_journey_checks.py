"""Each check of journeys.md: the journey that breaks the rule, and the finding with its step and pointer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from domain.conditions.checks import Seen
from domain.findings import Finding, Severity
from domain.journeys.checks import Surroundings, check_journey
from domain.journeys.definition import JourneyDefinition
from domain.shop_settings import FrequencyCap

AROUND = Surroundings(
    rewards=frozenset(),
    templates={"hello": "email", "ping": "webhook"},
    journeys={"other"},
    seen=Seen(events={"Signed Up": {}, "Order Completed": {"total": {"number"}}}),
    caps=[FrequencyCap(at_most=3, per="7d")],
)
SEND = {"send": {"template": "hello"}}


def check(*steps: Any, **members: Any) -> list[Finding]:
    document = {"journey": "jj", "purpose": "marketing", "enter": {"on": {"event": "Signed Up"}}, "steps": list(steps)}
    return check_journey(JourneyDefinition.model_validate(document | members), AROUND)


def told(findings: list[Finding]) -> list[tuple[str, str | None, str]]:
    return [(finding.code, finding.step, finding.pointer) for finding in findings]


def test_a_sound_journey_has_no_findings() -> None:
    assert check(SEND, {"wait": {"for": "1d"}}, SEND) == []


CASES: Mapping[str, tuple[list[Any], dict[str, Any], tuple[str, str | None, str]]] = {
    "goto nowhere": (
        [{"wait": {"for": "1d"}}, {"goto": "nowhere"}],
        {},
        ("unknown_step", "goto-2", "/steps/1/goto"),
    ),
    "message of a step that sends nothing": (
        [{"wait_for": {"any": [{"message": "clicked", "step": "x"}], "timeout": "1d"}, "id": "w"}],
        {},
        ("unknown_step", "w", "/steps/0/wait_for/any/0/step"),
    ),
    "unknown template": ([{"send": {"template": "x"}}], {}, ("unknown_template", "send-1", "/steps/0/send/template")),
    "template of another channel": (
        [{"send": {"template": "ping"}}],
        {},
        ("wrong_channel", "send-1", "/steps/0/send/template"),
    ),
    "unknown journey": ([{"start": {"journey": "x"}}], {}, ("unknown_journey", "start-1", "/steps/0/start/journey")),
    "step after exit": ([{"exit": "done"}, SEND], {}, ("unreachable_step", "send-2", "/steps/1")),
    "on_timeout without timeout": (
        [{"wait_for": {"any": [{"event": "Order Completed"}], "on_timeout": [SEND]}, "id": "w"}],
        {},
        ("unreachable_step", "w.2.send-1", "/steps/0/wait_for/on_timeout/0"),
    ),
    "arm after else": (
        [{"branch": [{"else": [SEND]}, {"if": {"trait": "a", "eq": 1}, "steps": []}], "id": "b"}],
        {},
        ("unreachable_step", "b", "/steps/0/branch/1"),
    ),
    "loop without wait": (
        [{"update": {"traits": {"a": 1}}, "id": "u"}, {"goto": "u"}],
        {},
        ("loop_without_wait", "goto-2", "/steps/1/goto"),
    ),
    "no consent category": ([SEND], {"purpose": None}, ("no_consent_category", "send-1", "/steps/0/send")),
    "never true": (
        [{"branch": [{"if": {"any": []}, "steps": [SEND]}], "id": "b"}],
        {},
        ("never_true", "b", "/steps/0/branch/0/if"),
    ),
    "holdout over 100": (
        [SEND],
        {"enter": {"on": {"event": "Signed Up"}, "holdout": 120}},
        ("weights_off", None, "/enter/holdout"),
    ),
    "weights that look like percent": (
        [{"split": {"variants": {"a": {"weight": 60}, "b": {"weight": 60}}}, "id": "s"}],
        {},
        ("weights_off", "s", "/steps/0/split/variants"),
    ),
    "no weight at all": (
        [{"split": {"variants": {"a": {"weight": 0}, "b": {"weight": 0}}}, "id": "s"}],
        {},
        ("weights_off", "s", "/steps/0/split/variants"),
    ),
    "wait longer than the journey": (
        [{"wait": {"for": "31d"}, "id": "w"}],
        {"max_days": 30},
        ("wait_too_long", "w", "/steps/0/wait/for"),
    ),
    "duration from nowhere in an event": (
        [{"wait": {"for": {"event": "days", "unit": "d"}}, "id": "w"}],
        {},
        ("malformed_path", "w", "/steps/0/wait/for/event"),
    ),
    "date from nowhere in an event": (
        [{"wait": {"until_date": {"event": "delivered_at"}}, "id": "w"}],
        {},
        ("malformed_path", "w", "/steps/0/wait/until_date/event"),
    ),
    "secret in a header": (
        [{"call": {"url": "https://shop.example/x", "headers": {"X-Api-Key": "s3cret-value"}}, "id": "c"}],
        {},
        ("secret_in_call", "c", "/steps/0/call/headers/X-Api-Key"),
    ),
    "secret in an address": (
        [{"call": {"url": "https://shop.example/x?token=abcdef123456"}, "id": "c"}],
        {},
        ("secret_in_call", "c", "/steps/0/call/url"),
    ),
    "secret in a body": (
        [{"call": {"url": "https://shop.example/x", "body": {"auth": "Bearer sk_live_abcdefgh1234"}}, "id": "c"}],
        {},
        ("secret_in_call", "c", "/steps/0/call/body/auth"),
    ),
    "secret within an expression": (
        [{"call": {"url": "https://shop.example/x", "headers": {"X-Api-Key": "{{ 's3cret-value' }}"}}, "id": "c"}],
        {},
        ("secret_in_call", "c", "/steps/0/call/headers/X-Api-Key"),
    ),
    "secret as a user of the address": (
        [{"call": {"url": "https://abcdef123456@shop.example/x"}, "id": "c"}],
        {},
        ("secret_in_call", "c", "/steps/0/call/url"),
    ),
    "header of the connection": (
        [{"call": {"url": "https://shop.example/x", "headers": {"Transfer-Encoding": "chunked"}}, "id": "c"}],
        {},
        ("header_not_allowed", "c", "/steps/0/call/headers/Transfer-Encoding"),
    ),
    "header of two lines": (
        [{"call": {"url": "https://shop.example/x", "headers": {"X-A": "a\r\nX-B: b"}}, "id": "c"}],
        {},
        ("header_not_allowed", "c", "/steps/0/call/headers/X-A"),
    ),
    "event of the product's own": (
        [{"emit": {"event": "Contest Won"}, "id": "e"}],
        {},
        ("own_event", "e", "/steps/0/emit/event"),
    ),
    "event read as the product's own": (
        [{"emit": {"event": " c\u043entest  WON"}, "id": "e"}],
        {},
        ("own_event", "e", "/steps/0/emit/event"),
    ),
    "private address": (
        [{"call": {"url": "https://10.0.0.7/x"}, "id": "c"}],
        {},
        ("url_private", "c", "/steps/0/call/url"),
    ),
    "plain http": (
        [{"call": {"url": "http://shop.example/x"}, "id": "c"}],
        {},
        ("url_not_https", "c", "/steps/0/call/url"),
    ),
    "host from a template": (
        [{"call": {"url": "https://{{ customer.traits.host }}/x"}, "id": "c"}],
        {},
        ("url_malformed", "c", "/steps/0/call/url"),
    ),
    "two steps with one id": (
        [{"wait": {"for": "1d"}, "id": "x"}, {"wait": {"for": "2d"}, "id": "x"}],
        {},
        ("duplicate_id", "x", "/steps/0"),
    ),
    "occasion that starts nowhere": (
        [SEND],
        {"enter": {"on": {"event": "Signed Up"}, "occasion": "cart_id"}},
        ("malformed_path", None, "/enter/occasion"),
    ),
    "unknown zone": (
        [{"wait": {"until": "09:00", "zone": "Mars/Base"}, "id": "w"}],
        {},
        ("unknown_zone", "w", "/steps/0/wait/zone"),
    ),
    "push is not set up": (
        [{"send": {"template": "hello", "channel": "push"}}],
        {},
        ("channel_unavailable", "send-1", "/steps/0/send/channel"),
    ),
    "customers in the CRM come later": ([{"crm": {"upsert": {}}}], {}, ("not_available_yet", "crm-1", "/steps/0")),
    "a reward that is not in the catalogue": (
        [{"reward": {"give": "nothing"}}],
        {},
        ("unknown_reward", "reward-1", "/steps/0/reward/give"),
    ),
    "segments come later": (
        [SEND],
        {"enter": {"on": {"segment": "vip", "entered": True}}},
        ("not_available_yet", None, "/enter/on"),
    ),
    "scores come later": (
        [SEND],
        {"enter": {"on": {"score": "churn", "rises_above": 0.7}}},
        ("not_available_yet", None, "/enter/on"),
    ),
    "scores in a condition come later": (
        [{"branch": [{"if": {"score": "churn", "gt": 0.7}, "steps": [SEND]}], "id": "b"}],
        {},
        ("not_available_yet", "b", "/steps/0/branch/0/if"),
    ),
    "broken template": (
        [{"emit": {"event": "X", "properties": {"name": "{{ customer."}}, "id": "e"}],
        {},
        ("template_syntax", "e", "/steps/0/emit/properties/name"),
    ),
    "variant of no split": (
        [{"branch": [{"if": {"variant": "nope", "eq": "a"}, "steps": [SEND]}], "id": "b"}],
        {},
        ("unknown_step", "b", "/steps/0/branch/0/if/variant"),
    ),
    "saved by no step": (
        [
            {"call": {"url": "https://shop.example/stock", "save_as": "stock"}, "id": "c"},
            {"branch": [{"if": {"saved": "stocks.left", "lte": 3}, "steps": [SEND]}], "id": "b"},
        ],
        {},
        ("unknown_saved", "b", "/steps/1/branch/0/if/saved"),
    ),
    "saved before the first step": (
        [{"call": {"url": "https://shop.example/stock", "save_as": "stock"}, "id": "c"}],
        {"enter": {"on": {"event": "Product Added"}, "if": {"saved": "stock.left", "lte": 3}}},
        ("unknown_saved", None, "/enter/if/saved"),
    ),
    "items of nothing": (
        [SEND],
        {"enter": {"on": {"event": "Product Added"}, "for_each": "products"}},
        ("malformed_path", None, "/enter/for_each"),
    ),
    "each item of a list": (
        [SEND],
        {"enter": {"on": {"event": "Product Added"}, "for_each": "properties.products[]"}},
        ("malformed_path", None, "/enter/for_each"),
    ),
    "items of a date": (
        [SEND],
        {"enter": {"on": {"date": {"trait": "birthday"}}, "for_each": "properties.products"}},
        ("for_each_without_list", None, "/enter/for_each"),
    ),
    "worth that is calculated": (
        [SEND],
        {"goal": {"event": "Order Completed", "value": "properties.total - properties.tax"}},
        ("unknown_path", None, "/goal/value"),
    ),
    "item without a list": (
        [SEND],
        {"enter": {"on": {"event": "Product Added"}, "if": {"event": "item.sku", "eq": "POT"}}},
        ("unknown_path", None, "/enter/if/event"),
    ),
    "cron that never comes": (
        [SEND],
        {"enter": {"on": {"schedule": {"cron": "0 9 31 2 *", "audience": {"all": []}}}}},
        ("malformed_schedule", None, "/enter/on/schedule"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_error_names_its_code_step_and_pointer(name: str) -> None:
    steps, members, expected = CASES[name]

    errors = [finding for finding in check(*steps, **members) if finding.severity is Severity.ERROR]

    assert expected in told(errors)
    assert all(finding.message.endswith((".", "!")) for finding in errors)


def test_an_event_never_seen_is_a_warning() -> None:
    [finding] = check({"wait_for": {"any": [{"event": "Odrer Completed"}], "timeout": "1d"}, "id": "w"})

    assert (finding.code, finding.severity, finding.pointer) == (
        "event_never_seen", Severity.WARNING, "/steps/0/wait_for/any/0/event",
    )  # fmt: skip


def test_more_messages_a_week_than_the_cap_is_a_warning() -> None:
    daily = [SEND, {"wait": {"for": "1d"}, "id": "d"}] * 1
    [finding] = check(
        {"send": {"template": "hello"}, "id": "s"}, daily[1], {"goto": {"step": "s", "visits": 20}, "id": "g"}
    )

    assert (finding.code, finding.severity) == ("too_many_messages", Severity.WARNING)
    assert "8 messages within 7d" in finding.message


def test_messages_spread_over_weeks_are_within_the_cap() -> None:
    assert (
        check(SEND, {"wait": {"for": "8d"}}, SEND, {"wait": {"for": "8d"}}, SEND, {"wait": {"for": "8d"}}, SEND) == []
    )


def test_nested_steps_have_pointers_into_the_document() -> None:
    nested = {"split": {"variants": [{"variant": "a", "steps": [{"send": {"template": "x"}}]}]}, "id": "s"}
    on_skip = {"send": {"template": "hello", "on_skip": [{"send": {"template": "y"}}]}, "id": "h"}

    on_missing = {"wait": {"until_date": {"trait": "d"}, "on_missing": [{"send": {"template": "z"}}]}, "id": "m"}
    assert {pointer for _, _, pointer in told(check(nested, on_skip))} == {
        "/steps/0/split/variants/0/steps/0/send/template",
        "/steps/1/send/on_skip/0/send/template",
    }
    assert [pointer for _, _, pointer in told(check(on_missing))] == ["/steps/0/wait/on_missing/0/send/template"]


def test_values_filled_in_from_the_customer_are_no_secrets() -> None:
    call = {
        "url": "https://shop.example/customers/{{ customer.id }}",
        "headers": {"X-Token": "{{ saved.session.token }}", "X-Shop": "north"},
        "body": {"password_hint": "", "id": "{{ customer.id }}"},
    }

    assert check({"call": call}) == []


@pytest.mark.parametrize(
    ("members", "steps", "found"),
    [
        ({"enter": {"on": {"event": "Order Completed"}, "occasion": "properties.order"}}, [], "/enter/occasion"),
        ({"goal": {"event": "Order Completed", "value": "properties.totl"}}, [], "/goal/value"),
        ({"exit": [{"trait": "plann"}]}, [], "/exit/0/trait"),
        ({"enter": {"on": {"date": {"trait": "birthdy"}}}}, [], "/enter/on/date/trait"),
        ({}, [{"wait": {"until_date": {"trait": "trial.ends"}}}], "/steps/0/wait/until_date/trait"),
        (
            {
                "enter": {"on": {"event": "Order Completed"}},
                "exit": [
                    {"event": "Order Completed", "where": [{"property": "total", "eq": {"entry": "properties.sum"}}]}
                ],
            },
            [],
            "/exit/0/where/0/eq",
        ),
    ],
)
def test_paths_to_what_nothing_has_ever_come_with_are_warned_of(
    members: dict[str, Any], steps: list[Any], found: str
) -> None:
    around = replace(AROUND, seen=replace(AROUND.seen, traits={"plan": {"string"}, "birthday": {"string"}}))
    document = {
        "journey": "jj",
        "purpose": "marketing",
        "enter": {"on": {"event": "Signed Up"}},
        "steps": [*steps, SEND],
    }

    [finding] = check_journey(JourneyDefinition.model_validate(document | members), around)

    assert (finding.pointer, finding.severity) == (found, Severity.WARNING)
    assert finding.code in ("trait_never_seen", "property_never_seen")


@pytest.mark.parametrize(
    ("members", "steps", "pointers"),
    [
        ({"occasion": "item.skuu"}, [], ["/enter/occasion"]),
        ({"if": {"event": "item.prise", "gte": 20}}, [], ["/enter/if"]),
        ({}, [{"wait": {"until_date": {"event": "item.redy"}}}], ["/steps/0/wait/until_date/event"]),
        ({}, [{"branch": [{"if": {"trait": "plan", "eq": {"entry": "item.pln"}}}]}], ["/steps/0/branch/0/if/eq"]),
        ({"occasion": "item.sku", "if": {"event": "item.sku", "eq": "x"}}, [], []),
    ],
)
def test_paths_into_items_to_what_no_item_has_ever_come_with_are_warned_of(
    members: dict[str, Any], steps: list[Any], pointers: list[str]
) -> None:
    seen = {"Order Completed": {"products": {"array"}, "products[]": {"object"}, "products[].sku": {"string"}}}
    around = replace(AROUND, seen=replace(AROUND.seen, events=seen))
    enter = {"on": {"event": "Order Completed"}, "for_each": "properties.products", **members}
    document = {"journey": "jj", "purpose": "marketing", "enter": enter, "steps": [*steps, SEND]}

    found = check_journey(JourneyDefinition.model_validate(document), around)

    assert [(each.code, each.pointer) for each in found if each.code != "trait_never_seen"] == [
        ("property_never_seen", pointer) for pointer in pointers
    ]


def test_a_start_of_an_archived_journey_says_that_it_is_archived() -> None:
    around = replace(AROUND, seen=replace(AROUND.seen, journeys={"other", "old"}))
    document = {"journey": "jj", "enter": {"on": "api"}, "steps": [{"start": {"journey": key}} for key in ("old", "x")]}

    found = check_journey(JourneyDefinition.model_validate(document), around)

    assert [each.message for each in found if each.code == "unknown_journey"] == [
        "The journey old is archived; publish it again first or name another.",
        "There is no journey x; save it first or name another.",
    ]


def test_what_a_call_brings_into_a_journey_is_not_compared_with_events() -> None:
    enter = {"on": {"any": [{"api": {}}, {"event": "Order Completed"}]}, "occasion": "properties.ticket"}

    assert check(SEND, enter=enter) == []
