"""Every call, command, metric and setting that a page names exists."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import typer
from prometheus_client import REGISTRY

import activities
import triggers
from api.app import create_app
from api.dependencies import ApiDependencies
from database.session import Database
from perennial.cli import app
from perennial.reference import DOCS
from perennial.settings import PROJECT, Settings

PAGES = [PROJECT / "README.md", *sorted(DOCS.rglob("*.md"))]
CALL = re.compile(r"`(GET|PUT|POST|PATCH|DELETE) (/v1/[^`?]*)")
COMMAND = re.compile(r"(?:^|`)perennial ([a-z]+(?: [a-z]+)?)", re.MULTILINE)


@pytest.fixture(scope="module")
def described() -> re.Pattern[str]:
    """Matches every operation of the OpenAPI document; a parameter may be anything but a slash."""
    # Nothing is asked of the database: the document is made from the routes.
    document = create_app(ApiDependencies(database=Database("postgresql://nobody@127.0.0.1:1/none"))).openapi()
    operations = [
        f"{method.upper()} {re.sub(r'{[^}]*}', '[^/]+', path)}"
        for path, methods in document["paths"].items()
        for method in methods
    ]
    return re.compile("|".join(operations))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_call_that_a_page_names_exists(page: Path, described: re.Pattern[str]) -> None:
    for method, path in CALL.findall(page.read_text()):
        assert described.fullmatch(f"{method} {path}"), f"{method} {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    known = set(_paths(typer.main.get_command(app), ""))
    for words in COMMAND.findall(page.read_text()):
        group = words.split()[0]
        assert words in known or group in known, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), flags=re.MULTILINE)) <= targets


def test_every_setting_that_a_page_names_exists() -> None:
    known = {f"PERENNIAL_{name.upper()}" for name in Settings.model_fields}
    for page in PAGES:
        assert set(re.findall(r"PERENNIAL_[A-Z_]*[A-Z]", page.read_text())) <= known


def test_every_metric_of_ours_that_a_page_names_exists() -> None:
    for package in (activities, triggers):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)  # which registers its metrics

    known = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    known |= {family.name for family in REGISTRY.collect()} | {f"{family.name}_total" for family in REGISTRY.collect()}
    named = {name for page in PAGES for name in re.findall(r"`(perennial_[a-z_]+)`", page.read_text())}
    assert named
    assert named - {"perennial_app"} <= known  # that is the database's role


def _paths(command: object, path: str) -> list[str]:
    inner: dict[str, object] = getattr(command, "commands", {})
    below = [each for name, one in inner.items() for each in _paths(one, f"{path} {name}".strip())]
    return [*([path] if path else []), *below]
