"""`perennial journeys` as people and CI call it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perennial.cli import app


@contextmanager
def api_that_saves() -> Iterator[tuple[str, list[str]]]:
    """An API that has no documents and takes all; its address, and the paths of what was saved."""
    saved: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that the standard library wants
            self._answer({"data": [], "next_cursor": None})

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            saved.append(self.path)
            self._answer({"findings": []})

        def _answer(self, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the standard library's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", saved
    finally:
        server.shutdown()
        server.server_close()


def test_a_push_saves_what_it_can_read_names_the_rest_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.yaml").write_text("journey: good\n")
    (tmp_path / "other.yml").write_text("journey: other\n")
    for name in ("twice.yaml", "tab.yaml"):
        (tmp_path / name).write_text("journey: a\n\tjourney: a\n")
    monkeypatch.setenv("PERENNIAL_API_KEY", "sk_test")
    with api_that_saves() as (url, saved):
        monkeypatch.setenv("PERENNIAL_API_URL", url)
        pushed = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["journeys", "push", str(tmp_path)])

    assert (pushed.exit_code, saved) == (1, ["/v1/journeys/good", "/v1/journeys/other"])
    assert all(f"{name}: The YAML cannot be read" in pushed.output for name in ("twice.yaml", "tab.yaml"))


def test_a_pull_onto_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    pulled = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["journeys", "pull", str(tmp_path / "file")])
    assert (pulled.exit_code, "is a file" in pulled.output) == (2, True)
