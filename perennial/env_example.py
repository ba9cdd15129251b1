"""Writes `.env.example` from the settings: `python -m perennial.env_example > .env.example`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from perennial.settings import PROJECT, Settings

_TITLE = """\
# Settings of Perennial, each with its default. Copy to .env and change what differs.
# Written by `make env-example` from perennial/settings.py; a test holds the two together.
"""


def example() -> str:
    """The text of `.env.example`: every setting, its meaning and its default; those without one are commented out."""
    return _TITLE + "".join(_entry(name, field) for name, field in Settings.model_fields.items())


def _entry(name: str, field: FieldInfo) -> str:
    variable = f"PERENNIAL_{name.upper()}"
    value = shown_default(field.default)
    line = f"# {variable}=" if value is None else f"{variable}={value}"
    return f"\n# {field.description}\n{line}\n"


def shown_default(default: object) -> str | None:
    """The default as a person would write it; None for one that depends on where the program is installed."""
    match default:
        case None:
            return None
        case SecretStr():
            return default.get_secret_value()
        case StrEnum():
            return default.value
        case Path() if default.is_relative_to(PROJECT):
            return None
        case _:
            return str(default)


if __name__ == "__main__":
    sys.stdout.write(example())
