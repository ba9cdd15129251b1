"""`POST /v1/customers/import` over HTTP."""

from __future__ import annotations

import httpx
from sqlalchemy import select

from database.events import Event
from database.session import Database

CSV = "user_id,email\nu-1,ann@shop.example\n,nobody@shop.example\n"


async def test_csv_is_taken_row_by_row_and_again_without_effect(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/customers/import", content=CSV, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200
    assert answer.json() == {
        "rows": 2,
        "imported": 1,
        "duplicates": 0,
        "rejected": 1,
        "errors": [
            {
                "row": 2,
                "code": "user_id_missing",
                "message": "each row needs the customer's id in one of: user_id, userId, customer_id, external_id, id",
            }
        ],
    }
    again = await client.post("/v1/customers/import", content=CSV, headers={"Content-Type": "text/csv"})
    assert (again.json()["imported"], again.json()["duplicates"]) == (0, 1)


async def test_json_lines_are_taken_whatever_their_content_type(client: httpx.AsyncClient) -> None:
    lines = b'{"id": "u-1", "traits": {"plan": "gold"}}\n\n[]\n{"id": "u-2", "deep": "\\u0000"}\n'
    answer = (await client.post("/v1/customers/import", content=lines)).json()
    assert (answer["rows"], answer["imported"]) == (3, 1)
    assert [(each["row"], each["code"]) for each in answer["errors"]] == [(3, "not_an_object"), (4, "nul_character")]


async def test_a_file_that_is_not_utf8_is_malformed(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/customers/import", content=b"\xff\xfe\x00id", headers={"Content-Type": "text/csv"})
    assert (answer.status_code, answer.json()["code"]) == (400, "encoding")


async def test_a_file_is_read_in_the_charset_that_its_content_type_names(
    client: httpx.AsyncClient, database: Database
) -> None:
    body = "user_id;name\r\nu-1;Zoë\r\n".encode("latin-1")
    refused = await client.post("/v1/customers/import", content=body, headers={"Content-Type": "text/csv"})
    assert (refused.status_code, refused.json()["code"]) == (400, "encoding")
    assert "line 2" in refused.json()["detail"]
    named = {"Content-Type": "text/csv; charset=ISO-8859-1"}
    assert (await client.post("/v1/customers/import", content=body, headers=named)).json()["imported"] == 1
    async with database.read() as session:
        assert (await session.scalars(select(Event.traits))).one() == {"name": "Zoë"}


async def test_an_unclosed_quote_costs_one_row(client: httpx.AsyncClient) -> None:
    rows = [f"u-{n},Ann,Rome" for n in range(1, 1_201)]
    rows[599] = 'u-600,"Ann,Rome'
    body = "\n".join(["user_id,name,city", *rows])
    answer = (await client.post("/v1/customers/import", content=body, headers={"Content-Type": "text/csv"})).json()
    assert (answer["rows"], answer["imported"], answer["rejected"]) == (1_200, 1_199, 1)
    assert [(each["row"], each["code"]) for each in answer["errors"]] == [(600, "csv_malformed")]


async def test_importing_needs_the_right_to_write_customers(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/customers/import", content=CSV, headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401


async def test_what_is_imported_is_history_that_starts_journeys_only_if_the_call_says_so(
    client: httpx.AsyncClient, database: Database
) -> None:
    csv = {"Content-Type": "text/csv"}
    await client.post("/v1/customers/import", content=CSV, headers=csv)
    await client.post("/v1/customers/import?enter=true", content=CSV.replace("u-1", "u-2"), headers=csv)

    async with database.read() as session:
        rows = (await session.execute(select(Event.user_id, Event.is_history, Event.enters).order_by(Event.id))).all()
    assert [tuple(row) for row in rows] == [("u-1", True, False), ("u-2", True, True)]
