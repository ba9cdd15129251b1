"""What the nursery sells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any  # event properties are any JSON

CURRENCY = "EUR"


@dataclass(frozen=True, slots=True)
class Product:
    """One product; `price` in cents."""

    product_id: str
    category: str
    name: str
    price: int

    def properties(self, quantity: int | None = None) -> dict[str, Any]:
        """The product in the words of Segment's e-commerce events, prices in euros."""
        described = {
            "product_id": self.product_id,
            "sku": self.product_id.upper(),
            "category": self.category,
            "name": self.name,
            "brand": "Hollyhock & Rye",
            "price": self.price / 100,
            "currency": CURRENCY,
            "url": f"https://shop.example/p/{self.product_id}",
        }
        return described if quantity is None else described | {"quantity": quantity}


def _products(category: str, prefix: str, *entries: tuple[str, str, int]) -> tuple[Product, ...]:
    return tuple(Product(f"{prefix}-{slug}", category, name, price) for slug, name, price in entries)


CATALOGUE: tuple[Product, ...] = (
    *_products(
        *("Roses", "rose"),
        ("gertrude-jekyll", "Rose 'Gertrude Jekyll', bare root", 2690),
        ("graham-thomas", "Rose 'Graham Thomas', in a 5 l pot", 3490),
        ("new-dawn", "Climbing rose 'New Dawn'", 2950),
        ("westerland", "Climbing rose 'Westerland'", 2850),
        ("ballerina", "Shrub rose 'Ballerina'", 2390),
        ("souvenir", "Rose 'Souvenir du Docteur Jamain'", 3190),
    ),
    *_products(
        *("Perennials", "perennial"),
        ("echinacea", "Purple coneflower 'Magnus', set of 3", 1890),
        ("salvia", "Salvia 'Caradonna', set of 3", 1790),
        ("geranium", "Cranesbill 'Rozanne'", 950),
        ("achillea", "Yarrow 'Terracotta'", 690),
        ("anemone", "Japanese anemone 'Honorine Jobert'", 890),
        ("hosta", "Hosta 'Halcyon'", 1190),
        ("astrantia", "Masterwort 'Roma'", 950),
        ("border", "Sunny border collection, 12 plants", 6900),
    ),
    *_products(
        *("Seeds", "seeds"),
        ("tomato", "Tomato 'Black Cherry', 15 seeds", 345),
        ("sweet-pea", "Sweet pea 'Matucana', 20 seeds", 320),
        ("cosmos", "Cosmos 'Purity', 60 seeds", 290),
        ("chard", "Rainbow chard, 80 seeds", 275),
        ("meadow", "Wildflower meadow mix, 10 m²", 1450),
        ("herbs", "Kitchen herb collection, 8 packets", 1990),
    ),
    *_products(
        *("Bulbs", "bulbs"),
        ("tulip", "Tulip 'Queen of Night', 25 bulbs", 1450),
        ("narcissus", "Narcissus 'Thalia', 20 bulbs", 1190),
        ("allium", "Allium 'Purple Sensation', 15 bulbs", 990),
        ("snowdrop", "Snowdrops in the green, 50", 2250),
    ),
    *_products(
        *("Pots", "pot"),
        ("terracotta-24", "Terracotta pot, 24 cm", 1690),
        ("terracotta-40", "Terracotta pot, 40 cm", 4490),
        ("zinc-trough", "Zinc trough, 80 cm", 5900),
        ("glazed-blue", "Glazed pot, midnight blue, 32 cm", 3950),
        ("saucer", "Terracotta saucer, 24 cm", 590),
    ),
    *_products(
        *("Tools", "tool"),
        ("secateurs", "Bypass secateurs, forged", 4490),
        ("trowel", "Hand trowel, ash handle", 1890),
        ("can", "Watering can, 9 l, galvanised", 3990),
        ("gloves", "Rose gloves, goatskin", 2990),
        ("dibber", "Dibber, copper tip", 1450),
        ("fertiliser", "Organic rose fertiliser, 2.5 kg", 1290),
        ("gift-card", "Gift card", 5000),
    ),
)
