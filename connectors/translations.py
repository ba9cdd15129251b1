"""The words that the product itself says to customers, in their languages: footers of mails, and the pages of links.

Each `templates/translations/<language>.po` (GNU gettext) is a language; who adds a file adds one. English stands in the
code and in the pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Final

from babel import negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

from domain.languages import canonical

FOLDER: Final = Path(__file__).parent.parent / "templates" / "translations"
_ENGLISH: Final = "en"
_PLACE: Final = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class Words:
    """What the product says in one language; what a translation leaves out is said in English."""

    language: str
    _catalogue: NullTranslations

    def __call__(self, text: str, **values: object) -> str:
        """The text, written in English, in this language, with `%(name)s` filled in."""
        said = self._catalogue.gettext(text)
        return _PLACE.sub(lambda place: str(values.get(place[1], place[0])), said)


def words_in(languages: Iterable[str]) -> Words:
    """Of the languages asked for (`de-AT`, `de_AT`), best first, the first that there are words in, else English."""
    return _words(negotiate_locale(map(canonical, languages), [_ENGLISH, *_files()], sep="-") or _ENGLISH)


@cache
def _files() -> Mapping[str, Path]:
    return {canonical(path.stem): path for path in FOLDER.glob("*.po")}


@cache
def _words(language: str) -> Words:
    path = _files().get(language.lower())
    if path is None:
        return Words(_ENGLISH, NullTranslations())
    compiled = BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file))
    compiled.seek(0)
    return Words(path.stem.replace("_", "-"), Translations(compiled))
