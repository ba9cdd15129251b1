"""SendGrid's official client on a transport of ours: no redirects, and it says whether a request can have been sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.error import HTTPError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from python_http_client.client import Client
from sendgrid import SendGridAPIClient

_LONGEST_BODY = 64 * 1024


class UnconnectedError(OSError):
    """No connection came about, TLS included: nothing of the request has left."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What SendGrid, or whoever stands before it, answered; header names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def post_mail(host: str, api_key: str, timeout: float, body: Mapping[str, Any]) -> Answer:  # any JSON
    """POST /v3/mail/send. Blocks; raises UnconnectedError, OSError or HTTPException where there is no answer."""
    headers = SendGridAPIClient(api_key=api_key).client.request_headers
    client = _Client(host=host, request_headers=headers, version=3, timeout=timeout)
    try:
        response = client.mail.send.post(request_body=body)
    except HTTPError as error:
        with error:
            return Answer(error.code, _lower(error.headers), _read(error))
    return Answer(response.status_code, _lower(response.headers))


def _read(error: HTTPError) -> bytes:
    """What a refusal says, or its beginning. The status is known; a body that breaks off takes nothing from it."""
    try:
        return error.read(_LONGEST_BODY)
    except (OSError, HTTPException):
        return b""


def _lower(headers: Message | None) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()} if headers is not None else {}


class _Client(Client):  # type: ignore[misc]  # python_http_client has no types
    """Its own opener follows redirects and takes the Authorization header along, to whatever host."""

    def _build_client(self, name: str | None = None) -> _Client:
        path = [*self._url_path, name] if name else self._url_path
        return _Client(self.host, self.request_headers, self._version, path, self.append_slash, self.timeout)

    def _make_request(self, opener: OpenerDirector, request: Request, timeout: float | None = None) -> HTTPResponse:
        answer: HTTPResponse = _OPENER.open(request, timeout=timeout or self.timeout)
        return answer


class _Connection(HTTPConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except (OSError, UnicodeError) as error:  # UnicodeError: no host can be called so
            raise UnconnectedError(str(error)) from error


class _SecureConnection(HTTPSConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except (OSError, UnicodeError) as error:
            raise UnconnectedError(str(error)) from error


class _Http(HTTPHandler):
    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_Connection, request)


class _Https(HTTPSHandler):
    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, request)


def _opener() -> OpenerDirector:
    """As urllib's own, without the handler that follows redirects, and without files and FTP."""
    opener = OpenerDirector()
    for handler in (ProxyHandler, UnknownHandler, _Http, _Https, HTTPDefaultErrorHandler, HTTPErrorProcessor):
        opener.add_handler(handler())
    return opener


_OPENER = _opener()
