"""What the product says to customers, in the languages that come with it and in those that somebody adds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from jinja2 import Environment, nodes
from jinja2.ext import extract_from_ast

from connectors import translations
from connectors.translations import FOLDER, words_in
from domain.template_abort import Abort

PROJECT = Path(__file__).parents[2]
LAYOUT = PROJECT / "templates" / "email" / "layout" / "body.mjml"
SPEAKING = [*(PROJECT / "api").glob("*.py"), PROJECT / "activities" / "message_content.py"]


def said() -> set[str]:
    """Every text that the code, the pages and the layout look up."""
    found = set()
    for file in SPEAKING:
        with file.open("rb") as source:
            found |= {str(text) for _, text, _, _ in extract("python", source, keywords={"words": None})}
    environment = Environment(autoescape=True, extensions=[Abort])
    for page in (PROJECT / "templates" / "console").glob("*.html"):
        tree = environment.parse(page.read_text(encoding="utf-8"))
        for _, _, text in extract_from_ast(tree, ["words"]):
            found.add(str(text[0] if isinstance(text, tuple) else text))
    for used in environment.parse(LAYOUT.read_text(encoding="utf-8")).find_all(nodes.Filter):
        if used.name == "translate" and isinstance(used.node, nodes.Const):
            found.add(used.node.value)
    return found


def catalogue(language: str) -> Catalog:
    with (FOLDER / f"{language}.po").open("rb") as file:
        return read_po(file)


@pytest.mark.parametrize("language", ["de", "es", "fr", "it", "nl"])
def test_everything_is_said_in_every_language_that_comes_with_the_product(language: str) -> None:
    translated = {str(each.id): str(each.string) for each in catalogue(language) if each.id}

    assert translated.keys() == said()
    for text, translation in translated.items():
        assert translation, text
        assert sorted(re.findall(r"%\(\w+\)s", translation)) == sorted(re.findall(r"%\(\w+\)s", text))


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        (["de"], "de"),
        (["de-AT", "fr"], "de"),
        (["DE_ch"], "de"),
        (["xx", "nl"], "nl"),
        (["en-GB", "de"], "en"),
        (["German", "", "\x00", "-", "de" * 5_000], "en"),
        ([], "en"),
    ],
)
def test_the_first_language_that_there_are_words_in_is_spoken(asked: list[str], language: str) -> None:
    assert words_in(asked).language == language


def test_a_value_is_never_read_as_a_place_for_another() -> None:
    words = words_in(["de"])

    asked = words(
        "May %(shop)s write to %(address)s about this: %(topics)s?", shop="%(address)s", address="a@b", topics="x"
    )

    assert asked == "Darf %(address)s zu diesen Themen an a@b schreiben: x?"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of translations for one test."""
    monkeypatch.setattr(translations, "FOLDER", tmp_path)
    _forget()
    yield tmp_path
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    translations._files.cache_clear()
    translations._words.cache_clear()


def test_who_adds_a_file_adds_a_language(folder: Path) -> None:
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    (folder / "pt_BR.po").write_text(f'{header}msgid "Thank you"\nmsgstr "Obrigado"\n', encoding="utf-8")

    words = words_in(["pt-BR"])

    assert (words.language, words("Thank you")) == ("pt-BR", "Obrigado")
    assert words("Hello") == "Hello"  # what a file leaves out
