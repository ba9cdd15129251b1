"""HTTP/1.1 with bounds on what comes before a body: uvicorn's protocol takes as many headers, as slowly, as one sends.

A request's head may have 32 KB and 100 lines and take 10 seconds; past that the answer is 431 and the connection ends.
The same bound holds for trailers and whatever else brings no body any further. Time limits of bodies: api/body_time.py.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

HEAD_BYTES: Final = 32 * 1024
HEAD_LINES: Final = 100
HEAD_SECONDS: Final = 10.0
_TOO_LARGE: Final = 431
_DETAIL: Final = f"The request's head may have {HEAD_BYTES} bytes and {HEAD_LINES} lines, and take {HEAD_SECONDS:g} s."


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # as uvicorn gives them
        super().__init__(*arguments, **options)
        self._lines = 0  # of this message: headers, then trailers
        self._bytes = 0  # since the last piece of a body, or the beginning
        self._is_in_head = True  # waiting for a head, or reading one
        self._has_begun = False
        self._in_time: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Whoever connects says something in time."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is expected any more."""
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless this is more than anybody needs to say."""
        if self.transport.is_closing():
            return
        if self._is_in_head and self._in_time is None:
            self._expect_head()
        self._bytes += len(data)
        super().data_received(data)
        if self._bytes > HEAD_BYTES or self._lines > HEAD_LINES:
            self._refuse()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._has_begun = True
        self._lines = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line; those past the bound are not kept."""
        self._lines += 1
        if self._lines <= HEAD_LINES:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: the request is served, if its head is within bounds."""
        if self._lines > HEAD_LINES or self._head_bytes() > HEAD_BYTES:
            self._lines = HEAD_LINES + 1
            return
        self._is_in_head, self._bytes = False, 0
        self._expect_nothing()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """The body gets on."""
        if self._is_in_head:  # of a request that is refused
            return
        self._bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """From here on another request may begin."""
        if self._is_in_head:
            return
        self._is_in_head, self._has_begun, self._bytes = True, False, 0
        super().on_message_complete()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _expect_head(self) -> None:
        self._expect_nothing()
        self._in_time = self.loop.call_later(HEAD_SECONDS, self._refuse)

    def _expect_nothing(self) -> None:
        if self._in_time is not None:
            self._in_time.cancel()
            self._in_time = None

    def _refuse(self) -> None:
        """Say why, if anybody has asked for anything and no answer is on its way; then end the connection."""
        self._expect_nothing()
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        is_answering = cycle is not None and not cycle.response_complete
        if (self._has_begun or self._bytes) and not is_answering:
            self.transport.write(_REFUSAL)
        self.transport.close()


def _refusal() -> bytes:
    code = "request_header_fields_too_large"
    body = orjson.dumps(
        {
            "type": f"urn:perennial:problem:{code}",
            "title": "Request Header Fields Too Large",
            "status": _TOO_LARGE,
            "detail": _DETAIL,
            "code": code,
            "message": _DETAIL,
        }
    )
    head = f"content-type: application/problem+json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return STATUS_LINE[_TOO_LARGE] + head.encode() + body


_REFUSAL: Final = _refusal()
