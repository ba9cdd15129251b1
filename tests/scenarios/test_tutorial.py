"""The tutorials do what they say: their blocks run in order against the real stack and print what the page shows."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from perennial.reference import DOCS
from tests.scenarios.conftest import Stack
from tests.scenarios.shoppers import archive_programmes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["tutorial.md", "loyalty/tutorial.md"])
def test_a_tutorial_prints_what_it_shows(
    stack: Stack, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_programmes(stack)
    (tmp_path / ".perennial").mkdir()
    (tmp_path / ".perennial" / "dev.json").write_text(json.dumps(stack.addresses))
    monkeypatch.chdir(tmp_path)
    session: dict[str, Any] = {}  # one Python session, as a reader's

    for code, shown in _blocks((DOCS / page).read_text()):
        assert _printed(code, session) == shown, code


def _blocks(page: str) -> list[tuple[str, str]]:
    """Each Python block with the output that the page shows after it."""
    blocks = BLOCK.findall(page)
    assert [kind for kind, _ in blocks] == ["python", "text"] * (len(blocks) // 2)
    return [(code, shown) for (_, code), (_, shown) in zip(blocks[::2], blocks[1::2], strict=True)]


def _printed(code: str, session: dict[str, Any]) -> str:
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(code, "tutorial", "exec"), session)
    return output.getvalue()
