"""The sandbox that workflows run in: what it must not load anew for every run."""

from __future__ import annotations

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

# Pure or already imported by the worker; loading them again for each run would cost its memory and its speed.
_PASSED_THROUGH = (
    "activities",
    "connectors",
    "database",
    "domain",
    "pydantic",
    "pydantic_core",
    "sqlalchemy",
    "tzdata",
)


def sandbox() -> SandboxedWorkflowRunner:
    """The runner to give to every worker of ours."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*_PASSED_THROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions)
