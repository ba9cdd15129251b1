"""Executions in Temporal: deleting one, and telling by one that this is the Temporal that we know."""

from __future__ import annotations

from datetime import timedelta

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from database.marks import KnownMark


async def delete_execution(client: Client, workflow_id: str, run_id: str, *, patience: timedelta | None = None) -> None:
    """Running or closed; one that is gone already is fine. Raises RPCError."""
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    request = DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
    try:
        await client.workflow_service.delete_workflow_execution(request, timeout=patience)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


def lacks_namespace(error: RPCError) -> bool:
    """Whether Temporal answers, but does not have our namespace: an outage, never "there is no such workflow"."""
    return error.status is RPCStatusCode.NOT_FOUND and "amespace" in error.message


async def is_marked(client: Client, mark: KnownMark, patience: timedelta) -> bool:
    """Whether Temporal has our mark. Unreachable, or without our namespace, it raises: that is an outage."""
    if mark.workflow_id is None or mark.execution_id is None:
        return False
    handle = client.get_workflow_handle(mark.workflow_id, run_id=mark.execution_id)
    try:
        await handle.describe(rpc_timeout=patience)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND and not lacks_namespace(error):
            return False
        raise
    return True
