"""Money as the API answers it. (`Money` alone is the name of what documents take, in the published schemas.)"""

from __future__ import annotations

from pydantic import BaseModel


class MoneyAnswer(BaseModel):
    """Minor units of a currency."""

    amount: int
    currency: str
