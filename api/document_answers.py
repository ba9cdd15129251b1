"""What the life cycle of documents is asked and answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from database.documents import DocumentRow, DocumentVersion
from domain.documents import DocumentState, RunsReached
from domain.findings import Finding, has_errors


class PublishRequest(BaseModel):
    """`{}` publishes where no runs are in flight, `dry_run` answers the plan, `plan` confirms it by its digest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dry_run: bool = Field(default=False, description="Answer the plan and change nothing.")
    plan: str | None = Field(default=None, description="The digest of the plan that is confirmed.", max_length=200)
    policy: dict[str, Literal["stay", "move", "finish"]] = Field(
        default={}, description="What becomes of the runs that stand at a step; `stay` where nothing is said."
    )
    revive: bool = Field(default=False, description="Publish an archived journey: customers enter it again.")


class DocumentSummary(BaseModel):
    """One document in a list. `version` is the live one; `draft` documents have none."""

    key: str
    name: str | None
    state: DocumentState
    version: int | None
    etag: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: DocumentRow) -> Self:
        """From the row."""
        return cls(**_summary(row))


class DocumentAnswer(DocumentSummary):
    """One document with its draft, as its author wrote it."""

    draft: dict[str, Any]

    @classmethod
    def of(cls, row: DocumentRow) -> Self:
        """From the row."""
        return cls(**_summary(row), draft=row.draft)


class SavedAnswer(DocumentAnswer):
    """A saved draft with what its checks found."""

    findings: list[Finding]

    @classmethod
    def of_saved(cls, row: DocumentRow, findings: Sequence[Finding]) -> Self:
        """From the row and the findings."""
        return cls(**_summary(row), draft=row.draft, findings=list(findings))


class RunsAnswer(BaseModel):
    """What became of a journey's runs. Of many only the decision is made at once, and it holds from then on: the runs
    `under_way` follow in the background.
    """

    model_config = ConfigDict(from_attributes=True)

    stay: int = Field(description="Runs that go on under their own version.")
    moved: int
    finished: int = Field(description="Runs that ended.")
    woken: int = Field(description="Held runs that ask again, now that the journey goes on.")
    under_way: int = Field(description="Runs to which it is still to be done: `GET /v1/journeys/{key}/run-changes`.")


class PublishedAnswer(SavedAnswer):
    """The document after publishing: `version` is the one just made. `runs`: only of journeys."""

    published: Literal[True] = True
    runs: RunsAnswer | None = None

    @classmethod
    def of_published(cls, row: DocumentRow, findings: Sequence[Finding], runs: RunsReached | None) -> Self:
        """From the row and the findings, warnings all of them."""
        return cls(**_summary(row), draft=row.draft, findings=list(findings), runs=_runs(runs))


class ChangedAnswer(DocumentAnswer):
    """The document after a pause, resume or archive. `runs`: only of journeys that were resumed or archived."""

    runs: RunsAnswer | None = None

    @classmethod
    def of_changed(cls, row: DocumentRow, runs: RunsReached | None) -> Self:
        """From the row."""
        return cls(**_summary(row), draft=row.draft, runs=_runs(runs))


class InFlight(BaseModel):
    """Runs that stand at a step, and what publishing does with them; `already_done`: what they leave out if moved."""

    model_config = ConfigDict(extra="allow")

    step: str | None
    runs: int
    policy: Literal["stay", "move", "finish"]


class PublishPlan(BaseModel):
    """What publishing would do. Confirm it by sending its digest as `plan`."""

    model_config = ConfigDict(extra="allow")

    plan: str
    version: int
    changes: list[Any]
    in_flight: list[InFlight]


PublishAnswer = PublishedAnswer | PublishPlan


class CheckAnswer(BaseModel):
    """What the checks found; `ok` means that it could be published."""

    ok: bool
    findings: list[Finding]

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Self:
        """From the findings."""
        return cls(ok=not has_errors(findings), findings=list(findings))


class VersionAnswer(BaseModel):
    """One immutable version."""

    key: str
    version: int
    document: dict[str, Any]
    published_at: datetime
    published_by: str | None

    @classmethod
    def of(cls, row: DocumentVersion) -> Self:
        """From the row."""
        return cls(
            key=row.key,
            version=row.version,
            document=row.document,
            published_at=row.published_at,
            published_by=row.published_by,
        )


def _runs(runs: RunsReached | None) -> RunsAnswer | None:
    return None if runs is None else RunsAnswer.model_validate(runs)


def _summary(row: DocumentRow) -> dict[str, Any]:  # the members of DocumentSummary
    name = row.draft.get("name")
    return {
        "key": row.key,
        "name": name if isinstance(name, str) else None,
        "state": DocumentState(row.state),
        "version": row.live_version,
        "etag": row.etag,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
