"""Logs are one JSON object a line and carry no personal data."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DBAPIError

from perennial.logging import configure
from perennial.settings import LogFormat

Read = Callable[[], dict[str, Any]]


@pytest.fixture
def last_line() -> Iterator[Read]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure("INFO", LogFormat.JSON, process="router", stream=stream)

    def read() -> dict[str, Any]:
        line: dict[str, Any] = json.loads(stream.getvalue().splitlines()[-1])
        return line

    yield read
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_line_names_process_time_and_event(last_line: Read) -> None:
    structlog.get_logger("triggers.router").info("batch routed", events=20)

    line = last_line()

    assert (line["process"], line["event"], line["events"], line["level"]) == ("router", "batch routed", 20, "info")
    assert line["timestamp"].endswith("Z")


def test_library_logs_come_in_the_same_form(last_line: Read) -> None:
    logging.getLogger("uvicorn.error").warning("slow client %s", 7)

    assert last_line()["event"] == "slow client 7"


@pytest.mark.parametrize("field", ["email", "traits", "properties", "user_id", "to"])
def test_personal_fields_are_left_out(last_line: Read, field: str) -> None:
    structlog.get_logger().info("taken", **{field: "ann"})

    assert last_line()[field] == "[left out]"


def test_addresses_are_masked_wherever_they_appear(last_line: Read) -> None:
    structlog.get_logger().info("refused ann@example.com", detail={"why": ["bounced: Ann <ann@example.com>"]})

    text = json.dumps(last_line())

    assert "ann@example.com" not in text
    assert text.count("[email]") == 2


def test_validation_error_names_places_and_not_what_was_typed(last_line: Read) -> None:
    class Customer(BaseModel):
        age: int

    try:
        Customer.model_validate({"age": "ann's secret"})
    except ValidationError:
        structlog.get_logger().exception("rejected")

    line = last_line()

    assert line["error_text"] == "age: int_parsing"
    assert "secret" not in json.dumps(line)


def test_database_error_does_not_show_the_row(last_line: Read) -> None:
    error = DBAPIError("INSERT INTO customers", {"first_name": "Ann"}, ValueError("lost connection"))

    structlog.get_logger().error("failed", exc_info=error)

    line = last_line()

    assert line["error"] == "DBAPIError"
    assert "Ann" not in json.dumps(line)


def test_exception_says_where_it_was_raised(last_line: Read) -> None:
    try:
        raise LookupError("no such step")
    except LookupError:
        logging.getLogger("temporalio.activity").exception("activity failed")

    line = last_line()

    assert line["error_text"] == "no such step"
    assert "test_exception_says_where_it_was_raised" in line["trace"][-1]
