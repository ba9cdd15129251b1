"""The club's documents can be published as they are: the models read them, and the key is in each."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter

from domain.challenges.definition import ChallengeDefinition
from domain.programmes.definition import ProgrammeDefinition
from domain.rewards import RewardDefinition
from domain.yaml import read_yaml
from perennial.demo.catalogue import CATALOGUE
from perennial.demo.club import club
from perennial.demo.haste import hasty_programme
from perennial.demo.shop import PROGRAMME

CLUB = club(datetime(2026, 5, 1, tzinfo=UTC))


@pytest.mark.parametrize(("kind", "model"), [("rewards", RewardDefinition), ("challenges", ChallengeDefinition)])
def test_the_clubs_documents_are_valid_and_named(kind: str, model: type[object]) -> None:
    for document in CLUB[kind]:
        TypeAdapter(model).validate_python(document)
        assert document[kind.removesuffix("s")]


def test_the_hasty_programme_is_valid() -> None:
    ProgrammeDefinition.model_validate(hasty_programme(read_yaml(PROGRAMME.read_bytes())))


def test_gifts_are_products_of_the_shop() -> None:
    gifts = {document["gives"]["gift"] for document in CLUB["rewards"] if "gift" in document["gives"]}

    assert gifts
    assert gifts <= {product.product_id for product in CATALOGUE}
