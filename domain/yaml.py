"""Reads YAML as its 1.2 core schema does: `on`, `no` are words, `10:00` and dates are text; no aliases, tags or twins.

PyYAML follows YAML 1.1, where the key `on` is the boolean true and 10:00 is the number 600.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from domain.errors import Malformed


class _CoreLoader(yaml.SafeLoader):
    """SafeLoader with the resolvers of the YAML 1.2 core schema."""

    def compose_node(self, parent: Any, index: Any) -> Any:  # PyYAML is untyped here
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # its stubs leave this one out
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # PyYAML is untyped here
        written: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key.start_mark)
            if (name := self.construct_object(key)) in written:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} is written twice", key.start_mark)
            written.add(name)
        return super().construct_mapping(node, deep)


_CoreLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("tag:yaml.org,2002:float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
):
    _CoreLoader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))

# PyYAML's own would read 0123 as octal.
_CoreLoader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
_CoreLoader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(node.value))


def read_yaml(text: str | bytes) -> Any:
    """The document as plain dicts, lists and scalars. Raises Malformed with line and column."""
    try:
        return yaml.load(text, Loader=_CoreLoader)  # noqa: S506  a SafeLoader with fewer types
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        if isinstance(error, UnicodeDecodeError | yaml.reader.ReaderError):
            problem = f"it cannot be read as UTF-8 text ({error.reason})"
        raise Malformed(f"The YAML cannot be read{where}: {problem}", code="malformed_yaml") from None
