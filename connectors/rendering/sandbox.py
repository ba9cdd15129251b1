"""Jinja2 as templates see it: data only (no attribute of any Python object), few filters, lenient about gaps.

A missing or null value prints as nothing and is noted, so that one customer without a first name is no failed message.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any  # template values are any JSON

from jinja2 import ChainableUndefined, nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from connectors.rendering.entry_amounts import mark_entry_amounts
from connectors.rendering.formats import FORMATS
from domain.template_abort import Abort
from domain.template_language import FILTERS, LOOP_ATTRIBUTES, TESTS

RANGE_LIMIT = 1_000

missing: dict[str, None] = {}
"""Names that were printed and had no value since this was last cleared; one process renders one thing at a time."""


class Missing(ChainableUndefined):
    """A value that is not there: prints as nothing, counts as false and empty, and stays missing under arithmetic."""

    __slots__ = ()

    def __str__(self) -> str:
        if self._undefined_name is not None:
            missing[self._undefined_name] = None
        return ""

    def __iter__(self) -> Iterator[Any]:
        str(self)
        return iter(())

    def _itself(self, *_: object) -> Missing:
        return self

    def _false(self, _: object) -> bool:
        return False

    def __int__(self) -> int:  # type: ignore[override]  # the parent raises
        return 0

    def __float__(self) -> float:  # type: ignore[override]  # the parent raises
        return 0.0

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _itself  # type: ignore[assignment]  # the parent types these NoReturn
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _itself  # type: ignore[assignment]
    __mod__ = __rmod__ = __neg__ = __pos__ = __round__ = __abs__ = _itself  # type: ignore[assignment]
    __lt__ = __le__ = __gt__ = __ge__ = _false  # type: ignore[assignment]


class Sandbox(ImmutableSandboxedEnvironment):
    """Reaches into mappings and lists only, so `a.items` is the key "items" and no method is ever in sight."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(
            autoescape=autoescape,
            undefined=Missing,
            finalize=_without_none,
            keep_trailing_newline=True,
            extensions=[Abort],
        )
        self.filters = {name: code for name, code in (self.filters | FORMATS).items() if name in FILTERS}
        self.tests = {name: code for name, code in self.tests.items() if name in TESTS}
        self.globals = {"range": _range}

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        """Jinja2's own hook between parsing and compiling."""
        mark_entry_amounts(source)
        return super()._generate(source, name, filename, defer_init)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: a key of a mapping, or what a loop tells about itself."""
        if isinstance(obj, dict):
            try:
                return obj[attribute]
            except KeyError:
                return Missing(obj=obj, name=attribute)
        if isinstance(obj, LoopContext) and attribute in LOOP_ATTRIBUTES:
            return getattr(obj, attribute)
        return obj if isinstance(obj, Missing) else Missing(name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`: a key, a position or a slice."""
        if isinstance(obj, dict | list | tuple | str):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                return Missing(obj=obj, name=str(argument))
        return obj if isinstance(obj, Missing) else Missing(name=str(argument))

    def is_safe_callable(self, obj: Any) -> bool:
        """`range`, `loop.cycle` and `abort`, which is all that the allow-list lets through."""
        return obj is _range or getattr(obj, "__func__", None) in (LoopContext.cycle, Abort.stop)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers; texts that hold numbers count as such, gaps stay gaps, texts never multiply."""
        if left is None or right is None or isinstance(left, Missing) or isinstance(right, Missing):
            return left if isinstance(left, Missing) else Missing(name="number")
        if operator == "+" and not (isinstance(left, int | float) and isinstance(right, int | float)):
            return left + right
        return _ARITHMETIC[operator](_number(left), _number(right))


_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def _number(value: object) -> int | float:
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return float(value)
    raise TypeError(f"a number was expected, not {type(value).__name__}")


def _without_none(value: object) -> object:
    return "" if value is None else value


def _range(*bounds: int) -> range:
    """`range`, at most a thousand numbers long."""
    numbers = range(*bounds)
    if len(numbers) > RANGE_LIMIT:
        raise OverflowError(f"range is limited to {RANGE_LIMIT} numbers")
    return numbers
