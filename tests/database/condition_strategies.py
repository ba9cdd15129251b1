"""Random conditions over the small world of `condition_world.py`."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from domain.conditions.operators import FIGURE_OPERATORS
from tests.database.cart_world import cart_leaves
from tests.database.condition_world import DATES, KEYS, NAMES, SCALARS, STEPS, TEXTS
from tests.database.loyalty_world import loyalty_leaves

_parts = st.sampled_from(KEYS[:4]).flatmap(
    lambda key: st.sampled_from([key, key, key, f"{key}[]", f"{key}[][]", f"{key}[0]", f"{key}[1][]"])
)
_paths = st.one_of(
    *(st.sampled_from(KEYS[:3]), st.sampled_from(["a[]", "b[]", "items[]", "items[0]", "a[1]"]), st.sampled_from(KEYS)),
    st.lists(_parts, min_size=1, max_size=3).map(".".join),
)
_event_paths = _paths.map(lambda path: f"properties.{path}")
_scalars = st.sampled_from(SCALARS)
_periods = st.sampled_from(["0s", "1s", "45m", "24h", "1d", "30d", "52w", "1mo", "2mo", "1y", "3y", "100y"])
_references = st.one_of(
    _event_paths.map(lambda path: {"entry": path}),
    (_paths.map(lambda path: f"traits.{path}") | st.just("id")).map(lambda path: {"customer": path}),
    _paths.map(lambda path: {"saved": path}),
)
_operands = st.one_of(_scalars, _scalars, _references)
_lists = st.lists(_operands, max_size=5)
_dates = st.sampled_from(DATES) | _operands
_globs = st.lists(st.sampled_from([*TEXTS, "*", "a*", "*b", "a*b", "*a*", "2*-*", "**"]), max_size=3)

_OPERANDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("eq", "ne", "gt", "gte", "lt", "lte", "contains", "not_contains"), _operands),
    **dict.fromkeys(("starts_with", "ends_with"), _operands),
    **dict.fromkeys(("in", "not_in"), _lists),
    "between": st.tuples(_operands, _operands).map(list),
    "matches_any": _globs,
    "exists": st.booleans(),
    **dict.fromkeys(("before", "after", "same_day"), _dates),
    **dict.fromkeys(("within_last", "within_next", "anniversary_within"), _periods),
}


@st.composite
def _comparisons(draw: st.DrawFn, operators: list[str]) -> dict[str, Any]:
    operator = draw(st.sampled_from(operators))
    case = {"case": draw(st.sampled_from(["exact", "ignore"]))} if draw(st.booleans()) else {}
    return {operator: draw(_OPERANDS[operator]), **case}


_compared = _comparisons(list(_OPERANDS))
_figures = _comparisons([str(operator) for operator in FIGURE_OPERATORS])


def _logic(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=3)
    return st.one_of(
        lists.map(lambda each: {"all": each}),
        lists.map(lambda each: {"any": each}),
        inner.map(lambda one: {"not": one}),
    )


_predicates = st.recursive(
    st.builds(lambda path, compared: {"property": path, **compared}, _paths, _compared), _logic, max_leaves=3
)
_where = st.one_of(st.just([]), st.lists(_predicates, max_size=2))
_moments = st.sampled_from([text for text in DATES if text.startswith("2026-")]).filter(lambda text: " " not in text)
_bounds = st.fixed_dictionaries(
    {}, optional={"within": _periods, "since": _moments, "until": _moments, "since_entry": st.booleans()}
)
_counts: st.SearchStrategy[dict[str, int]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"at_least": st.integers(0, 3)}),
    st.fixed_dictionaries({"at_most": st.integers(0, 3)}),
    st.fixed_dictionaries({"at_least": st.integers(0, 2), "at_most": st.integers(0, 3)}),
    st.fixed_dictionaries({"exactly": st.integers(0, 3)}),
)
_names = st.sampled_from(NAMES)
_amounts = st.sampled_from(["properties.total", "properties.products[].price", "properties.products[0].price"])
_of = (
    _event_paths
    | _paths.map(lambda path: f"context.{path}")
    | st.sampled_from(["properties", "event", "other.a"])
    | _amounts
)

LEAVES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "trait": st.builds(lambda path, compared: {"trait": path, **compared}, _paths, _compared),
    "event": st.builds(lambda path, compared: {"event": path, **compared}, _event_paths, _compared),
    "saved": st.builds(lambda path, compared: {"saved": path, **compared}, _paths, _compared),
    "did": st.builds(
        lambda name, where, bounds, counts: {"did": name, "where": where, **bounds, **counts},
        *(_names, _where, _bounds, _counts),
    ),
    "aggregate": st.builds(
        lambda figure, name, of, currency, where, bounds, compared: {
            "aggregate": figure,
            "over": name,
            "where": where,
            "of": of,
            "currency": None if figure.startswith("count") else currency,
            **bounds,
            **{key: value for key, value in compared.items() if key != "case"},
        },
        st.sampled_from(["sum", "avg", "min", "max", "count", "count_distinct"]),
        *(_names, _of, st.sampled_from([None, None, "EUR", "USD", "JPY"]), _where, _bounds, _figures),
    ),
    "message": st.fixed_dictionaries(
        {"message": st.sampled_from(["sent", "delivered", "opened", "clicked", "bounced", "complained"])},
        optional={
            "template": st.sampled_from(["t", "u' --"]),
            "journey": st.just("j"),
            "campaign": st.just("c"),
            "channel": st.sampled_from(["email", "webhook"]),
            "within": _periods,
        },
    ),
    "consent": st.fixed_dictionaries(
        {
            "consent": st.sampled_from(["marketing", "newsletter", "x"]),
            "eq": st.sampled_from(["subscribed", "unsubscribed", "pending", "none"]),
        },
        optional={"channel": st.sampled_from(["email", "webhook"])},
    ),
    "variant": st.fixed_dictionaries({"variant": st.sampled_from(STEPS), "eq": st.sampled_from(["a", "b"])}),
    "bucket": st.builds(
        lambda low, width, salt: {"bucket": [low, low + width], "salt": salt},
        *(st.floats(0, 50), st.floats(0.001, 50), st.sampled_from(["", "x", "ä' --"])),
    ),
    **loyalty_leaves(_figures, _periods),
    **cart_leaves(_figures, _periods),
}

conditions = st.recursive(st.one_of(*LEAVES.values()), _logic, max_leaves=4)
