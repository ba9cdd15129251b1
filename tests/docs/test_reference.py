"""The reference pages say what the models say, have a place for everything, and show examples that can be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from domain.challenges.definition import ChallengeDefinition
from domain.conditions.model import Condition, Predicate
from domain.contests.definition import ContestDefinition
from domain.journeys.definition import Enter, JourneyDefinition
from domain.journeys.matches import Match
from domain.journeys.steps import STEP_KINDS, Step
from domain.programmes.definition import ProgrammeDefinition, Tiers
from domain.programmes.rules import EarnRule
from domain.rewards import RewardDefinition
from domain.templates import TemplateDocument
from domain.yaml import read_yaml
from perennial.reference import DOCS, pages, refreshed
from perennial.settings import PROJECT

READERS: dict[str, TypeAdapter[Any]] = {
    "journey": TypeAdapter(JourneyDefinition),
    "entry": TypeAdapter(Enter),
    "steps": TypeAdapter(list[Step]),
    "matches": TypeAdapter(list[Match]),
    "condition": TypeAdapter(Condition),
    "predicates": TypeAdapter(list[Predicate]),
    "programme": TypeAdapter(ProgrammeDefinition),
    "rules": TypeAdapter(list[EarnRule]),
    "tiers": TypeAdapter(Tiers),
    "challenge": TypeAdapter(ChallengeDefinition),
    "contest": TypeAdapter(ContestDefinition),
    "reward": TypeAdapter(RewardDefinition),
    "template": TypeAdapter(TemplateDocument),
}
EXAMPLE = re.compile(r"^```yaml (\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _examples() -> list[Any]:
    return [
        pytest.param(kind, text, id=f"{page.stem}-{number}-{kind}")
        for page in sorted(DOCS.rglob("*.md"))
        for number, (kind, text) in enumerate(EXAMPLE.findall(page.read_text()), start=1)
    ]


@pytest.mark.parametrize("page", list(pages()), ids=lambda page: page.name)
def test_the_tables_are_up_to_date(page: Path) -> None:
    assert page.read_text() == refreshed(page), "run `make reference`"


@pytest.mark.parametrize(("kind", "text"), _examples())
def test_every_example_can_be_read(kind: str, text: str) -> None:
    READERS[kind].validate_python(read_yaml(text))


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_every_step_kind_has_its_section_with_an_example(kind: str) -> None:
    sections = re.split(r"^### ", (DOCS / "journeys.md").read_text(), flags=re.MULTILINE)

    (section,) = [text for text in sections if text.startswith(f"{kind}\n")]

    assert any(_kind_of(step) == kind for text in EXAMPLE.findall(section) for step in read_yaml(text[1]))


@pytest.mark.parametrize(
    "form", ["trait", "did", "aggregate", "message", "consent", "event", "saved", "variant", "bucket", "cart"]
)
def test_every_form_of_condition_has_its_section_with_an_example(form: str) -> None:
    sections = re.split(r"^## ", (DOCS / "conditions.md").read_text(), flags=re.MULTILINE)

    (section,) = [text for text in sections if text.startswith(f"{form}\n")]

    assert any(form in read_yaml(text) for _, text in EXAMPLE.findall(section))


@pytest.mark.parametrize("page", [PROJECT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.name)
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), target


def _anchors(page: Path) -> set[str]:
    """Headings as GitHub turns them into anchors."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _kind_of(step: dict[str, Any]) -> str:
    return next(key for key in step if key not in ("id", "name"))
