"""Who shops there: made-up people, the same ones at every start, all with addresses at example.com (RFC 2606)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any  # traits are any JSON
from unicodedata import normalize

_SEED = 1854
_PLACES = (  # city, country, zone, language, first names, last names
    (
        *("Hamburg", "DE", "Europe/Berlin", "de"),
        ("Anna", "Jonas", "Lena", "Felix", "Mia", "Emil", "Greta", "Oskar", "Ida", "Paul", "Frieda", "Anton"),
        ("Petersen", "Schröder", "Lüders", "Hansen", "Brandt", "Möller", "Vogt", "Krüger"),
    ),
    (
        *("Wien", "AT", "Europe/Vienna", "de"),
        ("Katharina", "Lukas", "Theresa", "Maximilian", "Valentina", "Jakob", "Rosa", "Leopold"),
        ("Gruber", "Hofer", "Pichler", "Wagner", "Steiner", "Moser"),
    ),
    (
        *("Utrecht", "NL", "Europe/Amsterdam", "nl"),
        ("Sanne", "Daan", "Femke", "Bram", "Lotte", "Sem", "Noor", "Thijs", "Roos"),
        ("de Vries", "Bakker", "Visser", "Mulder", "van Dijk", "Smit"),
    ),
    (
        *("Lyon", "FR", "Europe/Paris", "fr"),
        ("Camille", "Louis", "Chloé", "Hugo", "Manon", "Léon", "Inès", "Théo", "Margaux"),
        ("Martin", "Lefèvre", "Moreau", "Girard", "Roux", "Fontaine"),
    ),
    (
        *("Cork", "IE", "Europe/Dublin", "en"),
        ("Aoife", "Conor", "Niamh", "Cillian", "Saoirse", "Eoin", "Maeve", "Rory"),
        ("Murphy", "O'Sullivan", "Walsh", "Byrne", "Kelly", "Doyle"),
    ),
    (
        *("Portland", "US", "America/Los_Angeles", "en"),
        ("Hazel", "Owen", "June", "Theodore", "Wren", "Silas", "Olive", "Jasper"),
        ("Nguyen", "Carter", "Ramirez", "Brooks", "Sullivan", "Park"),
    ),
)


@dataclass(frozen=True, slots=True)
class Person:
    """One customer of the nursery. `eagerness` (0 to 1) is how much of a gardener somebody is."""

    id: str
    email: str
    first_name: str
    last_name: str
    city: str
    country: str
    zone: str
    language: str
    eagerness: float
    wants_mail: bool

    @property
    def traits(self) -> dict[str, Any]:
        """The profile as the shop's backend would send it."""
        return {
            "email": self.email,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "address": {"city": self.city, "country": self.country},
            "timezone": self.zone,
            "language": self.language,
            "garden": "balcony" if self.eagerness < 0.35 else "garden" if self.eagerness < 0.85 else "smallholding",
        }


def people(count: int) -> list[Person]:
    """The first `count` customers; always the same ones."""
    random = Random(_SEED)  # noqa: S311  made-up people, no secrets
    return [_person(random, f"G-{1001 + number}") for number in range(count)]


def newcomer(random: Random) -> Person:
    """Somebody who has never been there, and who wants to hear from the shop."""
    return replace(_person(random, f"G-{random.randrange(16**8):08x}"), wants_mail=True)


def _person(random: Random, customer_id: str) -> Person:
    city, country, zone, language, first_names, last_names = random.choice(_PLACES)
    first, last = random.choice(first_names), random.choice(last_names)
    return Person(
        id=customer_id,
        email=f"{_plain(first)}.{_plain(last)}.{customer_id.removeprefix('G-')}@example.com",
        first_name=first,
        last_name=last,
        city=city,
        country=country,
        zone=zone,
        language=language,
        eagerness=random.betavariate(2, 3),
        wants_mail=random.random() < 0.82,
    )


def _plain(name: str) -> str:
    """Letters that fit in an address: `Lefèvre` -> `lefevre`, `O'Sullivan` -> `osullivan`."""
    ascii_only = normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "".join(letter for letter in ascii_only.lower() if letter.isalnum())
