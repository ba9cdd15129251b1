"""What is found in a condition before it is published."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from domain.conditions.checks import ANYWHERE, Place, Seen, check_condition, check_where
from domain.conditions.inputs import Inputs, inputs_of, inputs_of_where
from domain.conditions.model import Condition, Predicate
from domain.findings import Severity, has_errors

_CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)
_WHERE: TypeAdapter[list[Predicate]] = TypeAdapter(list[Predicate])
_SEEN = Seen(
    events={"Order Completed": {"total": ["number"], "coupon": ["string"], "products[].price": ["string"]}},
    traits={"plan": ["string"], "orders": ["number", "string"]},
)


def codes(document: dict[str, Any], seen: Seen = _SEEN, place: Place = ANYWHERE) -> list[tuple[str, str]]:
    findings = check_condition(_CONDITION.validate_python(document), seen, place)
    return [(finding.code, finding.pointer) for finding in findings]


@pytest.mark.parametrize("leaf", [{"segment": "vip"}, {"score": "churn", "gt": 0.5}])
def test_forms_of_a_later_release_are_not_available_yet(leaf: dict[str, Any]) -> None:
    assert codes({"all": [{"trait": "plan", "eq": "x"}, {"not": leaf}]}) == [("not_available_yet", "/all/1/not")]


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"any": []}, ""),
        ({"all": [{"any": []}]}, "/all/0"),
        ({"not": {"all": []}}, ""),
        ({"not": {"trait": "plan", "not_in": []}}, ""),
        ({"not": {"any": [{"trait": "plan", "eq": "x"}, {"did": "Order Completed", "at_least": 0}]}}, ""),
        ({"trait": "plan", "in": []}, "/in"),
        ({"trait": "plan", "eq": None}, "/eq"),
        ({"trait": "plan", "in": [None]}, "/in"),
        ({"trait": "plan", "matches_any": []}, "/matches_any"),
        ({"trait": "orders", "between": [10, 5]}, "/between"),
        ({"trait": "plan", "between": ["b", "a"]}, "/between"),
        ({"trait": "orders", "between": [1, "2"]}, "/between"),
        ({"trait": "orders", "gt": True}, "/gt"),
        ({"trait": "plan", "starts_with": 5}, "/starts_with"),
        ({"trait": "plan", "before": "tomorrow"}, "/before"),
        ({"trait": "plan", "same_day": "2026-02-30"}, "/same_day"),
        ({"did": "Order Completed", "at_least": 3, "at_most": 2}, ""),
        ({"did": "Order Completed", "where": [{"property": "total", "in": []}]}, "/where/0/in"),
        ({"did": "Order Completed", "where": [{"any": []}]}, "/where/0"),
        ({"aggregate": "sum", "of": "properties.total", "over": "Order Completed", "between": [2, 1]}, "/between"),
        ({"all": [{"trait": "plan", "eq": "a"}, {"trait": "plan", "eq": "b"}]}, "/all/1"),
        ({"all": [{"trait": "plan", "eq": "a"}, {"trait": "plan", "ne": "a"}]}, "/all/1"),
        ({"all": [{"trait": "plan", "in": ["a", "b"]}, {"trait": "plan", "not_in": ["a", "b", "c"]}]}, "/all/1"),
        ({"all": [{"trait": "orders", "gt": 5}, {"trait": "orders", "lt": 5}]}, "/all/1"),
        ({"all": [{"trait": "orders", "gte": 5}, {"trait": "orders", "lt": 5}]}, "/all/1"),
        ({"all": [{"trait": "orders", "between": [7, 9]}, {"trait": "orders", "lte": 6}]}, "/all/1"),
        ({"all": [{"trait": "orders", "gte": 5}, {"trait": "orders", "eq": 4}]}, "/all/1"),
        ({"all": [{"trait": "plan", "exists": False}, {"trait": "plan", "eq": "a"}]}, "/all/1"),
        ({"any": [{"trait": "plan", "eq": "a"}, {"all": [{"trait": "plan", "in": []}]}]}, "/any/1/all/0/in"),
    ],
)
def test_what_can_never_be_true_is_an_error(document: dict[str, Any], pointer: str) -> None:
    assert codes(document, Seen()) == [("never_true", pointer)]


@pytest.mark.parametrize(
    "document",
    [
        {"all": []},
        {"not": {"any": []}},
        {"not": {"trait": "plan", "in": []}},
        {"trait": "plan", "not_in": []},
        {"trait": "plan", "ne": None},
        {"trait": "orders", "between": [5, 5]},
        {"trait": "orders", "between": [{"entry": "properties.low"}, 5]},
        {"trait": "plan", "between": ["a", "B"], "case": "ignore"},
        {"all": [{"trait": "orders", "gte": 5}, {"trait": "orders", "lte": 5}]},
        {"all": [{"trait": "plan", "eq": "a"}, {"trait": "plan", "eq": {"entry": "properties.plan"}}]},
        {"all": [{"trait": "plan", "exists": False}, {"trait": "plan", "ne": "a"}]},
        {"any": [{"trait": "plan", "eq": "a"}, {"trait": "plan", "eq": "b"}]},
        {"did": "Order Completed", "at_most": 0},
        {"did": "Order Completed", "at_most": 0, "where": [{"any": []}]},
    ],
)
def test_what_can_be_true_is_not_an_error(document: dict[str, Any]) -> None:
    assert codes(document) == []


def test_elements_of_an_array_may_differ_so_they_do_not_contradict_each_other() -> None:
    seen = Seen()
    assert codes({"all": [{"trait": "sizes[]", "eq": "s"}, {"trait": "sizes[]", "eq": "m"}]}, seen) == []


def test_an_event_that_was_never_seen_is_a_warning() -> None:
    [finding] = check_condition(_CONDITION.validate_python({"not": {"did": "Order Complete"}}), _SEEN)
    assert (finding.code, finding.severity, finding.pointer) == ("event_never_seen", Severity.WARNING, "/not/did")
    assert not has_errors([finding])


def test_nothing_is_said_about_what_was_seen_when_nothing_is_known() -> None:
    assert codes({"all": [{"did": "Whatever"}, {"trait": "whatever", "gte": 5}]}, Seen()) == []


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"trait": "plan", "gte": 3}, [("wrong_type", "")]),
        ({"trait": "orders", "gte": 3}, []),
        ({"trait": "plan", "ne": 3}, [("wrong_type", "")]),
        ({"trait": "orders", "within_last": "1d"}, []),
        ({"trait": "color", "eq": "red"}, [("trait_never_seen", "")]),
        ({"did": "Order Completed", "where": [{"property": "coupon", "gt": 5}]}, [("wrong_type", "/where/0")]),
        (
            {"did": "Order Completed", "where": [{"any": [{"not": {"property": "cupon", "eq": "x"}}]}]},
            [("property_never_seen", "/where/0/any/0/not")],
        ),
        (
            {"aggregate": "sum", "of": "properties.products[].price", "over": "Order Completed", "gte": 1},
            [("wrong_type", "/of")],
        ),
        ({"trait": "plan", "gte": {"entry": "properties.total"}}, []),
    ],
)
def test_a_type_that_never_came_is_a_warning(document: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert codes(document) == expected
    assert not has_errors(check_condition(_CONDITION.validate_python(document), _SEEN))


def test_the_entry_event_is_checked_by_what_was_seen_of_the_events_that_can_enter() -> None:
    place = Place(entry_events=["Order Completed"])
    assert codes({"event": "properties.total", "starts_with": "1"}, _SEEN, place) == [("wrong_type", "")]


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"event": "total", "eq": 1}, "/event"),
        ({"aggregate": "sum", "of": "total", "over": "Order Completed", "gte": 1}, "/of"),
    ],
)
def test_a_path_into_an_event_starts_at_the_event(document: dict[str, Any], pointer: str) -> None:
    [finding] = check_condition(_CONDITION.validate_python(document))
    assert (finding.code, finding.pointer) == ("unknown_path", pointer)
    assert "'properties.total'" in finding.message


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"event": "properties.total - properties.tax", "eq": 1}, "/event"),
        ({"aggregate": "sum", "of": "properties.total * 2", "over": "Order Completed", "gte": 1}, "/of"),
    ],
)
def test_an_expression_in_place_of_a_path_is_found(document: dict[str, Any], pointer: str) -> None:
    [finding] = check_condition(_CONDITION.validate_python(document))
    assert (finding.code, finding.pointer) == ("unknown_path", pointer)
    assert "nothing is calculated" in finding.message


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"event": "properties.total", "eq": 1}, ""),
        ({"variant": "split", "eq": "a"}, ""),
        ({"did": "Order Completed", "since_entry": True}, "/since_entry"),
        ({"trait": "plan", "eq": {"entry": "properties.plan"}}, "/eq"),
        (
            {"did": "Order Completed", "where": [{"property": "total", "gte": {"saved": "answer.total"}}]},
            "/where/0/gte",
        ),
    ],
)
def test_an_audience_has_no_run_to_ask_about(document: dict[str, Any], pointer: str) -> None:
    assert codes(document, place=Place(in_run=False)) == [("needs_a_run", pointer)]


def test_pointers_start_where_the_condition_stands_and_name_the_step() -> None:
    place = Place(pointer="/steps/2/branch/0/if", step="value")
    [finding] = check_condition(_CONDITION.validate_python({"all": [{"any": []}]}), Seen(), place)
    assert (finding.pointer, finding.step) == ("/steps/2/branch/0/if/all/0", "value")
    where = _WHERE.validate_python([{"property": "total", "gte": 5}, {"property": "total", "lt": 5}])
    [contradiction] = check_where(where, "Order Completed", _SEEN, Place(pointer="/enter/on/where"))
    assert (contradiction.code, contradiction.pointer) == ("never_true", "/enter/on/where/1")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"trait": "address.country", "eq": "DE"}, Inputs(traits=frozenset({"address"}))),
        ({"trait": "birthday", "anniversary_within": "7d"}, Inputs(traits=frozenset({"birthday"}), time=True)),
        ({"did": "Order Completed"}, Inputs(events=frozenset({"Order Completed"}))),
        (
            {
                "did": "Order Completed",
                "within": "7d",
                "where": [{"property": "size", "eq": {"customer": "traits.size"}}],
            },
            Inputs(events=frozenset({"Order Completed"}), traits=frozenset({"size"}), time=True),
        ),
        ({"message": "opened", "within": "1d"}, Inputs(messages=frozenset({"opened"}), time=True)),
        ({"consent": "marketing"}, Inputs(consents=frozenset({"marketing"}))),
        ({"all": [{"bucket": [0, 5]}, {"variant": "s", "eq": "a"}, {"event": "event", "eq": "x"}]}, Inputs()),
        ({"saved": "stock.left", "eq": {"customer": "traits.size"}}, Inputs(traits=frozenset({"size"}))),
        (
            {"any": [{"not": {"did": "A"}}, {"aggregate": "count", "over": "B", "gte": 2}]},
            Inputs(events=frozenset({"A", "B"})),
        ),
    ],
)
def test_the_inputs_are_all_that_can_change_a_condition(document: dict[str, Any], expected: Inputs) -> None:
    assert inputs_of(_CONDITION.validate_python(document)) == expected


def test_a_predicate_over_an_event_can_hang_on_a_trait() -> None:
    where = _WHERE.validate_python([{"not": {"property": "size", "in": ["m", {"customer": "traits.size"}]}}])
    assert inputs_of_where(where) == Inputs(traits=frozenset({"size"}))


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"trait": "plann", "eq": "x"}, ("trait_never_seen", "")),
        (
            {"aggregate": "count_distinct", "of": "properties.sku", "over": "Order Completed", "gte": 1},
            ("property_never_seen", "/of"),
        ),
        (
            {"did": "Order Completed", "where": [{"property": "coupon", "eq": {"entry": "properties.code"}}]},
            ("property_never_seen", "/where/0/eq"),
        ),
        ({"trait": "plan", "eq": {"customer": "traits.plann"}}, ("trait_never_seen", "/eq")),
        ({"message": "opened", "template": "helo"}, ("unknown_template", "/template")),
        ({"message": "clicked", "journey": "welcom"}, ("unknown_journey", "/journey")),
    ],
)
def test_names_that_nothing_has_ever_seen_are_warned_of(document: dict[str, Any], found: tuple[str, str]) -> None:
    seen = replace(_SEEN, templates={"hello"}, journeys={"welcome"})
    place = Place(entry_events=["Order Completed"])

    [finding] = check_condition(_CONDITION.validate_python(document), seen, place)

    assert (finding.code, finding.pointer, finding.severity) == (*found, Severity.WARNING)


def test_names_that_have_been_seen_or_of_which_nothing_is_known_are_not_warned_of() -> None:
    wanted: list[dict[str, Any]] = [
        {"aggregate": "count_distinct", "of": "properties.coupon", "over": "Order Completed", "gte": 1},
        {"did": "Order Completed", "where": [{"property": "coupon", "eq": {"entry": "properties.coupon"}}]},
        {"trait": "plan", "eq": {"customer": "traits.plan"}},
        {"message": "opened", "template": "hello", "journey": "welcome"},
    ]
    place = Place(entry_events=["Order Completed"])

    assert codes({"all": wanted}, replace(_SEEN, templates={"hello"}, journeys={"welcome"}), place) == []
    assert codes({"all": [*wanted, {"message": "opened", "template": "other"}]}, _SEEN, Place()) == []


def test_one_element_of_a_list_is_known_by_what_any_has_come_as() -> None:
    def priced(path: str) -> dict[str, Any]:
        return {"did": "Order Completed", "where": [{"property": path, "eq": "9.99"}]}

    assert codes(priced("products[0].price")) == []
    assert codes(priced("products[0].cost")) == [("property_never_seen", "/where/0")]
