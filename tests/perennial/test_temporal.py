"""What our failures tell Temporal: a code and a type, never what a customer typed."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError
from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from domain.errors import NotFound
from perennial.temporal import DATA_CONVERTER, register_search_attributes

CANARY = "ann@example.com"


class Trait(BaseModel):
    """Something a shop sends."""

    age: int


def sent(error: BaseException) -> Failure:
    failure = Failure()
    DATA_CONVERTER.failure_converter.to_failure(error, DATA_CONVERTER.payload_converter, failure)
    return failure


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_our_own_errors_send_their_code() -> None:
    failure = sent(raised(NotFound(f"no customer {CANARY}", code="customer_not_found")))

    assert failure.message == "customer_not_found"
    assert failure.application_failure_info.type == "NotFound"
    assert CANARY not in str(failure)


def test_application_errors_send_their_type_without_details() -> None:
    failure = sent(
        raised(ApplicationError(f"bad address {CANARY}", CANARY, type="address_refused", non_retryable=True))
    )

    assert failure.message == "address_refused"
    assert failure.application_failure_info.non_retryable
    assert CANARY not in str(failure)


def test_validation_errors_and_their_causes_send_no_input() -> None:
    with pytest.raises(ValidationError) as rejected:
        Trait.model_validate({"age": CANARY})

    failure = sent(raised(ValueError(CANARY), cause=rejected.value))

    assert failure.message == "ValueError"
    assert failure.cause.message == "ValidationError"
    assert CANARY not in str(failure)


def test_no_source_lines_or_stacks_are_sent() -> None:
    assert not sent(raised(RuntimeError("x"))).stack_trace


async def test_registering_search_attributes_twice_is_fine(temporal_client: Client) -> None:
    await register_search_attributes(temporal_client)
    await register_search_attributes(temporal_client)
