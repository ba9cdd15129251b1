"""Which amounts that a template writes come from the entering event, and so are in the currency that it states.

`{{ entry.properties.total | money }}` is a bare number by the time the filter sees it. So the filter is told where it
came from when the template is compiled, and what it is a part of: an item of the event may state a currency of its own.
A number of the author's or of a trait stays in the shop's currency.
"""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes


def mark_entry_amounts(tree: nodes.Node) -> None:
    """Tell each `money` that names no currency whether its amount is the entering event's."""
    told = {"entry"}
    for node in _walk(tree):
        match node:
            case nodes.For(target=target, iter=source) | nodes.Assign(target=target, node=source):
                names = set(_names(target))
                told = told | names if told.intersection(_names(source)) else told - names
            case nodes.Filter(name="money", node=nodes.Expr() as amount, args=[], kwargs=[]):
                if told.intersection(_names(amount)):
                    node.args = [nodes.Const(None), nodes.Const(True), _holder(amount, told)]  # as in formats.money
            case _:
                pass


def _holder(amount: nodes.Expr, told: set[str]) -> nodes.Expr:
    """What the first value of the event in an amount is a part of: of `entry.item.price` the item."""
    parts = [amount, *amount.find_all((nodes.Getattr, nodes.Getitem))]
    held = (each.node for each in parts if isinstance(each, nodes.Getattr | nodes.Getitem))
    return next((holder for holder in held if told.intersection(_names(holder))), nodes.Const(None))


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    """In the order of the source, so that a name is what it was last set to."""
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child)


def _names(node: nodes.Node) -> list[str]:
    own = [node.name] if isinstance(node, nodes.Name) else []
    return own + [each.name for each in node.find_all(nodes.Name)]
