"""`perennial import` as people call it."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from database.session import Database
from tests.factories import make_customer
from tests.programmes import publish_programme


async def perennial(database_url: str, *arguments: str | Path) -> tuple[int, str]:
    """Run the command line as a process of its own; answers its exit code and what it said."""
    environment = os.environ | {"PERENNIAL_DATABASE_URL": database_url, "COLUMNS": "200", "NO_COLOR": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perennial", *map(str, arguments)),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_a_file_is_imported_and_each_bad_row_is_told(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text("user_id,email\nu-1,ann@shop.example\n,nobody@shop.example\n")
    code, said = await perennial(database_url, "import", "customers", file)
    assert code == 1
    assert "row 2: user_id_missing" in said
    assert "2 rows: 1 imported, 0 known already, 1 refused" in said


async def test_a_file_in_another_encoding_is_taken_only_by_its_name(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_bytes('\ufeff"user_id";"name"\r"u-1";"Bob"\r'.encode() + "u-2;Zoë\r".encode("cp1252"))
    code, said = await perennial(database_url, "import", "customers", file)
    assert (code, "line 3 is not utf-8" in said, "rows" in said) == (2, True, False)

    file.write_bytes("user_id;name\ru-1;Bob\ru-2;Zoë\r".encode("cp1252"))
    code, said = await perennial(database_url, "import", "customers", file, "--encoding", "windows-1252")
    assert (code, "2 rows: 2 imported" in said) == (0, True)


async def test_a_whole_file_without_faults_exits_with_zero(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "products.jsonl"
    file.write_text("".join(f'{{"product_id": "p-{n}", "price": 4.5}}\n' for n in range(1_200)))
    code, said = await perennial(database_url, "import", "products", file)
    assert (code, "1,200 rows: 1,200 imported" in said) == (0, True)


async def test_balances_of_another_programme_are_tried_before_they_are_loaded(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    await publish_programme(database, datetime(2026, 1, 1, tzinfo=UTC))
    await make_customer(database, "u-1")
    file = tmp_path / "balances.csv"
    file.write_text("user_id;points;tier\nu-1;1200;gold\nu-2;5;\n")

    tried = await perennial(database_url, "import", "loyalty", file, "--dry-run")
    loaded = await perennial(database_url, "import", "loyalty", file)
    again = await perennial(database_url, "import", "loyalty", file)

    totals = "1 members: 1,200 points in 1 lots, 0 of them pending; 0 points owed; tiers: 1 gold"
    assert (tried[0], "2 rows: 1 would be imported, 0 known already, 1 refused" in tried[1]) == (1, True)
    assert (totals in tried[1], totals in loaded[1]) == (True, True)
    assert "2 rows: 1 imported, 0 known already, 1 refused" in loaded[1]
    assert "2 rows: 0 imported, 1 known already, 1 refused" in again[1]


async def test_only_balances_can_be_tried(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text("user_id\nu-1\n")
    code, said = await perennial(database_url, "import", "customers", file, "--dry-run")
    assert (code, "--dry-run is for loyalty" in said) == (2, True)
