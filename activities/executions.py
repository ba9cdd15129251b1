"""Deleting an execution in Temporal: ended, and forgotten with its history."""

from __future__ import annotations

from datetime import timedelta

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode


async def delete_execution(client: Client, workflow_id: str, run_id: str, *, patience: timedelta | None = None) -> None:
    """Running or closed; one that is gone already is fine. Raises RPCError."""
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    request = DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
    try:
        await client.workflow_service.delete_workflow_execution(request, timeout=patience)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
