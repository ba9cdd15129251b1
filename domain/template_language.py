"""The part of Jinja2 that templates may use: an allow-list over the parsed source, checked before anything is run.

Everything that is not named here is refused: calls (but `range`, `loop.cycle` and `abort`), macros, imports, includes,
inheritance, raw attribute access. The sandbox in connectors/rendering/ is the second line, killable child processes
are the third.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from jinja2 import Environment, TemplateSyntaxError, nodes

from domain.findings import Finding, Severity
from domain.template_abort import Abort
from domain.templates import LAYOUT, TemplateDocument, blocks_of, has_block_mark

CONTEXT_NAMES = frozenset({"cart", "customer", "entry", "links", "message", "saved", "shop"})
"""What a template finds: customer and cart, the entering event, kept answers, the shop, our links, the message."""

CONTEXT_MEMBERS: Mapping[str, frozenset[str]] = {
    "cart": frozenset({"products", "count", "total", "currency", "url"}),
    "customer": frozenset({"id", "traits", "points", "tier"}),
    "links": frozenset({"unsubscribe", "preferences", "confirm", "view", "referral"}),
    "message": frozenset({"purpose", "languages"}),
    "shop": frozenset({
        "name", "language", "zone", "currency", "website", "logo_url", "accent_color", "postal_address", "email",
    }),
}  # fmt: skip
"""What is in those of them whose members are the same in every message: domain/message_context.py."""

FILTERS = frozenset({
    "abs", "batch", "capitalize", "d", "date", "default", "e", "escape", "first", "float", "int", "items", "join",
    "last", "length", "lower", "max", "min", "money", "number", "replace", "reverse", "round", "slice", "sort",
    "string", "striptags", "sum", "title", "tojson", "translate", "trim", "truncate", "unique", "upper", "urlencode",
    "wordcount",
})  # fmt: skip
TESTS = frozenset({
    "boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "greaterthan", "gt", "in",
    "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "none", "number", "odd", "sequence",
    "string", "true", "undefined", "upper",
})  # fmt: skip
LOOP_ATTRIBUTES = frozenset(
    {"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem", "cycle"}
)
LOOP_DEPTH = 3
"""Loops inside loops: products, their variants, their options. Deeper ones multiply without bound."""

_NODES: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.AssignBlock,
    nodes.Name, nodes.NSRef, nodes.Const, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Getattr, nodes.Getitem,
    nodes.Slice, nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword, nodes.CondExpr, nodes.Compare, nodes.Operand,
    nodes.And, nodes.Or, nodes.Not, nodes.Concat, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod,
    nodes.Neg, nodes.Pos, nodes.ExprStmt, nodes.ExtensionAttribute,
)  # fmt: skip

_PARSER = Environment(autoescape=True, extensions=[Abort])  # only parses: nothing is ever rendered with it


_NO_BODY = "An email needs a body: mjml, html, or text for a mail of text only."


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing a source does that it may not, or that will hardly be meant."""

    code: str
    message: str
    line: int | None = None
    severity: Severity = Severity.ERROR


def faults(source: str) -> list[Fault]:
    """Everything wrong with one Jinja2 source; empty when it may be rendered."""
    try:
        tree = _PARSER.parse(source)
        found = list(_forbidden(tree))
    except TemplateSyntaxError as error:
        return [Fault("template_syntax", f"Line {error.lineno}: {error.message}", error.lineno)]
    except RecursionError:
        return [Fault("template_too_deep", "The template is nested too deeply.")]
    unknown = [
        f"{name} is not known here; a template finds {_listed(CONTEXT_NAMES)}." for name in sorted(_unknown_names(tree))
    ] + [
        f"There is no {name}.{member}; {name} has {_listed(CONTEXT_MEMBERS[name])}."
        for name, member in sorted(_unknown_members(tree))
    ]
    return found + [Fault("unknown_variable", message, severity=Severity.WARNING) for message in unknown]


def template_findings(template: TemplateDocument) -> list[Finding]:
    """What can be said of a template without rendering it."""
    found = [
        Finding(code=fault.code, severity=fault.severity, pointer=pointer, message=fault.message)
        for pointer, source in template.sources().items()
        for fault in faults(source)
    ]
    return [*found, *_missing_parts(template), *_about_blocks(template)]


def _about_blocks(template: TemplateDocument) -> Iterator[Finding]:
    """What is shown nowhere, or as it is written."""
    for pointer, source in template.sources().items():
        place = pointer.rpartition("/")[2]
        if has_block_mark(source) and place not in ("mjml", "html"):
            message = "A block is shown in mjml and html only; everywhere else write its words out."
            yield Finding(code="block_misplaced", pointer=pointer, message=message)
        elif template.block and place in ("subject", "preheader", "text"):
            message = f"The {place} of a block is shown nowhere; write it in the templates that show the block."
            yield Finding(code="block_part_unused", severity=Severity.WARNING, pointer=pointer, message=message)


