"""What a check finds in a document that people write: journeys, templates, later segments and programmes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Severity(StrEnum):
    """An error keeps a document from being published, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


class Finding(BaseModel):
    """One fault: a stable code, the journey's step, a JSON pointer and one sentence that says how to mend it."""

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Severity = Severity.ERROR
    step: str | None = None
    pointer: str = ""
    message: str


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether publishing is refused."""
    return any(finding.severity is Severity.ERROR for finding in findings)
