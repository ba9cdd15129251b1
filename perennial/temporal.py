"""How we speak with Temporal: pydantic models as payloads, failures without personal data, metrics for Prometheus."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.failure.v1 import Failure
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from domain.errors import PerennialError
from perennial.search_attributes import SEARCH_ATTRIBUTES

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_PATIENCE_SECONDS = 20.0
_PAUSE_SECONDS = 1.0


class CodeOnlyFailureConverter(DefaultFailureConverter):
    """Sends an error's code and type to Temporal and nothing else; our log keeps the rest.

    Messages quote their input (a validation error shows the customer's e-mail address), and histories live long.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Convert, then strip message, stack and details of what our code raised. Causes pass through here too."""
        super().to_failure(exception, payload_converter, failure)
        if failure.WhichOneof("failure_info") == "application_failure_info":
            failure.message = _code_of(exception, failure)
            failure.application_failure_info.ClearField("details")
        failure.ClearField("stack_trace")


def _code_of(exception: BaseException, failure: Failure) -> str:
    """Our own errors carry a code; an ApplicationError carries it as its type; anything else has its class's name."""
    if isinstance(exception, PerennialError):
        return exception.code
    if isinstance(exception, ApplicationError):
        return exception.type or "application_error"
    return failure.application_failure_info.type


DATA_CONVERTER = dataclasses.replace(pydantic_data_converter, failure_converter_class=CodeOnlyFailureConverter)


async def connect(address: str, namespace: str, *, runtime: Runtime | None = None, lazy: bool = False) -> Client:
    """A client that converts as we do. `lazy` connects at the first call: the API lives without Temporal."""
    return await Client.connect(address, namespace=namespace, data_converter=DATA_CONVERTER, runtime=runtime, lazy=lazy)


async def until_answered(ask: Callable[[], Awaitable[T]], what: str) -> T:
    """Ask Temporal until it answers: refused, broken and hanging calls, and a namespace that is not there yet, cost a
    starting process time and nothing else. `what` says in the log what is waited for.
    """
    said = ""
    while True:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await ask()
        except (RPCError, RuntimeError, OSError) as error:  # RuntimeError: could not connect, or the worker not begin
            if repr(error) != said:
                _log.warning("Temporal does not answer; trying until it does", what=what, error=repr(error))
            said = repr(error)
        await asyncio.sleep(_PAUSE_SECONDS)


async def check_namespace(client: Client) -> None:
    """Raises RPCError while the namespace cannot be described."""
    await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))


async def register_search_attributes(client: Client) -> None:
    """Register those that the namespace lacks. Repeatable."""
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = [name for name in SEARCH_ATTRIBUTES if name not in known.custom_attributes]
    if missing:
        await add_search_attributes(client, missing)


async def add_search_attributes(client: Client, names: Iterable[str]) -> None:
    """Register attributes that the namespace does not have yet (the time-skipping server can add, but not list)."""
    kinds = {name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{SEARCH_ATTRIBUTES[name].upper()}") for name in names}
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(namespace=client.namespace, search_attributes=kinds)
    )
