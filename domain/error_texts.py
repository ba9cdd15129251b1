"""What an exception says, without what it quotes: a quotation may be what a customer wrote."""

from __future__ import annotations

import re
from typing import Final

_QUOTED: Final = re.compile(r"(?<!\w)(?P<mark>['\"`]).*(?P=mark)", re.DOTALL)  # to the last: values hold marks too
_UNCLOSED: Final = re.compile(r"(?<!\w)['\"`].*", re.DOTALL)
# PostgreSQL quotes rows in its details.
_DETAILS: Final = re.compile(r"\n\s*(DETAIL|CONTEXT|HINT|\[SQL|\[parameters).*", re.DOTALL)
_VALUES: Final = re.compile(r"=\s?\(.*\)", re.DOTALL)
LEFT_OUT: Final = "…"


def without_quotations(text: str) -> str:
    """The words of the program alone: everything between quotation marks, and a database's details, are left out."""
    text = _VALUES.sub(f"=({LEFT_OUT})", _DETAILS.sub("", text))
    return _UNCLOSED.sub(LEFT_OUT, _QUOTED.sub(LEFT_OUT, text))