def _missing_parts(template: TemplateDocument) -> Iterator[Finding]:
    if template.channel in ("push", "sms"):
        message = f"The channel {template.channel} is not set up yet; use email or webhook."
        yield Finding(code="channel_unavailable", pointer="/channel", message=message)
    if template.channel == "webhook" and not template.url:
        yield Finding(code="url_missing", pointer="/url", message="A webhook needs the url that it posts to.")
    if template.channel != "email":
        return
    if not (template.subject or "").strip() and template.template != LAYOUT and not template.block:
        yield Finding(code="subject_missing", pointer="/subject", message="An email needs a subject.")
    if template.block and blocks_of([template]):
        yield Finding(
            code="block_nested", pointer="", message="A block cannot contain another block; copy its content here."
        )
    if template.mjml is None and template.html is None and (template.block or not (template.text or "").strip()):
        message = "A block needs a body: mjml or html." if template.block else _NO_BODY
        yield Finding(code="body_missing", pointer="", message=message)


def _unknown_names(tree: nodes.Template) -> set[str]:
    """Names that are read and come from nowhere. (Jinja2's own search folds constants, so it could be made to hang.)"""
    names = list(tree.find_all(nodes.Name))
    made_here = {name.name for name in names if name.ctx != "load"}
    return {name.name for name in names} - made_here - CONTEXT_NAMES - {"range", "loop"}


def _unknown_members(tree: nodes.Template) -> set[tuple[str, str]]:
    """`shop.nme` and `shop["nme"]`, unless the template itself has made something of the name."""
    made_here = {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
    found = set()
    for node in tree.find_all(nodes.Expr):
        match node:
            case (
                nodes.Getattr(node=nodes.Name(name=name), attr=str(member))
                | nodes.Getitem(node=nodes.Name(name=name), arg=nodes.Const(value=str(member)))
            ) if name in CONTEXT_MEMBERS and name not in made_here:
                found |= {(name, member)} - {(name, each) for each in CONTEXT_MEMBERS[name]}
            case _:
                pass
    return found


def _forbidden(tree: nodes.Node) -> Iterator[Fault]:
    for node, loops in _walk(tree, 0):
        fault = _fault_of(node, loops)
        if fault is not None:
            yield Fault(fault.code, f"Line {node.lineno}: {fault.message}", node.lineno)


def _fault_of(node: nodes.Node, loops: int) -> Fault | None:
    match node:
        case nodes.Call():
            return _fault_of_call(node)
        case nodes.Filter(name=name):
            known, message = name in FILTERS, f"the filter {name} is not available; there are {_listed(FILTERS)}."
            return None if known else Fault("template_filter", message)
        case nodes.Test(name=name):
            return None if name in TESTS else Fault("template_test", f"the test {name} is not available.")
        case nodes.For():
            return _fault_of_loop(node, loops)
        case _ if isinstance(node, _NODES):
            return _fault_of_name(node)
        case _:
            return Fault("template_forbidden", f"{_word(node)} is not available; use if, for, set and filters.")


def _fault_of_loop(node: nodes.For, loops: int) -> Fault | None:
    if node.recursive:
        return Fault("template_forbidden", "recursive loops are not available.")
    if loops > LOOP_DEPTH:
        return Fault("template_too_deep", f"more than {LOOP_DEPTH} loops inside each other.")
    return None


def _fault_of_name(node: nodes.Node) -> Fault | None:
    match node:
        case nodes.Name(name=name) | nodes.Getattr(attr=name) if name.startswith("_"):
            return Fault("template_forbidden", f"names that start with an underscore ({name}) are not available.")
        case nodes.Getitem(arg=nodes.Const(value=str(key))) if key.startswith("__"):
            return Fault("template_forbidden", f"{key} is not available.")
        case _:
            return None


def _fault_of_call(node: nodes.Call) -> Fault | None:
    match node.node:
        case nodes.ExtensionAttribute():  # what `abort` is made of; no source can name it
            listed = True
        case nodes.Name(name="range") | nodes.Getattr(node=nodes.Name(name="loop"), attr="cycle"):
            listed = node.dyn_args is None and node.dyn_kwargs is None
        case _:
            listed = False
    return None if listed else Fault("template_call", "calls are not available, only range(...) and loop.cycle(...).")


def _walk(node: nodes.Node, loops: int) -> Iterable[tuple[nodes.Node, int]]:
    yield node, loops
    for child in node.iter_child_nodes():
        yield from _walk(child, loops + isinstance(child, nodes.For))


def _word(node: nodes.Node) -> str:
    return _WORDS.get(type(node), type(node).__name__.lower())


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


_WORDS: Mapping[type[nodes.Node], str] = {
    nodes.FilterBlock: "{% filter %}",
    nodes.Include: "{% include %}",
    nodes.Import: "{% import %}",
    nodes.FromImport: "{% from %}",
    nodes.Extends: "{% extends %}",
    nodes.Block: "{% block %}",
    nodes.Macro: "{% macro %}",
    nodes.CallBlock: "{% call %}",
    nodes.Pow: "the power operator",
    nodes.Scope: "{% autoescape %}",
    nodes.ScopedEvalContextModifier: "{% autoescape %}",
    nodes.With: "{% with %}",
}
